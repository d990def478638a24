"""What is in the way of an operation is told with its identifier, before anything is touched."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from innkeeper import disks
from innkeeper.disks import journal
from innkeeper.disks.compact import compact
from innkeeper.disks.kind import Kind
from innkeeper.disks.merge import merge
from innkeeper.disks.repair import repair
from innkeeper.disks.resize import resize
from innkeeper.errors import DiskError, ErrorCode
from tests.disks.killing import on_a_small_file_system

MIB = 1 << 20
SIZE = 4 * MIB

Family = tuple[Path, Path]


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Family]:
    """A child and a parent in folders of their own, both written to: (child, parent)."""
    parent = disks.create_dynamic(tmp_path / "below" / "p.vhd", SIZE)
    with disks.open(parent, writable=True) as disk:
        disk.pwrite(b"parent" * 1000, 0)
    child = disks.create_differencing(tmp_path / "above" / "c.vhd", parent)
    with disks.open(child, writable=True) as disk:
        disk.pwrite(b"child" * 1000, 100_000)
    yield child, parent
    for folder in (child.parent, parent.parent):
        folder.chmod(0o700)


def refused_untouched(family: Family, work: Callable[[], object]) -> ErrorCode:
    """The identifier of the error, after which every file is as it was and no other is there."""

    def files() -> dict[Path, tuple[bytes, int]]:
        found = (path for folder in family for path in folder.parent.iterdir())
        return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in found if path.is_file()}

    before = files()
    with pytest.raises(DiskError) as refused:
        work()
    assert files() == before
    assert str(refused.value).rstrip().endswith(".")
    return refused.value.code


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
@pytest.mark.parametrize("which", [0, 1], ids=["the child's", "the parent's"])
def test_a_merge_in_a_folder_that_cannot_be_written_is_refused(family: Family, which: int) -> None:
    """The child could not be removed, or the journal not be written."""
    family[which].parent.chmod(0o500)
    assert refused_untouched(family, lambda: merge(family[0])) is ErrorCode.E_ACCESSDENIED
    family[which].parent.chmod(0o700)
    merge(family[0])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
@pytest.mark.parametrize("kind", [Kind.RAW, Kind.DYNAMIC, Kind.QCOW2])
def test_a_new_image_in_a_folder_that_cannot_be_written_is_refused(family: Family, kind: Kind) -> None:
    """Whoever writes it."""
    child, parent = family
    parent.parent.chmod(0o500)
    target = parent.with_name("new")
    assert refused_untouched(family, lambda: disks.convert(child, target, kind)) is ErrorCode.E_ACCESSDENIED


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_repair_that_can_keep_nothing_is_refused(family: Family) -> None:
    """What it overwrites is kept beside the disk, or the disk stays as it is."""
    _, parent = family
    data = parent.read_bytes()
    parent.write_bytes(bytes(512) + data[512:])
    parent.parent.chmod(0o500)
    assert refused_untouched(family, lambda: repair(parent)) is ErrorCode.E_ACCESSDENIED


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write and read anything")
def test_files_that_cannot_be_written_or_read_are_told_apart(family: Family) -> None:
    """Mode 0444 is a read-only file, mode 0000 a denied one, for each operation in place."""
    child, parent = family
    for mode, code in ((0o444, ErrorCode.VM_E_FILE_READ_ONLY), (0o000, ErrorCode.E_ACCESSDENIED)):
        for path, work in (
            (parent, lambda: resize(parent, 2 * SIZE)),
            (parent, lambda: compact(parent)),
            (parent, lambda: merge(child)),
            (child, lambda: merge(child)),
            (child, lambda: disks.reparent(child, parent)),
        ):
            before = stat.S_IMODE(path.stat().st_mode)
            path.chmod(mode)
            with pytest.raises(DiskError) as refused:
                work()
            path.chmod(before)
            assert refused.value.code is code
            assert journal.read(parent) is None
    assert disks.open(child).pread(5, 100_000) == b"child"


def test_what_is_no_image_file_is_called_by_what_it_is(tmp_path: Path) -> None:
    """A device, a pipe, a socket and a folder are no image, and nothing waits for them."""
    os.mkfifo(tmp_path / "pipe")
    for path, what in (("/dev/null", "device"), (tmp_path / "pipe", "pipe"), (tmp_path, "folder")):
        with pytest.raises(DiskError) as refused:
            disks.convert(path, tmp_path / "x", Kind.DYNAMIC, source_kind=Kind.RAW)
        assert refused.value.code is ErrorCode.VM_E_INVALID_HD_FILE
        assert what in str(refused.value)


_FULL = """
import os, sys, random
from pathlib import Path
from innkeeper import disks
from innkeeper.disks.compact import compact
from innkeeper.disks.kind import Kind
from innkeeper.disks.merge import merge
from innkeeper.disks.repair import repair
from innkeeper.disks.resize import resize
from innkeeper.errors import DiskError
SIZE, BLOCK = 4 << 20, 64 << 10
disks.create_dynamic("p.vhd", SIZE, block_bytes=BLOCK)
with disks.open("p.vhd", writable=True) as disk:
    for at in range(0, SIZE, 4 * BLOCK):
        disk.pwrite(b"parent" * 1000, at)
