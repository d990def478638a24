"""Every kind of bad image meets its documented error, and nothing else."""

from __future__ import annotations

import dataclasses
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from innkeeper import disks
from innkeeper.disks.check import Problem, check
from innkeeper.disks.file import ImageFile
from innkeeper.disks.footer import FOOTER_BYTES
from innkeeper.disks.header import Header
from innkeeper.disks.image import Image
from innkeeper.disks.repair import repair
from innkeeper.errors import DiskError, ErrorCode

SIZE = 4 << 20
BLOCK = 64 << 10
TABLE_AT = 1536


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """Make a dynamic disk with four blocks of data."""
    path = disks.create_dynamic(tmp_path / "d.vhd", SIZE, block_bytes=BLOCK)
    with disks.open(path, writable=True) as opened:
        for block in (0, 3, 7, 8):
            opened.pwrite(bytes([block + 1]) * BLOCK, block * BLOCK)
    return path


@pytest.fixture
def family(disk: Path) -> tuple[Path, Path]:
    """Make a child over the disk: (child, parent)."""
    return disks.create_differencing(disk.with_name("c.vhd"), disk), disk


def code_of(work: Callable[[], object]) -> ErrorCode:
    """Find the identifier of the error that ``work`` meets."""
    with pytest.raises(DiskError) as met:
        work()
    assert str(met.value)
    assert "Traceback" not in str(met.value)
    return met.value.code


