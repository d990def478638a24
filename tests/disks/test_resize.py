"""A disk that changes its size keeps all it has, whatever interrupts it."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import resource
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from innkeeper import disks
from innkeeper.disks.check import Problem, check
from innkeeper.disks.facts import describe
from innkeeper.disks.file import ImageFile
from innkeeper.disks.footer import FOOTER_BYTES, Footer
from innkeeper.disks.image import Image
from innkeeper.disks.repair import repair
from innkeeper.disks.resize import resize
from innkeeper.errors import DiskError, ErrorCode, InvalidArgument
from tests.disks.killing import (
    in_a_killed_process,
    killed_at_random,
    killed_everywhere,
    on_a_small_file_system,
)

MIB = 1 << 20
SIZE = 4 * MIB
BLOCK = 64 << 10


def code_of(work: Callable[[], object]) -> ErrorCode:
    """The identifier of the error that ``work`` meets."""
    with pytest.raises(DiskError) as met:
        work()
    return met.value.code


def filled(path: Path, size: int = SIZE, used: int | None = None) -> bytes:
    """Fill a disk with what nothing else looks like; returns its content."""
    data = random.Random(5).randbytes(used or size).ljust(size, b"\0")
    with disks.open(path, writable=True) as disk:
        disk.pwrite(data[: used or size], 0)
    return data


def is_old_or_new(path: Path, content: bytes, sizes: tuple[int, int]) -> None:
    """Hold a disk to its content: with one of two sizes, cut off or filled up with zeros."""
    with disks.open(path) as disk:
        assert disk.size_bytes in sizes
        assert disk.pread(disk.size_bytes, 0) == content[: disk.size_bytes].ljust(disk.size_bytes, b"\0")
    found = {finding.problem for finding in check(path, deep=True) if not finding.is_harmless}
    assert found <= {Problem.COPY_LOST}, "between the two footers of a dynamic disk, of which one counts"


@pytest.mark.parametrize("kind", ["fixed", "dynamic"])
@pytest.mark.parametrize("size", [9 * MIB, SIZE + 512, SIZE - 512, 3 * MIB])
def test_a_resize_killed_at_every_change_leaves_the_old_disk_or_the_new_one(
    in_memory: Path, kind: str, size: int
) -> None:
    """kill -9 before each change of a file: the disk has one size or the other, and all of its content."""
    source = in_memory / "d.vhd"
    if kind == "fixed":
        disks.create_fixed(source, SIZE)
    else:
        disks.create_dynamic(source, SIZE, block_bytes=BLOCK)
    content = filled(source, used=SIZE if size > SIZE else 2 * MIB)
    copy = in_memory / "copy.vhd"

    def prepare(_number: int) -> Callable[[], object]:
        shutil.copy2(source, copy)
        return lambda: resize(copy, size)

    for _ in killed_everywhere(prepare):
        is_old_or_new(copy, content, (SIZE, size))
        resize(copy, size)
        is_old_or_new(copy, content, (size, size))
    is_old_or_new(copy, content, (size, size))


def test_a_growth_killed_at_random_instants_loses_nothing(tmp_path: Path) -> None:
    """kill -9 at any instant of a fixed disk's growth: all it had is there, and it can be grown again."""
    chance = random.Random(11)
    path = tmp_path / "f.vhd"
    disks.create_fixed(path, SIZE)
    content = filled(path)
    killed = 0
    for _ in range(15):
        killed += killed_at_random("resize(sys.argv[1], 64 << 20)", path, longest=0.02, chance=chance)
        is_old_or_new(path, content, (SIZE, 64 * MIB))
        resize(path, SIZE)
        assert path.stat().st_size == SIZE + FOOTER_BYTES
    assert killed


def test_a_growth_that_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    """On a full host the disk keeps its size, its content, its length and its room."""
    said = on_a_small_file_system(
        tmp_path,
        32 * MIB,
        """
import os
from innkeeper import disks
from innkeeper.disks.resize import resize
from innkeeper.errors import DiskError
disks.create_fixed("f.vhd", 8 << 20)
with disks.open("f.vhd", writable=True) as disk:
    disk.pwrite(b"x" * (8 << 20), 0)
before = os.stat("f.vhd")
try:
    resize("f.vhd", 100 << 20)
except DiskError as error:
    print(error.code.name)
after = os.stat("f.vhd")
assert (after.st_size, after.st_blocks) == (before.st_size, before.st_blocks), (before, after)
with disks.open("f.vhd") as disk:
    assert disk.pread(1 << 30, 0) == b"x" * (8 << 20)
""",
    )
    assert said.strip() == "ERROR_DISK_FULL"


