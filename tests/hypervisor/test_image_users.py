"""Who stands on a golden image is found on real libvirt, by definitions and by headers."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from innkeeper.errors import MachineNotFound, MachineUnfit
from innkeeper.machines.ports.disks import ImageUser
from innkeeper.machines.ports.host import Host
from innkeeper.machines.undo.fitness import UndoRules, plan_undo_point
from innkeeper.machines.undo.point import UndoPlan
from tests.guests.machines import TinyMachine

pytestmark = pytest.mark.qemu


async def clone(base: Path, image: Path) -> None:
    """Make a linked clone, over what is there."""
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(base), str(image)]
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


_DOMAIN = """<domain type='qemu'><name>{name}</name><uuid>{uuid}</uuid>
<memory unit='MiB'>32</memory><vcpu>1</vcpu>
<os><type machine='q35'>hvm</type></os><devices><disk type='file' device='disk'>
<driver name='qemu' type='{format}'/><source file='{path}'/><target dev='vda' bus='virtio'/></disk>
<controller type='usb' model='none'/><memballoon model='none'/></devices></domain>"""


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
