"""Who stands on a golden image is found on real libvirt, by definitions and by headers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from innkeeper.disks.create import create_differencing, create_dynamic
from innkeeper.disks.export_files import MARK
from innkeeper.errors import InnkeeperError, MachineNotFound, MachineUnfit
from innkeeper.machines.ports.disks import ImageUser
from innkeeper.machines.ports.host import Host
from innkeeper.machines.undo.fitness import UndoRules, examine, plan_undo_point
from innkeeper.machines.undo.point import UndoPlan
from tests.guests.machines import EMULATED, TinyMachine

pytestmark = pytest.mark.qemu


async def clone(base: Path, image: Path, *options: str) -> None:
    """Make a linked clone, over what is there."""
    over = options or ("-F", "qcow2")
    command = ["qemu-img", "create", "-q", "-f", "qcow2", *over, "-b", str(base), str(image)]
    command += ["4M"] if options else []
    await asyncio.to_thread(subprocess.run, command, check=True)


async def test_a_golden_image_gets_no_undo_point(
    embedded_hypervisor: Host, define_machine: Callable[..., Awaitable[TinyMachine]]
) -> None:
    """The clone's machine is named where one is defined, and else the clone's file."""
    host = embedded_hypervisor
    golden, second = await define_machine("golden"), await define_machine("second")
    loose = golden.disk.with_name("loose.qcow2")
    await clone(golden.disk, second.disk)
    await clone(golden.disk, loose)
    assert await host.disks.users(str(golden.disk)) == [
        ImageUser(image=str(golden.disk), machine="golden", target="vda", format="qcow2"),
        ImageUser(image=str(second.disk), machine="second", target="vda", format="qcow2"),
        ImageUser(image=str(loose)),
    ]
    with pytest.raises(MachineUnfit, match="is the base of second's disk vda"):
        await plan_undo_point(host, await host.inventory.get("golden"), 1, UndoRules())
    await host.definitions.undefine("second")
    with pytest.raises(MachineUnfit, match=r"is the base of the image .*loose\.qcow2|second\.qcow2"):
        await plan_undo_point(host, await host.inventory.get("golden"), 1, UndoRules())


# A file that others know by another path, in another folder, or in another state


_DOMAIN = (
    f"<domain type='{EMULATED}'>"
    """<name>{name}</name><uuid>{uuid}</uuid>
<memory unit='MiB'>32</memory><vcpu>1</vcpu>
<os><type machine='q35'>hvm</type></os><devices><disk type='file' device='disk'>
<driver name='qemu' type='{format}'/><source file='{path}'/><target dev='vda' bus='virtio'/></disk>
<controller type='usb' model='none'/><memballoon model='none'/></devices></domain>"""
)


@pytest.fixture
async def define(embedded_hypervisor: Host) -> AsyncIterator[Callable[..., Awaitable[None]]]:
    """Define a machine without a system over one image, or define it anew; it is forgotten afterwards."""
    names: dict[str, None] = {}

    async def make(name: str, path: Path, image_format: str = "qcow2") -> None:
        identity = uuid.uuid5(uuid.NAMESPACE_DNS, name)
        definition = _DOMAIN.format(name=name, uuid=identity, path=path, format=image_format)
        await embedded_hypervisor.definitions.define(definition)
        names[name] = None

    yield make
    for name in names:
        with contextlib.suppress(MachineNotFound):
            await embedded_hypervisor.saved_states.discard(name)
            await embedded_hypervisor.definitions.undefine(name)


async def golden_image(directory: Path) -> Path:
    """An image of its own folder."""
    path = directory / "golden" / "golden.qcow2"
    path.parent.mkdir()
    command = ["qemu-img", "create", "-q", "-f", "qcow2", str(path), "4M"]
    await asyncio.to_thread(subprocess.run, command, check=True)
    return path


async def plan(host: Host, name: str = "golden") -> UndoPlan:
    """Plan an undo point, as a night does first."""
    return await plan_undo_point(host, await host.inventory.get(name), 1, UndoRules(), [host])


@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
async def test_one_file_by_two_paths_is_one_file(
    embedded_hypervisor: Host, define: Callable[..., Awaitable[None]], tmp_path: Path, link: str
) -> None:
    """Both machines are refused, each with the other's name."""
    golden = await golden_image(tmp_path)
    other = tmp_path / "other.qcow2"
    await asyncio.to_thread(getattr(other, link), golden)
    await define("golden", golden)
    await define("other", other)
    for name, user in (("golden", "other"), ("other", "golden")):
        with pytest.raises(MachineUnfit, match=f"of {name} cannot be kept or undone alone: .*{user}"):
            await plan(embedded_hypervisor, name)


