"""Compacting gives room back and changes nothing else."""

from __future__ import annotations

import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from innkeeper import disks
from innkeeper.disks.check import check
from innkeeper.disks.compact import compact
from innkeeper.disks.resize import resize
from innkeeper.errors import DiskError, ErrorCode
from tests.disks.killing import killed_everywhere

SIZE = 16 << 20
BLOCK = 64 << 10
SLOT = BLOCK + 4096


@pytest.fixture
def loose(tmp_path: Path) -> tuple[Path, bytes]:
    """Make a disk with a block of data after each three of zeros that are really stored."""
    path = disks.create_dynamic(tmp_path / "d.vhd", SIZE, block_bytes=BLOCK)
    chance = random.Random(2)
    order = list(range(SIZE // BLOCK))
    chance.shuffle(order)
    with disks.open(path, writable=True) as disk:
        for block in order:
            disk.pwrite(b"x" * BLOCK, block * BLOCK)
        for block in order:
            data = chance.randbytes(BLOCK) if block % 4 == 0 else bytes(BLOCK)
            disk.pwrite(data, block * BLOCK)
        return path, disk.pread(SIZE, 0)


def test_blocks_of_zeros_are_given_back(loose: tuple[Path, bytes], content: Callable[[Path], bytes]) -> None:
    """The file holds the blocks with data and nothing else, and reads as before."""
    path, before = loose
    saved = disks.open(path).compact()
    assert content(path) == before
    assert saved >= SIZE * 3 // 4
    assert path.stat().st_size <= SIZE // BLOCK // 4 * SLOT + 16 * 1024
    assert not check(path, deep=True)


def test_identity_and_time_stay_so_children_do(
    loose: tuple[Path, bytes], content: Callable[[Path], bytes]
) -> None:
    """A child made before its parent was compacted opens after it, and reads the same."""
    path, before = loose
    child = disks.create_differencing(path.with_name("c.vhd"), path)
    status = path.stat()
    compact(path)
    assert path.stat().st_mtime_ns == status.st_mtime_ns
    assert path.stat().st_ino == status.st_ino
    assert content(child) == before


def test_a_childs_zeros_over_data_stay(loose: tuple[Path, bytes], content: Callable[[Path], bytes]) -> None:
    """A child's block of zeros is needed where the parent has data, and given back where it has none."""
    path, before = loose
    child = disks.create_differencing(path.with_name("c.vhd"), path)
    with disks.open(child, writable=True) as disk:
        disk.pwrite(bytes(BLOCK), 0)
        disk.pwrite(b"x" * BLOCK, BLOCK)
        disk.pwrite(bytes(BLOCK), BLOCK)
    compact(path)
    compact(child)
    assert content(child) == bytes(BLOCK) + before[BLOCK:]
    assert child.stat().st_size < 2 * SLOT + 16 * 1024


def test_compacting_twice_gives_nothing_more(loose: tuple[Path, bytes]) -> None:
    """A compact disk stays as it is, to the byte."""
    compact(loose[0])
    before = loose[0].read_bytes()
    assert compact(loose[0]) == 0
    assert loose[0].read_bytes() == before


def test_room_behind_the_blocks_is_given_back_whatever_lies_there(
    tmp_path: Path, content: Callable[[Path], bytes]
) -> None:
    """A table that a growth moved, and the locators of a new parent, hold no room between."""
    parent = disks.create_dynamic(tmp_path / "p.vhd", SIZE, block_bytes=BLOCK)
    child = disks.create_differencing(tmp_path / "c.vhd", parent)
    for path in (parent, child):
        with disks.open(path, writable=True) as disk:
            for offset in range(0, SIZE, BLOCK):
                disk.pwrite(path.name.encode() * 1000, offset)
        if path == parent:
            aside = child.rename(tmp_path / "c.img")
            resize(parent, 200 << 20)
            aside.rename(child)
            disks.reparent(child, parent)
        else:
            disks.reparent(child, parent)
        with disks.open(path, writable=True) as disk:
            for offset in range(0, SIZE, BLOCK):
                if offset % (16 * BLOCK):
                    disk.pwrite(bytes(BLOCK), offset)
            before = disk.pread(SIZE, 0)
        if path == child:
            # The parent has data below: only what it lacks can go.
            with disks.open(parent, writable=True) as disk:
                disk.write_zeroes(SIZE, 0)
            disks.open(parent).compact()
            disks.reparent(child, parent)
        saved = disks.open(path).compact()
        assert saved > SIZE * 3 // 4
        assert path.stat().st_size < SIZE // BLOCK // 16 * SLOT + 64 * 1024
        assert content(path)[:SIZE] == before
        assert not check(path, deep=True)
        disks.reparent(child, parent)
    assert disks.open(parent).compact() == 0


def test_a_fixed_disk_cannot_be_compacted(tmp_path: Path) -> None:
    """A fixed disk is the wrong type, and one in use a sharing violation."""
    fixed = disks.create_fixed(tmp_path / "f.vhd", SIZE)
    with pytest.raises(DiskError) as refused:
        compact(fixed)
    assert refused.value.code == ErrorCode.VM_E_WRONG_HD_IMAGE_TYPE
    dynamic = disks.create_dynamic(tmp_path / "d.vhd", SIZE)
    with disks.open(dynamic), pytest.raises(DiskError) as refused:
        compact(dynamic)
    assert refused.value.code == ErrorCode.ERROR_SHARING_VIOLATION


def test_a_cancelled_compaction_leaves_a_whole_disk(
    loose: tuple[Path, bytes], content: Callable[[Path], bytes]
) -> None:
    """Called off anywhere, the disk reads as before, and a second compaction ends it."""
    path, before = loose

    class Stop:
        def __init__(self, left: int) -> None:
            self.left = left

        def advance(self, phase: str, done: int, total: int) -> None:
            self.left -= 1

        def cancel_requested(self) -> bool:
            return self.left < 0

        def past_return(self) -> None:
            raise AssertionError("a compaction can always stop")

    for left in (0, 100, 256, 280):
        copy = Path(shutil.copy2(path, path.with_name(f"{left}.vhd")))
        with pytest.raises(disks.Cancelled):
            compact(copy, watch=Stop(left))
        assert content(copy) == before
        assert not [finding for finding in check(copy, deep=True) if not finding.is_harmless]
        compact(copy)
        assert content(copy) == before


def test_disks_of_qemus_are_compacted(
    tmp_path: Path, run: Callable[..., str], content: Callable[[Path], bytes]
) -> None:
    """A disk QEMU made, its blocks where QEMU puts them, is compacted, and QEMU reads it as before."""
    path = tmp_path / "q.vhd"
    run("qemu-img", "create", "-f", "vpc", "-o", "force_size=on", path, "40M")
    run(
        "qemu-io",
        "-f",
        "vpc",
        "-c",
        "write -P 7 0 30M",
        "-c",
        "write -P 0 4M 20M",
        "-c",
        "write -P 5 39M 4k",
        path,
    )
    run("qemu-img", "convert", "-f", "vpc", "-O", "raw", path, tmp_path / "q.raw")
    assert compact(path) > (20 << 20) - (64 << 10)
    assert content(path) == (tmp_path / "q.raw").read_bytes()
    run("qemu-img", "compare", "-f", "vpc", "-F", "raw", path, tmp_path / "q.raw")


def test_memory_stays_small_on_the_largest_disk(
    tmp_path: Path, run: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Making, writing, checking and compacting a 2040 GiB disk takes less than 64 MiB."""
    program = """
import sys
from innkeeper import disks
from innkeeper.disks.check import check
path = disks.create_dynamic(sys.argv[1], 2040 << 30)
with disks.open(path, writable=True) as disk:
    for offset in range(0, 2040 << 30, 4 << 30):
        disk.pwrite(b"x", offset)
    disk.pwrite(bytes(512), 0)
assert not check(path)
disks.open(path).compact()
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
    monkeypatch.setenv("PYTHONPATH", str(Path(disks.__file__).parents[2]))
    peak = int(run(sys.executable, "-c", program, tmp_path / "huge.vhd"))
    assert peak < 64 << 10, f"{peak} KiB"


def test_a_compaction_killed_at_every_change_leaves_a_whole_disk(
    in_memory: Path, content: Callable[[Path], bytes]
) -> None:
    """kill -9 before each change, the move of a table among them: the disk reads as before."""
    source, copy = in_memory / "d.vhd", in_memory / "copy.vhd"
    disks.create_dynamic(source, SIZE, block_bytes=BLOCK)
    with disks.open(source, writable=True) as disk:
        for offset in range(0, SIZE, 4 * BLOCK):
            disk.pwrite(bytes([offset // BLOCK % 255 + 1]) * 3 * BLOCK, offset)
    resize(source, 3 * SIZE)
    with disks.open(source, writable=True) as disk:
        disk.pwrite(bytes(SIZE - 2 * BLOCK), BLOCK)
    before = content(source)

    def prepare(_number: int) -> Callable[[], object]:
        shutil.copy2(source, copy)
        return lambda: compact(copy)

    for _ in killed_everywhere(prepare):
        assert content(copy) == before
        assert not [finding for finding in check(copy, deep=True) if not finding.is_harmless]
        compact(copy)
        assert content(copy) == before
    assert copy.stat().st_size < 4 * SLOT
