"""What an undo disk would fail on late is refused first, by a sentence: real images, as an ordinary user."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.sax.saxutils import quoteattr

import pytest

from innkeeper.errors import ErrorCode, MachineUnfit
from innkeeper.machines.change import Scope, SettingsChanged
from innkeeper.machines.ports.host import Host
from innkeeper.machines.undo.fitness import UndoRules, plan_undo_point
from innkeeper.machines.undo.point import UndoPoint
from innkeeper.tasks.clock import SystemClock
from tests.guests.machines import EMULATED

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.skipif(os.geteuid() == 0, reason="root may do anything, and is refused nothing"),
]

_DOMAIN = (
    f"<domain type='{EMULATED}'>"
    """<name>{name}</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>
<os><type machine='q35'>hvm</type></os><devices>{disks}<controller type='usb' model='none'/>
<memballoon model='none'/></devices></domain>"""
)
_DISK = """<disk type='{kind}' device='disk'><driver name='qemu' type='{format}'/><source {attribute}={path}/>
<target dev='{target}' bus='virtio'/></disk>"""


def disk(path: Path, image_format: str = "qcow2", *, target: str = "vda", is_device: bool = False) -> str:
    """A disk of a definition."""
    kind, attribute = ("block", "dev") if is_device else ("file", "file")
    return _DISK.format(
        kind=kind, attribute=attribute, format=image_format, path=quoteattr(str(path)), target=target
    )


def image(path: Path, *options: str) -> Path:
    """A small qcow2 image."""
    path.parent.mkdir(exist_ok=True)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, path, "4M"], check=True)
    return path


# What is wrong: each makes it in a folder, and returns the disks of a machine


def no_write_permission(directory: Path) -> str:
    """An image with mode 0444."""
    path = image(directory / "a.qcow2")
    path.chmod(0o444)
    return disk(path)


def no_read_permission(directory: Path) -> str:
    """An image that nobody may read."""
    path = image(directory / "a.qcow2")
    path.chmod(0)
    return disk(path)


def closed_folder(directory: Path) -> str:
    """A folder that cannot be written."""
    path = image(directory / "closed" / "a.qcow2")
    path.parent.chmod(0o555)
    return disk(path)


def folder_as_image(directory: Path) -> str:
    """A folder in place of the image."""
    (directory / "a.img").mkdir()
    return disk(directory / "a.img", "raw")


def pipe(directory: Path) -> str:
    """A pipe in place of the image: whoever opens it waits for ever."""
    os.mkfifo(directory / "a.img")
    return disk(directory / "a.img", "raw")


def missing(directory: Path) -> str:
    """No image at all."""
    return disk(directory / "a.qcow2")


def dangling(directory: Path) -> str:
    """A link that leads nowhere."""
    (directory / "a.qcow2").symlink_to(directory / "elsewhere.qcow2")
    return disk(directory / "a.qcow2")


def circle(directory: Path) -> str:
    """Links that lead to one another."""
    (directory / "a.qcow2").symlink_to(directory / "b.qcow2")
    (directory / "b.qcow2").symlink_to(directory / "a.qcow2")
    return disk(directory / "a.qcow2")


def corrupt(directory: Path) -> str:
    """An image that QEMU has marked as corrupt."""
    path = image(directory / "a.qcow2")
    with path.open("r+b") as file:
        file.seek(72)
        file.write((1 << 1).to_bytes(8, "big"))
    return disk(path)


def external_data(directory: Path) -> str:
    """An image whose data lie in another file."""
    return disk(image(directory / "a.qcow2", "-o", f"data_file={directory / 'a.data'}"))


def raw_as_qcow2(directory: Path) -> str:
    """A raw image that is declared as qcow2."""
    (directory / "a.qcow2").write_bytes(bytes(1 << 20))
    return disk(directory / "a.qcow2")


def file_as_device(directory: Path) -> str:
    """A file that is declared as a block device."""
    return disk(image(directory / "a.img"), is_device=True)


def long_path(directory: Path) -> str:
    """A path that a qcow2 header has no room for."""
    path = directory
    while len(str(path)) < 1000:
        path = path / ("d" * 100)
        path.mkdir()
    return disk(image(path / "a.qcow2"))


def twice(directory: Path) -> str:
    """One image as two disks, by two names."""
    path = image(directory / "a.qcow2")
    (directory / "b.qcow2").hardlink_to(path)
    return disk(path) + disk(directory / "b.qcow2", target="vdb")


def missing_parent(directory: Path) -> str:
    """A clone whose golden image is gone."""
    golden = image(directory / "golden.qcow2")
    path = image(directory / "a.qcow2", "-b", str(golden), "-F", "qcow2")
    golden.unlink()
    return disk(path)


_REFUSED: list[tuple[Callable[[Path], str], str, ErrorCode, str]] = [
    (no_write_permission, "cannot be written", ErrorCode.E_ACCESSDENIED, "chmod u+w {}/a.qcow2"),
    (no_read_permission, "cannot be read", ErrorCode.E_ACCESSDENIED, "chmod u+rw {}/a.qcow2"),
    (closed_folder, "the folder .*closed cannot be written", ErrorCode.E_ACCESSDENIED, ""),
    (folder_as_image, "is a folder", ErrorCode.VM_E_HD_IMAGE_OPEN_FAIL, ""),
    (pipe, "is no file: a pipe", ErrorCode.VM_E_HD_IMAGE_OPEN_FAIL, ""),
    (missing, "is not there", ErrorCode.ERROR_FILE_NOT_FOUND, ""),
    (dangling, "is not there", ErrorCode.ERROR_FILE_NOT_FOUND, ""),
    (circle, "is not there", ErrorCode.ERROR_FILE_NOT_FOUND, ""),
    (corrupt, "marked as corrupt", ErrorCode.VM_E_INVALID_HD_FILE, "qemu-img check -r all {}/a.qcow2"),
    (external_data, "keeps its data in another file", ErrorCode.VM_E_INVALID_HD_FILE, ""),
    (raw_as_qcow2, "is no qcow2 image", ErrorCode.VM_E_INVALID_HD_FILE, ""),
    (file_as_device, "is no block device", ErrorCode.VM_E_HD_IMAGE_OPEN_FAIL, ""),
    (long_path, "longer path than a qcow2 image can name", ErrorCode.VM_E_HD_IMAGE_OPEN_FAIL, ""),
    (twice, "are one image", ErrorCode.ERROR_SHARING_VIOLATION, ""),
]


@pytest.fixture
async def define(embedded_hypervisor: Host) -> AsyncIterator[Callable[[str, str], object]]:
    """Define a machine with these disks; it is forgotten afterwards."""
    names: list[str] = []

    async def make(name: str, disks: str) -> None:
        await embedded_hypervisor.definitions.define(_DOMAIN.format(name=name, disks=disks))
        names.append(name)

    yield make
    for name in names:
        await embedded_hypervisor.definitions.undefine(name)


async def plan(host: Host, name: str) -> UndoPoint:
    """Plan an undo point, as a night does first."""
    machine = await host.inventory.get(name)
    planned = await plan_undo_point(host, machine, 7, UndoRules(), [host])
    return UndoPoint(host, planned, clock=SystemClock())


def all_of(directory: Path) -> set[tuple[str, int, int]]:
    """Every file below a folder, with its mode and its time."""
    found = [(each, each.lstat()) for each in directory.rglob("*")]
    return {(str(each), status.st_mode, status.st_mtime_ns) for each, status in found}


@contextmanager
def opened_again(directory: Path) -> Iterator[None]:
    """Give the folders back, so that what is in them can be deleted."""
    yield
    for each in directory.rglob("*"):
        if stat.S_ISDIR(each.lstat().st_mode):
            each.chmod(0o755)


@pytest.mark.parametrize(
    ("wrong", "said", "code", "way_out"), _REFUSED, ids=lambda each: getattr(each, "__name__", "")
)
async def test_what_an_undo_disk_would_fail_on_is_refused_first(
    embedded_hypervisor: Host,
    define: Callable[..., object],
    tmp_path: Path,
    wrong: Callable[[Path], str],
    said: str,
    code: ErrorCode,
    way_out: str,
) -> None:
    """By name, with a documented identifier and a way out; no byte and no time of a file is changed."""
    with opened_again(tmp_path):
        await define("odd", await asyncio.to_thread(wrong, tmp_path))  # type: ignore[misc]  # the fixture's
        before = await asyncio.to_thread(all_of, tmp_path)
        with pytest.raises(MachineUnfit, match=rf"(?s)(vda|vdb) of odd .*{said}") as caught:
            async with asyncio.timeout(60):
                await plan(embedded_hypervisor, "odd")
        assert caught.value.code is code
        assert caught.value.advice
        assert caught.value.way_out == way_out.format(tmp_path)
        assert await asyncio.to_thread(all_of, tmp_path) == before


async def test_an_undo_disk_with_too_long_a_name_is_refused_first(
    embedded_hypervisor: Host, define: Callable[..., object], tmp_path: Path
) -> None:
    """Its name begins with the machine's; what has no name yet is not made."""
    name = "n" * 240
    await define(name, await asyncio.to_thread(lambda: disk(image(tmp_path / "a.qcow2"))))  # type: ignore[misc]
    with pytest.raises(MachineUnfit, match="takes no file with a name as long as the undo disk's"):
        await plan(embedded_hypervisor, name)