async def test_a_clone_in_another_folder_is_known_by_its_definition(
    embedded_hypervisor: Host, define: Callable[..., Awaitable[None]], tmp_path: Path
) -> None:
    """And a clone beside the file behind a link, by its header."""
    golden = await golden_image(tmp_path)
    await define("golden", golden)
    await clone(golden, tmp_path / "clone.qcow2")
    await define("clone", tmp_path / "clone.qcow2")
    with pytest.raises(MachineUnfit, match=r"golden\.qcow2 is the base of clone's disk vda"):
        await plan(embedded_hypervisor)
    await embedded_hypervisor.definitions.undefine("clone")
    await plan(embedded_hypervisor)
    link = tmp_path / "links" / "link.qcow2"
    await asyncio.to_thread(link.parent.mkdir)
    await asyncio.to_thread(link.symlink_to, golden)
    await define("golden", link)
    await clone(golden, golden.with_name("beside.qcow2"))
    with pytest.raises(MachineUnfit, match=r"is the base of the image .*beside\.qcow2"):
        await plan(embedded_hypervisor)


async def test_nor_below_an_undo_disk_nor_when_its_machine_is_gone(
    embedded_hypervisor: Host, define: Callable[..., Awaitable[None]], tmp_path: Path
) -> None:
    """The raw disk that the note knows is still its guest's own bytes, and one that nobody has is too."""
    host, golden = embedded_hypervisor, await golden_image(tmp_path)
    theirs = golden.with_name("guest.disk")
    await asyncio.to_thread(subprocess.run, ["truncate", "-s", "8M", str(theirs)], check=True)
    await define("golden", golden)
    await define("guest", theirs, "raw")
    undo = await plan(host, "guest")
    await host.undo_disks.add("guest", undo.overlays)
    await clone(golden, golden.with_name("header"))
    header = await asyncio.to_thread(golden.with_name("header").read_bytes)
    await asyncio.to_thread(golden.with_name("header").unlink)
    await asyncio.to_thread(_write_into, theirs, header)
    await plan(host)
    await host.undo_disks.drop("guest", undo.bases)
    await host.definitions.undefine("guest")
    image = await asyncio.to_thread(theirs.rename, theirs.with_suffix(".img"))
    await plan(host)
    found = await examine(host, await host.inventory.get("golden"), 1, UndoRules())
    assert [str(image) in sentence and "named as a raw disk" in sentence for sentence in found.unseen] == [
        True
    ]


def _write_into(path: Path, content: bytes) -> None:
    with path.open("r+b") as file:
        file.write(content)


async def test_a_guest_cannot_claim_the_disk_of_another_by_a_header(
    embedded_hypervisor: Host, define: Callable[..., Awaitable[None]], tmp_path: Path
) -> None:
    """What is declared raw is its guest's own bytes, whatever they say."""
    golden = await golden_image(tmp_path)
    await define("golden", golden)
    await clone(golden, golden.with_name("raw.img"))
    link = tmp_path / "raw.img"
    await asyncio.to_thread(link.hardlink_to, golden.with_name("raw.img"))
    await define("guest", link, "raw")
    assert [user.machine for user in await embedded_hypervisor.disks.users(str(golden))] == ["golden"]
    await plan(embedded_hypervisor)


async def test_a_saved_machine_stands_on_what_it_was_saved_with(
    embedded_hypervisor: Host, define: Callable[..., Awaitable[None]], tmp_path: Path
) -> None:
    """Its definition may name another image since."""
    golden = await golden_image(tmp_path)
    await define("golden", golden)
    await clone(golden, tmp_path / "clone.qcow2")
    await define("saved", tmp_path / "clone.qcow2")
    await embedded_hypervisor.lifecycle.start("saved", paused=True)
    await embedded_hypervisor.saved_states.save("saved")
    await clone(tmp_path / "clone.qcow2", tmp_path / "elsewhere.img")
    await define("saved", tmp_path / "elsewhere.img", "raw")
    with pytest.raises(MachineUnfit, match=r"golden\.qcow2 is the base of saved's disk vda"):
        await plan(embedded_hypervisor)


async def test_a_forgotten_overlay_is_nobodys_disk_and_a_named_one_is(
    embedded_hypervisor: Host, define: Callable[..., Awaitable[None]], tmp_path: Path
) -> None:
    """The overlay of another run counts where a machine stands on it."""
    golden = await golden_image(tmp_path)
    await define("golden", golden)
    overlay = golden.with_name("other.vda.innkeeper-3.qcow2")
    await clone(golden, overlay)
    await plan(embedded_hypervisor)
    await define("other", overlay)
    with pytest.raises(MachineUnfit, match=r"golden\.qcow2 is the base of other's disk vda"):
        await plan(embedded_hypervisor)


# Every header that names a base


def qemu_img(*words: str | Path) -> None:
    """Make an image by QEMU's own program."""
    subprocess.run(["qemu-img", "create", "-q", *words], check=True)