os.utime("p.vhd", (1_700_000_000,) * 2)
disks.create_differencing("c.vhd", "p.vhd")
with disks.open("c.vhd", writable=True) as disk:
    for at in range(0, SIZE, BLOCK):
        disk.pwrite(b"child" * 1000, at)
    expected = disk.pread(SIZE, 0)
def content(name):
    with disks.open(name) as disk:
        return disk.pread(disk.size_bytes, 0)
def resize_alone(size):
    # A child that is seen would be in the way.
    os.rename("c.vhd", "c.img")
    try:
        resize("p.vhd", size)
    finally:
        os.rename("c.img", "c.vhd")
def works():
    return {
        "resize": lambda: resize_alone(500 << 30),
        "reparent": lambda: disks.reparent("c.vhd", "p.vhd"),
        "compact": lambda: compact(Path("c.vhd").absolute()),
        "repair": lambda: repair("p.vhd"),
        "qcow2": lambda: disks.convert("c.vhd", "n.qcow2", Kind.QCOW2),
        "raw": lambda: disks.convert("c.vhd", "n.raw", Kind.RAW),
        "merge": lambda: merge("c.vhd"),
    }
for name in works():
    for left in (0, 4096, 20480, 300_000):
        with open("filler", "wb") as filler:
            room = os.statvfs(".")
            filler.write(b"x" * max(0, room.f_bavail * room.f_frsize - left))
        old = content("p.vhd") if name != "merge" else None
        try:
            works()[name]()
            said = "done"
        except DiskError as error:
            assert error.code.name == "ERROR_DISK_FULL", (name, error)
            said = "full"
        os.unlink("filler")
        for made in ("n.qcow2", "n.raw"):
            Path(made).unlink(missing_ok=True)
        names = sorted(os.listdir("."))
        assert not [each for each in names if "partial" in each or each.endswith(".new")], names
        if os.path.exists("c.vhd"):
            with disks.open("c.vhd", ignore_parent_time=True) as disk:
                assert disk.pread(SIZE, 0) == expected, name
        if name == "resize":
            assert content("p.vhd").startswith(old)
            if said == "done":
                resize_alone(SIZE)
            disks.reparent("c.vhd", "p.vhd")
        print(name, left, said)
if os.path.exists("c.vhd"):
    merge("c.vhd", ignore_parent_time=True)
assert content("p.vhd")[:SIZE] == expected
"""


def test_a_full_file_system_costs_nothing_in_any_operation(tmp_path: Path) -> None:
    """Whatever is left of the room, each is done or refused as full, and the disks hold what they held."""
    told = on_a_small_file_system(tmp_path, 24 * MIB, _FULL)
    assert told.count("full") >= 8, told