async def test_an_image_that_another_program_writes_to_is_refused_first(
    embedded_hypervisor: Host, define: Callable[..., object], tmp_path: Path
) -> None:
    """The machine is off, and somebody works on its disk: what they write would be lost, or ruin it."""
    path = await asyncio.to_thread(image, tmp_path / "a.qcow2")
    await define("odd", disk(path))  # type: ignore[misc]
    writer = await asyncio.create_subprocess_exec(
        "qemu-nbd", "-t", "-f", "qcow2", "-k", str(tmp_path / "nbd"), str(path)
    )
    try:
        async with asyncio.timeout(60):
            while not await asyncio.to_thread((tmp_path / "nbd").exists):
                await asyncio.sleep(0.02)
        with pytest.raises(
            MachineUnfit, match=r"in use by another program, although odd is (turned )?off"
        ) as caught:
            await plan(embedded_hypervisor, "odd")
        assert caught.value.code is ErrorCode.ERROR_SHARING_VIOLATION
    finally:
        writer.terminate()
        await writer.wait()
    await plan(embedded_hypervisor, "odd")


async def test_odd_images_that_are_sound_get_their_undo_disks(
    embedded_hypervisor: Host, define: Callable[..., object], tmp_path: Path
) -> None:
    """Commas, colons and quotes in names, links, relative parents, snapshots inside: taken, and kept."""

    def images() -> list[Path]:
        names = (
            "a,b.qcow2",
            "nbd:c.qcow2",
            "d \"e&'f.qcow2",
            "x,file=y/g.qcow2",
            "snapshots.qcow2",
            "top.qcow2",
        )
        made = [image(tmp_path / name) for name in names]
        subprocess.run(["qemu-img", "snapshot", "-c", "before", made[4]], check=True)
        image(tmp_path / "golden.qcow2")
        subprocess.run(["qemu-img", "rebase", "-u", "-b", "golden.qcow2", "-F", "qcow2", made[5]], check=True)
        link = tmp_path / "links" / "link.qcow2"
        link.parent.mkdir()
        link.symlink_to(image(tmp_path / "linked.qcow2"))
        return [*made, link]

    made = await asyncio.to_thread(images)
    disks = "".join(disk(path, target=f"vd{'abcdefg'[number]}") for number, path in enumerate(made))
    await define("fine", disks)  # type: ignore[misc]
    before = await asyncio.to_thread(lambda: sorted(each.name for each in tmp_path.rglob("*")))
    undo = await plan(embedded_hypervisor, "fine")
    await undo.take(freeze_seconds=1)
    await embedded_hypervisor.lifecycle.start("fine", paused=True)
    await embedded_hypervisor.lifecycle.turn_off("fine")
    await undo.merge()
    await undo.delete_files()
    assert await asyncio.to_thread(lambda: sorted(each.name for each in tmp_path.rglob("*"))) == before
    assert await asyncio.to_thread(made[6].is_symlink)
    listing = ["qemu-img", "snapshot", "-l", str(made[4])]
    snapshots = await asyncio.to_thread(subprocess.run, listing, check=True, capture_output=True, text=True)
    assert "before" in snapshots.stdout