def poke(path: Path, offset: int, data: bytes) -> None:
    """Change bytes of a file, keeping its time."""
    status = path.stat()
    with path.open("r+b") as stream:
        stream.seek(offset, os.SEEK_END if offset < 0 else os.SEEK_SET)
        stream.write(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def entry(path: Path, block: int) -> int:
    """Read a block's entry in the table."""
    return int.from_bytes(path.read_bytes()[TABLE_AT + 4 * block :][:4], "big")


def problems(path: Path, deep: bool = True) -> set[Problem]:
    """Check a disk."""
    return {finding.problem for finding in check(path, deep=deep)}


@pytest.mark.parametrize(
    "content", [b"", b"x", bytes(511), bytes(4096), b"QFI\xfb" + bytes(600), b"vhdxfile" * 99]
)
def test_what_is_no_disk_is_no_disk(tmp_path: Path, content: bytes) -> None:
    """A file that is no VHD is not a valid image, whatever it is."""
    path = tmp_path / "x.vhd"
    path.write_bytes(content)
    assert code_of(lambda: disks.open(path)) == ErrorCode.VM_E_INVALID_HD_FILE
    assert problems(path) == {Problem.UNUSABLE}


def test_files_that_are_no_files(tmp_path: Path) -> None:
    """A missing file, a folder, a pipe and a name no file can have are told apart, and nothing waits."""
    os.mkfifo(tmp_path / "pipe")
    assert code_of(lambda: disks.open(tmp_path / "none.vhd")) == ErrorCode.ERROR_FILE_NOT_FOUND
    assert code_of(lambda: disks.open(tmp_path)) == ErrorCode.VM_E_INVALID_HD_FILE
    assert code_of(lambda: disks.open(tmp_path / "pipe")) == ErrorCode.VM_E_INVALID_HD_FILE
    assert code_of(lambda: disks.open("a\0b")) == ErrorCode.ERROR_INVALID_NAME
    assert code_of(lambda: disks.open("x" * 300)) == ErrorCode.ERROR_BUFFER_OVERFLOW
    assert (
        code_of(lambda: disks.create_dynamic(tmp_path / "pipe/x.vhd", SIZE)) == ErrorCode.ERROR_PATH_NOT_FOUND
    )


def test_sizes_are_held_to_the_documented_limits(tmp_path: Path) -> None:
    """2040 GiB is the largest disk, 3 MB the smallest, and a name that is taken is not taken twice."""
    path = tmp_path / "d.vhd"
    assert (
        code_of(lambda: disks.create_dynamic(path, (2040 << 30) + 512)) == ErrorCode.VM_E_IMAGE_SIZE_TOO_LARGE
    )
    assert code_of(lambda: disks.create_fixed(path, (3 << 20) - 512)) == ErrorCode.VM_E_IMAGE_SIZE_TOO_SMALL
    disks.create_dynamic(path, 2040 << 30)
    assert code_of(lambda: disks.create_dynamic(path, SIZE)) == ErrorCode.ERROR_ALREADY_EXISTS
    with disks.open(path, writable=True) as disk:
        disk.pwrite(b"end", (2040 << 30) - 3)
        assert disk.pread(8, (2040 << 30) - 8) == bytes(5) + b"end"


def test_a_folder_is_made_for_a_new_disk(tmp_path: Path) -> None:
    """The folders of a new disk are made as they are needed."""
    assert disks.create_dynamic(tmp_path / "a/b/c.vhd", SIZE).exists()


def test_a_fixed_disk_has_all_its_room(tmp_path: Path) -> None:
    """A fixed disk takes its room from the host when it is made."""
    path = disks.create_fixed(tmp_path / "f.vhd", 8 << 20)
    assert path.stat().st_blocks * 512 >= 8 << 20
    assert path.stat().st_size == (8 << 20) + FOOTER_BYTES


def test_a_lost_footer_is_found_at_the_start(disk: Path) -> None:
    """Where the footer at the end is gone, its copy serves, and a repair writes it again."""
    before = disks.open(disk).pread(SIZE, 0)
    os.truncate(disk, disk.stat().st_size - 512)
    with disks.open(disk) as opened:
        assert opened.pread(SIZE, 0) == before
        assert "copy" in opened.warnings[0]
    assert problems(disk) == {Problem.FOOTER_LOST}
    mended, kept = repair(disk)
    assert "footer" in mended
    assert str(disk.with_name("d.vhd.before-repair")) in kept
    assert problems(disk) == set()
    assert disks.open(disk).pread(SIZE, 0) == before


def test_a_lost_copy_is_written_again(disk: Path) -> None:
    """Where the copy at the start is gone, the footer serves, and a repair writes it again."""
    poke(disk, 0, bytes(512))
    assert disks.open(disk).pread(1, 0) == b"\1"
    assert problems(disk) == {Problem.COPY_LOST}
    repair(disk)
    assert problems(disk) == set()


def test_both_footers_lost_is_the_end(disk: Path) -> None:
    """Without any footer the file is not a valid image, and a repair says so."""
    poke(disk, 0, bytes(512))
    poke(disk, -512, bytes(512))
    assert code_of(lambda: disks.open(disk)) == ErrorCode.VM_E_INVALID_HD_FILE
    assert code_of(lambda: repair(disk)) == ErrorCode.VM_E_INVALID_HD_FILE


def test_a_fixed_disks_checksum_can_be_mended(tmp_path: Path) -> None:
    """The only footer of a fixed disk with a wrong checksum is refused, and mended where all else fits."""
    path = disks.create_fixed(tmp_path / "f.vhd", SIZE)
    poke(path, -512 + 64, b"\0\0\0\0")
    assert code_of(lambda: disks.open(path)) == ErrorCode.VM_E_INVALID_HD_FILE
    assert repair(path)
    assert disks.open(path).size_bytes == SIZE


def test_an_old_footer_of_511_bytes_is_read_and_written_behind(disk: Path) -> None:
    """A disk of an old writer, its last byte missing, reads, takes writes, and keeps all it had."""
    os.truncate(disk, disk.stat().st_size - 1)
    with disks.open(disk, writable=True) as opened:
        assert not opened.warnings
        opened.pwrite(b"new" * 100, 20 * BLOCK)
        assert opened.pread(3, 7 * BLOCK) == b"\x08" * 3
    with disks.open(disk) as opened:
        assert opened.pread(3, 20 * BLOCK) == b"new"
        assert opened.pread(3, 8 * BLOCK) == b"\x09" * 3


def test_a_table_past_the_end_is_refused(disk: Path) -> None:
    """A header whose table lies outside the file, or is too short, is not a valid image."""
    header = Header.decode(disk.read_bytes()[512:TABLE_AT])
    past, short = dataclasses.replace(header, table_offset=1 << 40), dataclasses.replace(header, entries=3)
    for wrong in (past, short, dataclasses.replace(header, table_offset=100)):
        poke(disk, 512, wrong.encode())
        assert code_of(lambda: disks.open(disk)) == ErrorCode.VM_E_INVALID_HD_FILE
        assert problems(disk) == {Problem.UNUSABLE}


@pytest.mark.parametrize("block_bytes", [0, 100, 3 << 20, 2048, 1 << 31])
def test_an_impossible_block_size_is_refused(disk: Path, block_bytes: int) -> None:
    """A block is a power of two of a sane size, or the image is not valid."""
    header = Header.decode(disk.read_bytes()[512:TABLE_AT])
    poke(disk, 512, dataclasses.replace(header, block_bytes=block_bytes).encode())
    assert code_of(lambda: disks.open(disk)) == ErrorCode.VM_E_INVALID_HD_FILE


def test_a_block_past_the_end_costs_that_block_alone(disk: Path) -> None:
    """A table entry past the end is met when that block is read; writing is refused; a repair drops it."""
    poke(disk, TABLE_AT + 4 * 3, struct.pack(">I", 0x7000_0000))
    with disks.open(disk) as opened:
        assert opened.pread(10, 0) == b"\1" * 10
        assert code_of(lambda: opened.pread(10, 3 * BLOCK)) == ErrorCode.VM_E_INVALID_HD_FILE
    assert code_of(lambda: disks.open(disk, writable=True)) == ErrorCode.VM_E_INVALID_HD_FILE
    assert problems(disk) == {Problem.MISPLACED_BLOCK}
    repair(disk)
    assert problems(disk) <= {Problem.UNUSED_ROOM}
    assert disks.open(disk).pread(10, 3 * BLOCK) == bytes(10)
    assert disk.with_name("d.vhd.before-repair").exists()


def test_overlapping_blocks_are_taken_apart(disk: Path) -> None:
    """Two blocks in the same room are refused for writing; a repair gives each its own."""
    poke(disk, TABLE_AT + 4 * 20, struct.pack(">I", entry(disk, 7)))
    poke(disk, TABLE_AT + 4 * 21, struct.pack(">I", entry(disk, 3) + 16))
    before = disks.open(disk).pread(SIZE, 0)
    assert code_of(lambda: disks.open(disk, writable=True)) == ErrorCode.VM_E_INVALID_HD_FILE
    assert problems(disk) == {Problem.MISPLACED_BLOCK}
    repair(disk)
    assert problems(disk, deep=False) == set()
    with disks.open(disk, writable=True) as opened:
        assert opened.pread(SIZE, 0) == before
        opened.pwrite(b"own", 20 * BLOCK)
        assert opened.pread(3, 7 * BLOCK) == b"\x08" * 3


def test_a_block_over_the_tables_is_dropped(disk: Path) -> None:
    """A block that lies over the header is refused for writing, and dropped by a repair."""
    poke(disk, TABLE_AT + 4 * 3, struct.pack(">I", 1))
    assert code_of(lambda: disks.open(disk, writable=True)) == ErrorCode.VM_E_INVALID_HD_FILE
    repair(disk)
    with disks.open(disk, writable=True) as opened:
        opened.pwrite(b"x" * 512, 3 * BLOCK)
        assert opened.pread(1, 0) == b"\1"


def test_a_cut_off_file_keeps_what_it_has(disk: Path) -> None:
    """A file cut off in its last block reads up to there, and a repair fills the block up."""
    last = max(entry(disk, block) for block in (0, 3, 7, 8)) * 512
    os.truncate(disk, last + 512 + BLOCK // 2)
    assert disks.open(disk).pread(2, 0) == b"\1\1"
    assert Problem.MISPLACED_BLOCK in problems(disk)
    repair(disk)
    assert problems(disk) == set()
    with disks.open(disk) as opened:
        assert opened.pread(BLOCK, 8 * BLOCK) == b"\x09" * (BLOCK // 2) + bytes(BLOCK // 2)


def test_a_lying_bitmap_is_believed_and_told(disk: Path) -> None:
    """Sectors called unwritten read as zero; a deep check tells of data behind them, a repair clears it."""
    place = entry(disk, 3) * 512
    poke(disk, place, b"\x0f")
    with disks.open(disk) as opened:
        assert opened.pread(4096, 3 * BLOCK) == bytes(2048) + b"\4" * 2048
    assert problems(disk) == {Problem.HIDDEN_DATA}
    assert problems(disk, deep=False) == set()
    repair(disk, deep=True)
    assert problems(disk) == set()


def test_the_size_is_the_current_size(tmp_path: Path) -> None:
    """A geometry that says otherwise changes nothing, whoever wrote the disk."""
    path = disks.create_dynamic(tmp_path / "d.vhd", SIZE + 512)
    for creator in (b"vpc ", b"qemu", b"vbox", b"\0\0\0\0", b"win "):
        with ImageFile.open(path, writable=True) as file:
            image = Image(file)
            footer = dataclasses.replace(image.layout.footer, creator=creator)
            file.pwrite(footer.encode(), 0)
            file.pwrite(footer.encode(), image.end)
        assert disks.open(path).size_bytes == SIZE + 512


def test_xenservers_first_writer_filled_bitmaps_backwards(tmp_path: Path) -> None:
    """An image of the first ``tap`` writer has each byte of its bitmaps the other way round."""
    base = disks.create_dynamic(tmp_path / "p.vhd", SIZE, block_bytes=BLOCK)
    path = disks.create_differencing(tmp_path / "c.vhd", base)
    with ImageFile.open(path, writable=True) as file:
        image = Image(file)
        footer = dataclasses.replace(image.layout.footer, creator=b"tap\0", creator_version=1)
        file.pwrite(footer.encode(), 0)
        file.pwrite(footer.encode(), image.end)
    with disks.open(path, writable=True) as disk:
        disk.pwrite(b"x" * 512, 512)
    with disks.open(path) as disk:
        assert disk.pread(1536, 0) == bytes(512) + b"x" * 512 + bytes(512)
    place = int.from_bytes(path.read_bytes()[TABLE_AT:][:4], "big") * 512
    assert path.read_bytes()[place] == 0b0000_0010


# Chains


def test_a_missing_parent_is_named(family: tuple[Path, Path]) -> None:
    """Without its parent a child is refused, and the places looked at are told."""
    child, parent = family
    parent.rename(parent.with_name("elsewhere.vhd"))
    with pytest.raises(DiskError) as refused:
        disks.open(child)
    assert refused.value.code == ErrorCode.VM_E_PARENT_PATH_NOT_FOUND
    assert str(parent) in refused.value.advice
    assert problems(child) == {Problem.PARENT}
    disks.reparent(child, parent.with_name("elsewhere.vhd"))
    assert disks.open(child).pread(1, 0) == b"\1"


def test_a_family_that_moves_together_stays_one(family: tuple[Path, Path]) -> None:
    """Parent and child moved to another folder find each other there."""
    child, parent = family
    new = child.parent / "moved"
    new.mkdir()
    for path in family:
        path.rename(new / path.name)
    with disks.open(new / child.name) as disk:
        assert disk.parent is not None
        assert disk.parent.file == new / parent.name


def test_another_disk_in_the_parents_place_is_refused(family: tuple[Path, Path]) -> None:
    """A disk that only has the parent's name is not the parent."""
    child, parent = family
    parent.unlink()
    disks.create_dynamic(parent, SIZE)
    assert code_of(lambda: disks.open(child)) == ErrorCode.VM_E_PARENT_CHILD_ID_MISMATCH
    assert code_of(lambda: disks.reparent(child, parent)) == ErrorCode.VM_E_PARENT_CHILD_ID_MISMATCH


def test_a_changed_parent_is_refused_unless_told_otherwise(family: tuple[Path, Path]) -> None:
    """A parent written to after the child was made is noticed by its time."""
    child, parent = family
    later = parent.stat().st_mtime + 10
    os.utime(parent, (later, later))
    assert code_of(lambda: disks.open(child)) == ErrorCode.VM_E_PARENT_MODIFIED
    assert disks.open(child, ignore_parent_time=True).pread(1, 0) == b"\1"
    disks.reparent(child, parent)
    assert disks.open(child).pread(1, 0) == b"\1"


def test_a_damaged_parent_is_told_as_what_it_is(family: tuple[Path, Path]) -> None:
    """A parent that is no valid image any more is not called missing."""
    child, parent = family
    parent.write_bytes(b"nothing of a disk")
    assert code_of(lambda: disks.open(child)) == ErrorCode.VM_E_INVALID_HD_FILE


def test_a_child_that_is_its_own_parent(family: tuple[Path, Path]) -> None:
    """A chain that goes in a circle is refused at once."""
    child, parent = family
    with ImageFile.open(child, writable=True) as file:
        image = Image(file)
        header = image.layout.header
        assert header is not None
        own = dataclasses.replace(header, parent_id=image.layout.footer.unique_id)
        file.pwrite(own.encode(), 512)
    parent.unlink()
    child.rename(parent)
    assert code_of(lambda: disks.open(parent)) == ErrorCode.VM_E_INVALID_HD_FILE
    assert code_of(lambda: disks.reparent(parent, parent)) in {
        ErrorCode.VM_E_INVALID_HD_FILE,
        ErrorCode.ERROR_SHARING_VIOLATION,
    }


def test_a_chain_may_be_deep_but_not_endless(tmp_path: Path) -> None:
    """Sixty-four disks are a chain, sixty-five are too many."""
    path = disks.create_dynamic(tmp_path / "0.vhd", SIZE)
    for depth in range(1, 64):
        path = disks.create_differencing(tmp_path / f"{depth}.vhd", path, durable=False)
    assert disks.open(path).pread(1, 0) == b"\0"
    too_deep = disks.create_differencing(tmp_path / "64.vhd", path, durable=False)
    assert code_of(lambda: disks.open(too_deep)) == ErrorCode.VM_E_INVALID_HD_FILE


def test_a_path_in_an_image_leads_to_no_other_file(tmp_path: Path, family: tuple[Path, Path]) -> None:
    """An image that names a pipe for its parent is refused, and nothing waits on the pipe."""
    child, parent = family
    parent.unlink()
    os.mkfifo(parent)
    with pytest.raises(DiskError) as refused:
        disks.open(child)
    assert refused.value.code == ErrorCode.VM_E_INVALID_HD_FILE


@pytest.mark.parametrize("name", ["p arent.vhd", "pärent.vhd", "back\\slash.vhd", "100%25.vhd", "日本語.vhd"])
def test_parents_of_any_name_are_found(tmp_path: Path, name: str) -> None:
    """Whatever a parent is called, its child finds it, in its folder and from another."""
    parent = disks.create_dynamic(tmp_path / "x" / name, SIZE)
    for child in (tmp_path / "x/c.vhd", tmp_path / "y/c.vhd"):
        disks.create_differencing(child, parent)
        with disks.open(child) as disk:
            assert disk.parent is not None
            assert disk.parent.file == parent


def test_a_windows_path_leads_to_the_neighbour(tmp_path: Path) -> None:
    """A child from a Windows host, whose drive means nothing here, finds the parent that came with it."""
    parent = disks.create_dynamic(tmp_path / "base.vhd", SIZE)
    child = disks.create_differencing(tmp_path / "c.vhd", parent)
    with ImageFile.open(child, writable=True) as file:
        header = Image(file).layout.header
        assert header is not None
        absolute = header.locators[1]
        text = "D:\\Machines\\base.vhd".encode("utf-16-le")
        file.pwrite(text, absolute.offset)
        only = dataclasses.replace(
            header, parent_name="", locators=(dataclasses.replace(absolute, length_bytes=len(text)),)
        )
        file.pwrite(only.encode(), 512)
    with disks.open(child) as disk:
        assert disk.parent is not None
        assert disk.parent.file == parent


def test_a_read_only_file_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk one may read and not write is marked read only, which is not the same as access denied."""
    path = disks.create_dynamic(tmp_path / "d.vhd", SIZE)
    path.chmod(0o444)
    if os.geteuid() == 0:
        real = os.open

        def refuse(path: Path, flags: int, *args: int, **kwargs: int) -> int:
            if flags & os.O_RDWR and not flags & os.O_CREAT:
                raise PermissionError(13, "Permission denied")
            return real(path, flags, *args, **kwargs)

        monkeypatch.setattr(os, "open", refuse)
    assert code_of(lambda: disks.open(path, writable=True)) == ErrorCode.VM_E_FILE_READ_ONLY


def test_no_space_leaves_nothing_and_loses_nothing(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the host is full, a write fails, everything written before stays, and later writes work again."""
    before = disks.open(disk).pread(SIZE, 0)
    full = [True]
    real = os.pwrite

    def pwrite(descriptor: int, data: memoryview, offset: int) -> int:
        if full[0] and offset >= disk.stat().st_size - 512:
            raise OSError(28, "No space left on device")
        return real(descriptor, data, offset)

    with disks.open(disk, writable=True) as opened:
        monkeypatch.setattr(os, "pwrite", pwrite)
        assert code_of(lambda: opened.pwrite(b"x" * 4096, 30 * BLOCK)) == ErrorCode.ERROR_DISK_FULL
        assert opened.pread(SIZE, 0) == before
        opened.pwrite(b"y" * 512, 0)
        full[0] = False
        opened.pwrite(b"x" * 4096, 30 * BLOCK)
    assert problems(disk) == set()
    with disks.open(disk) as opened:
        assert opened.pread(SIZE, 0)[30 * BLOCK :][:4096] == b"x" * 4096


def test_a_failed_creation_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that could not be made whole is not there at all."""

    def refuse(descriptor: int, offset: int, length: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    assert code_of(lambda: disks.create_fixed(tmp_path / "f.vhd", SIZE)) == ErrorCode.ERROR_DISK_FULL
    assert list(tmp_path.iterdir()) == []


def test_checks_of_sound_disks_find_nothing(family: tuple[Path, Path]) -> None:
    """Disks as Innkeeper makes them have nothing wrong with them."""
    assert problems(family[0]) == set()
    assert problems(family[1]) == set()


def test_each_repair_keeps_what_it_overwrites(disk: Path) -> None:
    """A second repair has a file of its own beside the disk, and the first one's stays."""
    kept = []
    for number, junk in enumerate((b"one" * 100, b"two" * 100, b"three" * 100)):
        poke(disk, 0, junk)
        before = disk.read_bytes()
        assert repair(disk)
        name = "d.vhd.before-repair" + (f"-{number + 1}" if number else "")
        kept.append((disk.with_name(name), before[:512]))
    for path, start in kept:
        assert path.read_bytes()[:512] == start


def test_a_repair_keeps_the_data_that_it_clears(disk: Path) -> None:
    """Sectors called unwritten that held data are made zero, after their data went beside the disk."""
    place = entry(disk, 3) * 512
    poke(disk, place, b"\x0f")
    before = disk.read_bytes()
    repair(disk, deep=True)
    kept = disk.with_name("d.vhd.before-repair").read_bytes()
    assert kept[place + 512 : place + 512 + 2048] == before[place + 512 : place + 512 + 2048] == b"\4" * 2048


def test_a_mended_checksum_was_kept_as_it_was(tmp_path: Path) -> None:
    """The only footer of a fixed disk is kept before it is written."""
    path = disks.create_fixed(tmp_path / "f.vhd", SIZE)
    poke(path, -512 + 64, b"\1\2\3\4")
    footer = path.read_bytes()[-512:]
    assert repair(path)
    assert path.with_name("f.vhd.before-repair").read_bytes()[-512:] == footer


def test_an_image_of_another_format_is_left_to_its_own_tool(tmp_path: Path) -> None:
    """Nothing is wrong with it, and nothing of it is lost."""
    image = tmp_path / "a b.qcow2"
    image.write_bytes(b"QFI\xfb" + bytes(4096))
    with pytest.raises(DiskError, match="qcow2 image, not a VHD") as refused:
        repair(image)
    assert refused.value.advice == f"This works on VHDs. For qcow2: qemu-img check '{image}'"
    (finding,) = check(image)
    assert finding.sentence.endswith(refused.value.advice)