@pytest.mark.parametrize("is_defined", [True, False], ids=["defined", "beside"])
@pytest.mark.parametrize(
    "name",
    [
        'json:{{"driver":"qcow2","file":{{"driver":"file","filename":"{path}"}}}}',
        'json:{{"driver":"qcow2","file.filename":"{path}","discard-no-unref":false}}',
        "file:golden.qcow2",
    ],
)
async def test_a_clone_is_known_however_its_header_names_the_base(
    embedded_hypervisor: Host,
    define: Callable[..., Awaitable[None]],
    tmp_path: Path,
    name: str,
    is_defined: bool,
) -> None:
    """In another folder by its definition, in the same folder, and in one below it, by its header alone."""
    golden = await golden_image(tmp_path)
    await define("golden", golden)
    child = (tmp_path if is_defined else golden.parent) / "child.qcow2"
    base = name.format(path=golden).replace("file:", "file:golden/" if is_defined else "file:")
    await asyncio.to_thread(qemu_img, "-f", "qcow2", "-u", "-F", "qcow2", "-b", base, child, "4M")
    if is_defined:
        await define("child", child)
    with pytest.raises(MachineUnfit, match=r"is the base of (child's disk vda|the image .*child\.qcow2)"):
        await plan(embedded_hypervisor)


async def test_a_clone_in_a_folder_below_is_known(
    embedded_hypervisor: Host, define: Callable[..., Awaitable[None]], tmp_path: Path
) -> None:
    """Images are often kept in a folder for each machine."""
    golden = await golden_image(tmp_path)
    await define("golden", golden)
    folder = golden.with_name("clones")
    await asyncio.to_thread(folder.mkdir)
    await clone(golden, folder / "clone.qcow2")
    with pytest.raises(MachineUnfit, match=r"is the base of the image .*clones/clone\.qcow2"):
        await plan(embedded_hypervisor)


@pytest.mark.parametrize("child_format", ["vmdk", "qed"])
async def test_a_clone_in_another_of_qemus_formats_is_known(
    embedded_hypervisor: Host, define: Callable[..., Awaitable[None]], tmp_path: Path, child_format: str
) -> None:
    """A VMDK names its parent in its description."""
    golden = tmp_path / "golden.img"
    base_format = "vmdk" if child_format == "vmdk" else "raw"
    await asyncio.to_thread(qemu_img, "-f", base_format, golden, "4M")
    child = tmp_path / f"child.{child_format}"
    await asyncio.to_thread(qemu_img, "-f", child_format, "-b", golden, "-F", base_format, child)
    assert await embedded_hypervisor.disks.users(str(golden)) == [ImageUser(image=str(child))]


async def test_children_of_a_vhd_are_known_by_definition_and_by_their_header(
    embedded_hypervisor: Host, define: Callable[..., Awaitable[None]], tmp_path: Path
) -> None:
    """The machine reaches the child by its export; its parent's parent counts too."""
    golden, middle, child = tmp_path / "golden.vhd", tmp_path / "m" / "m.vhd", tmp_path / "c" / "child.vhd"
    for folder in (middle.parent, child.parent):
        await asyncio.to_thread(folder.mkdir)
    await asyncio.to_thread(create_dynamic, golden, 8 << 20)
    await asyncio.to_thread(create_differencing, middle, golden)
    await asyncio.to_thread(create_differencing, child, middle)
    users = await embedded_hypervisor.disks.users(str(golden))
    assert users == [ImageUser(image=str(middle))]
    for name, path in (("golden", golden), ("child", child)):
        await define(name, path, "vpc")
        assert await embedded_hypervisor.disks.use_exports(name) == ["vda"]
    assert await embedded_hypervisor.disks.users(str(golden)) == [
        ImageUser(image=str(child), machine="child", target="vda", format="vhd"),
        ImageUser(image=str(golden), machine="golden", target="vda", format="vhd"),
        ImageUser(image=str(middle)),
    ]
    await asyncio.to_thread(middle.unlink)
    over = golden.with_name("over.qcow2")
    base = f'json:{{"driver":"nbd","server.type":"unix","server.path":"/s","export":"{MARK}{golden}"}}'
    await asyncio.to_thread(qemu_img, "-f", "qcow2", "-u", "-F", "raw", "-b", base, over, "8M")
    users = await embedded_hypervisor.disks.users(str(golden))
    assert users[1:] == [ImageUser(image=str(over))]
    await asyncio.to_thread(over.unlink)
    assert [user.machine for user in await embedded_hypervisor.disks.users(str(golden))] == ["golden"]


_NETWORK = (
    f"<domain type='{EMULATED}'>"
    """<name>{name}</name><uuid>{uuid}</uuid>
<memory unit='MiB'>32</memory><vcpu>1</vcpu>
<os><type machine='q35'>hvm</type></os><devices><disk type='network' device='disk'>
<driver name='qemu' type='raw'/><source protocol='{protocol}' name='{path}'>{hosts}</source>
<target dev='vda' bus='virtio'/></disk>
<controller type='usb' model='none'/><memballoon model='none'/></devices></domain>"""
)