@pytest.mark.parametrize("running", [False, True])
async def test_a_disk_left_out_keeps_its_image_and_what_is_written_to_it(
    embedded_hypervisor: Host, define: Callable[..., object], tmp_path: Path, running: bool
) -> None:
    """It may be shared, which no other disk may; the overlay lies over the other disk alone."""
    scratch = await asyncio.to_thread(image, tmp_path / "scratch.qcow2")
    system = await asyncio.to_thread(image, tmp_path / "system.qcow2")
    shared = disk(scratch, "raw", target="vdb").replace("<target", "<shareable/><target")
    await define("fine", disk(system) + shared)  # type: ignore[misc]
    with pytest.raises(MachineUnfit, match="vdb of fine is shared") as caught:
        await plan(embedded_hypervisor, "fine")
    assert caught.value.way_out == "innkeeper machine set fine --undo-exclude vdb"
    left_out = SettingsChanged(values={"undo_exclude": "vdb"})
    await embedded_hypervisor.configurations.change("fine", left_out, Scope.BOTH)
    undo = await plan(embedded_hypervisor, "fine")
    if running:
        await embedded_hypervisor.lifecycle.start("fine", paused=True)
    await undo.take(freeze_seconds=1)
    machine = await embedded_hypervisor.inventory.get("fine")
    assert {each.target: each.path for each in machine.disks} == {**undo.plan.overlays, "vdb": str(scratch)}
    await embedded_hypervisor.lifecycle.turn_off("fine")
    await asyncio.to_thread(scratch.write_bytes, b"written by the update" + bytes(1 << 20))
    await undo.drop()
    await undo.delete_files()
    assert (await asyncio.to_thread(scratch.read_bytes)).startswith(b"written by the update")
    machine = await embedded_hypervisor.inventory.get("fine")
    assert [each.path for each in machine.disks] == [str(system), str(scratch)]