def test_a_growth_past_the_limit_of_files_changes_nothing(tmp_path: Path) -> None:
    """Where the host takes no file of that length, the disk keeps its length and its room."""
    path = disks.create_fixed(tmp_path / "f.vhd", SIZE)
    content = filled(path)
    before = path.stat()

    def grow() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8 * MIB, 8 * MIB))
        assert code_of(lambda: resize(path, 32 * MIB)) is ErrorCode.VM_E_FILE_TOO_LARGE_FOR_VOLUME

    assert not in_a_killed_process(grow)
    assert (path.stat().st_size, path.stat().st_blocks) == (before.st_size, before.st_blocks)
    is_old_or_new(path, content, (SIZE, SIZE))


def test_a_growth_works_where_room_cannot_be_reserved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system that reserves nothing past the end of a file has larger disks too, or the old one."""
    monkeypatch.setattr(ImageFile, "reserve", lambda *_: False)
    path = disks.create_fixed(tmp_path / "f.vhd", SIZE)
    content = filled(path)
    with monkeypatch.context() as patch:

        def full(self: ImageFile, offset: int, length: int) -> None:
            raise DiskError("full", path="", code=ErrorCode.ERROR_DISK_FULL)

        patch.setattr(ImageFile, "allocate", full)
        assert code_of(lambda: resize(path, 9 * MIB)) is ErrorCode.ERROR_DISK_FULL
    is_old_or_new(path, content, (SIZE, SIZE))
    assert path.stat().st_size == SIZE + FOOTER_BYTES
    resize(path, 9 * MIB)
    is_old_or_new(path, content, (9 * MIB, 9 * MIB))
    assert path.stat().st_blocks * 512 >= 9 * MIB


def foreign(path: Path, size: int, entries: int, junk: bytes) -> None:
    """Make a dynamic disk whose table has more entries than its size needs, which nobody has cleared."""
    disks.create_dynamic(path, entries * BLOCK, block_bytes=BLOCK)
    with ImageFile.open(path, writable=True) as file:
        image = Image(file)
        footer = dataclasses.replace(image.layout.footer, current_size=size)
        header = image.layout.header
        assert header is not None
        used = -(-size // BLOCK)
        file.pwrite((junk * entries)[: 4 * (entries - used)], header.table_offset + 4 * used)
        file.pwrite(footer.encode(), 0)
        file.pwrite(footer.encode(), image.end)


@pytest.mark.parametrize("junk", [bytes(4), b"\0\0\0\3", b"\0\0\0\x20"])
def test_entries_nobody_has_cleared_become_no_data(
    tmp_path: Path, content: Callable[[Path], bytes], junk: bytes
) -> None:
    """What lies in a foreign table past the disk's end is no block of the larger disk."""
    path = tmp_path / "d.vhd"
    foreign(path, SIZE, 2 * SIZE // BLOCK, junk)
    model = filled(path)
    resize(path, 2 * SIZE)
    assert content(path) == model + bytes(SIZE)
    assert not check(path, deep=True)


def test_what_lies_past_the_end_in_the_last_block_becomes_no_data(
    tmp_path: Path, content: Callable[[Path], bytes]
) -> None:
    """A last block that is used in part has zeros in the rest when the disk grows."""
    size = SIZE + 4096
    path = disks.create_dynamic(tmp_path / "d.vhd", size, block_bytes=BLOCK)
    model = filled(path, size)
    with ImageFile.open(path, writable=True) as file:
        image = Image(file)
        place = image.place(SIZE // BLOCK)
        assert place is not None
        file.pwrite(b"ghost" * 1000, place + image.bitmap_bytes + 4096)
    resize(path, 2 * SIZE)
    assert content(path) == model.ljust(2 * SIZE, b"\0")


def cut_at_the_disks_end(path: Path, size: int) -> bytes:
    """Make a dynamic disk as old writers do: its last block ends where the disk does."""
    disks.create_dynamic(path, size, block_bytes=BLOCK)
    with disks.open(path, writable=True) as disk:
        # The last block is the last in the file.
        disk.pwrite(b"first" * 100, 0)
        disk.pwrite(b"last!", size - 5)
    with ImageFile.open(path, writable=True) as file:
        image = Image(file)
        block, used = divmod(size, BLOCK)
        place = image.place(block)
        assert place is not None
        end = place + image.bitmap_bytes + used
        file.pwrite(image.layout.footer.encode(), end)
        file.truncate(end + FOOTER_BYTES)
    with disks.open(path) as disk:
        return disk.pread(size, 0)


def test_a_last_block_cut_at_the_disks_end_takes_every_write(
    tmp_path: Path, content: Callable[[Path], bytes]
) -> None:
    """Writes to other blocks and to itself leave it whole, and the disk open for more."""
    size = SIZE + 4096
    path = tmp_path / "d.vhd"
    model = bytearray(cut_at_the_disks_end(path, size))
    for at in (5 * BLOCK, 9 * BLOCK, size - 1000, 20 * BLOCK):
        with disks.open(path, writable=True) as disk:
            disk.pwrite(b"more" * 100, at)
        model[at : at + 400] = b"more" * 100
        assert content(path) == model
        assert not check(path, deep=True)
    disks.open(path).compact()
    assert content(path) == model


@pytest.mark.parametrize("size", [SIZE + BLOCK, 2 * SIZE, 200 * MIB])
def test_a_disk_cut_at_its_end_grows(tmp_path: Path, content: Callable[[Path], bytes], size: int) -> None:
    """The last block gets its whole room, with zeros in it, and the disk takes writes there."""
    path = tmp_path / "d.vhd"
    model = cut_at_the_disks_end(path, SIZE + 4096).ljust(size, b"\0")
    resize(path, size)
    assert content(path) == model
    with disks.open(path, writable=True) as disk:
        disk.pwrite(b"x" * BLOCK, SIZE)
    assert content(path)[:SIZE] == model[:SIZE]
    assert not check(path, deep=True)


def test_a_merge_into_or_reparenting_of_a_cut_disk_leaves_it_whole(
    tmp_path: Path, content: Callable[[Path], bytes]
) -> None:
    """What is written behind the blocks lies over none of them."""
    size = SIZE + 4096
    parent = tmp_path / "p.vhd"
    model = bytearray(cut_at_the_disks_end(parent, size))
    child = disks.create_differencing(tmp_path / "c.vhd", parent)
    with disks.open(child, writable=True) as disk:
        disk.pwrite(b"child" * 20000, 7 * BLOCK)
    model[7 * BLOCK : 7 * BLOCK + 100_000] = b"child" * 20000
    disks.reparent(child, parent)
    assert content(child) == model
    disks.open(child).merge()
    assert content(parent) == model
    assert not check(parent, deep=True)


def test_a_disk_that_shrinks_and_grows_has_zeros_past_its_former_end(
    tmp_path: Path, content: Callable[[Path], bytes]
) -> None:
    """What was cut off does not come back."""
    for path in (
        disks.create_fixed(tmp_path / "f.vhd", SIZE),
        disks.create_dynamic(tmp_path / "d.vhd", SIZE),
    ):
        model = filled(path)
        resize(path, 3 * MIB + 512, lose_data=True)
        resize(path, SIZE)
        assert content(path) == model[: 3 * MIB + 512].ljust(SIZE, b"\0")


def broken_by_a_growth(path: Path, size: int) -> bytes:
    """Make a fixed disk whose file became longer without its footer at the end; returns its content."""
    disks.create_fixed(path, SIZE)
    model = filled(path)
    os.truncate(path, size)
    return model


@pytest.mark.parametrize("size", [9 * MIB, SIZE + 600, SIZE + 512 + 4096])
def test_a_footer_inside_the_file_is_found_by_a_repair(
    tmp_path: Path, content: Callable[[Path], bytes], size: int
) -> None:
    """A fixed disk whose file became longer than its footer says is cut back once its size is said."""
    path = tmp_path / "f.vhd"
    model = broken_by_a_growth(path, size)
    assert code_of(lambda: disks.open(path)) is ErrorCode.VM_E_INVALID_HD_FILE
    assert code_of(lambda: repair(path)) is ErrorCode.VM_E_INVALID_HD_FILE
    assert repair(path, size_bytes=SIZE)
    assert content(path) == model
    assert path.stat().st_size == SIZE + FOOTER_BYTES
    assert not check(path)


def test_what_a_repair_cuts_off_is_kept(tmp_path: Path, content: Callable[[Path], bytes]) -> None:
    """Data behind a footer inside the file lies in the file beside the disk afterwards."""
    path = tmp_path / "f.vhd"
    model = broken_by_a_growth(path, SIZE + 512)
    with path.open("ab") as stream:
        stream.write(b"appended by mistake" * 1000)
    before = path.read_bytes()
    assert repair(path, size_bytes=SIZE)
    assert content(path) == model
    kept = path.with_name("f.vhd.before-repair").read_bytes()
    assert len(kept) == len(before)
    assert kept[SIZE + 512 :] == before[SIZE + 512 :]


def test_a_footer_that_a_guest_wrote_is_not_taken_for_the_disks(
    tmp_path: Path, content: Callable[[Path], bytes]
) -> None:
    """A footer inside the guest's data, of a disk that the guest keeps, ends nothing."""
    path = tmp_path / "f.vhd"
    disks.create_fixed(path, SIZE)
    model = bytearray(filled(path))
    inner = Footer.new(disks.Kind.FIXED, 3 * MIB).encode()
    with disks.open(path, writable=True) as disk:
        disk.pwrite(inner, 3 * MIB + 512)
    model[3 * MIB + 512 : 3 * MIB + 1024] = inner
    os.truncate(path, 9 * MIB)
    repair(path, size_bytes=SIZE)
    assert content(path) == model


@pytest.mark.parametrize("lost", ["zeroed", "cut off"])
def test_a_disk_is_never_cut_to_a_footer_that_its_guest_may_have_written(
    tmp_path: Path, content: Callable[[Path], bytes], lost: str
) -> None:
    """Where the real footer is lost, the possible sizes are named, and the one that is said counts."""
    path = tmp_path / "f.vhd"
    disks.create_fixed(path, SIZE)
    model = bytearray(filled(path))
    inner = Footer.new(disks.Kind.FIXED, 3 * MIB).encode()
    with disks.open(path, writable=True) as disk:
        disk.pwrite(inner, 3 * MIB)
    model[3 * MIB : 3 * MIB + 512] = inner
    os.truncate(path, SIZE)
    if lost == "zeroed":
        os.truncate(path, SIZE + FOOTER_BYTES)
    before = path.read_bytes()
    with pytest.raises(DiskError, match=f"{SIZE:,} .*{3 * MIB:,} bytes") as refused:
        repair(path)
    assert refused.value.code is ErrorCode.VM_E_INVALID_HD_FILE
    with pytest.raises(InvalidArgument):
        repair(path, size_bytes=7 * MIB // 2)
    assert path.read_bytes() == before
    assert repair(path, size_bytes=SIZE)
    assert content(path) == model
    assert not check(path)


def test_a_size_that_a_whole_footer_contradicts_is_refused(tmp_path: Path) -> None:
    """A repair changes no size."""
    disks.create_fixed(tmp_path / "f.vhd", SIZE)
    with pytest.raises(InvalidArgument):
        repair(tmp_path / "f.vhd", size_bytes=3 * MIB)
    assert repair(tmp_path / "f.vhd", size_bytes=SIZE) == []


@pytest.mark.parametrize("kind", ["dynamic", "fixed"])
def test_qemu_reads_the_size_that_a_disk_of_its_own_was_given(tmp_path: Path, kind: str) -> None:
    """QEMU takes the geometry of a disk that carries its own mark, which says less than the new size."""
    path = tmp_path / "q.vhd"
    for size in (300 * MIB, 20 * MIB):
        subprocess.run(
            ["qemu-img", "create", "-q", "-f", "vpc", "-o", f"subformat={kind}", path, "11M"], check=True
        )
        resize(path, size)
        told = subprocess.run(
            ["qemu-img", "info", "--output=json", "-f", "vpc", path], check=True, capture_output=True
        )
        assert json.loads(told.stdout)["virtual-size"] == size == describe(path)[0].size_in_guest