@pytest.mark.parametrize(
    ("protocol", "one", "other"),
    [
        ("rbd", ("a:6789", "b:6789"), ("b:6789", "a:6789")),
        ("nbd", ("localhost:10999",), ("127.0.0.1:10999",)),
    ],
)
async def test_one_image_of_the_network_by_two_addresses_is_one_image(
    embedded_hypervisor: Host,
    define: Callable[..., Awaitable[None]],
    tmp_path: Path,
    protocol: str,
    one: tuple[str, ...],
    other: tuple[str, ...],
) -> None:
    """Hosts count in any order; and a file stands on it by its header alone."""
    address = f"{protocol}://{','.join(one)}/pool/img"
    # A machine whose image lies in the folder of that file: devices and addresses have none themselves.
    await define("beside", await golden_image(tmp_path))
    child = tmp_path / "golden" / "child.qcow2"
    where = {
        "rbd": '"pool":"pool","image":"img","server":[{"host":"b","port":"6789"}]',
        "nbd": '"server":{"type":"inet","host":"::1","port":"10999"},"export":"pool/img"',
    }[protocol]
    base = f'json:{{"driver":"raw","file":{{"driver":"{protocol}",{where}}}}}'
    await asyncio.to_thread(qemu_img, "-f", "qcow2", "-u", "-F", "raw", "-b", base, child, "4M")
    for name, hosts in (("one", one), ("other", other)):
        places = "".join("<host name='{}' port='{}'/>".format(*host.split(":")) for host in hosts)
        identity = uuid.uuid5(uuid.NAMESPACE_DNS, name)
        await embedded_hypervisor.definitions.define(
            _NETWORK.format(name=name, uuid=identity, protocol=protocol, path="pool/img", hosts=places)
        )
    try:
        users = await embedded_hypervisor.disks.users(address)
    finally:
        for name in ("one", "other"):
            await embedded_hypervisor.definitions.undefine(name)
    assert [(user.machine, user.image) for user in users if user.machine] == [
        ("one", address), ("other", f"{protocol}://{','.join(other)}/pool/img")
    ]  # fmt: skip
    assert ImageUser(image=str(child)) in users


async def test_what_cannot_be_looked_at_is_said(
    embedded_hypervisor: Host, define: Callable[..., Awaitable[None]], tmp_path: Path
) -> None:
    """A folder that may not be listed, and an image that may not be read, are not nobody."""
    golden = await golden_image(tmp_path)
    await define("golden", golden)
    machine = await embedded_hypervisor.inventory.get("golden")
    assert (await examine(embedded_hypervisor, machine, 1, UndoRules())).unseen == ()
    secret, closed, raw = golden.with_name("secret.qcow2"), golden.with_name("closed"), tmp_path / "raw.img"
    await clone(golden, secret)
    await clone(golden, golden.with_name("declared.img"))
    await asyncio.to_thread(raw.symlink_to, golden.with_name("declared.img"))
    await define("raw", raw, "raw")
    await asyncio.to_thread(closed.mkdir, mode=0)
    for image in (secret, golden.with_name("declared.img")):
        await asyncio.to_thread(image.chmod, 0)
    found = await examine(embedded_hypervisor, machine, 1, UndoRules())
    await asyncio.to_thread(closed.chmod, 0o700)
    assert found.obstacles == ()
    assert len(found.unseen) == 2
    assert str(closed) in found.unseen[0]
    assert "cannot be listed" in found.unseen[0]
    assert str(secret) in found.unseen[1]


@pytest.mark.parametrize("image_format", ["qcow2", "raw"])
async def test_a_pipe_in_place_of_an_image_stops_no_other_machine(
    embedded_hypervisor: Host, define: Callable[..., Awaitable[None]], tmp_path: Path, image_format: str
) -> None:
    """To open it would wait for ever: its own machine is refused, and all others are answered."""
    golden, pipe = await golden_image(tmp_path), tmp_path / "pipe"
    await asyncio.to_thread(os.mkfifo, pipe)
    await asyncio.to_thread(os.mkfifo, golden.with_name("beside.qcow2"))
    await define("golden", golden)
    await define("piped", pipe, image_format)
    await clone(pipe, tmp_path / "over.qcow2", "-u", "-F", image_format)
    await define("over", tmp_path / "over.qcow2")
    await plan(embedded_hypervisor)
    assert (await embedded_hypervisor.disks.storage("golden", "vda")).size_bytes == 4 << 20
    for name in ("piped", "over"):
        with pytest.raises(InnkeeperError, match="pipe"):
            await plan(embedded_hypervisor, name)
