"""What lies beside an image is ours or somebody's, and somebody's is never touched."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from innkeeper import disks
from innkeeper.disks import journal, maps
from innkeeper.disks.allowed import Folders, only_within
from innkeeper.disks.file import ImageFile
from innkeeper.disks.image import Image
from innkeeper.disks.kind import Kind
from innkeeper.disks.leftovers import clear_leftovers, unfinished_name
from innkeeper.disks.mark import Mark, Operation
from innkeeper.disks.merge import merge
from innkeeper.errors import DiskError, ErrorCode
from tests.disks.killing import in_a_killed_process

MIB = 1 << 20
SIZE = 4 * MIB
BLOCK = 64 << 10

Content = Callable[[Path], bytes]


def code_of(work: Callable[[], object]) -> ErrorCode:
    """The identifier of the error that ``work`` meets."""
    with pytest.raises(DiskError) as met:
        work()
    return met.value.code


@pytest.fixture
def child(in_memory: Path) -> Path:
    """A child over a parent that is full of data."""
    parent = disks.create_dynamic(in_memory / "p.vhd", SIZE, block_bytes=BLOCK)
    with disks.open(parent, writable=True) as disk:
        disk.pwrite(b"parent" * (SIZE // 6), 0)
    return disks.create_differencing(in_memory / "c.vhd", parent)


def export(path: Path) -> None:
    """Begin and end an export for writing."""
    with disks.open(path, writable=True) as disk:
        disk.chain.top.keep_maps()
        disk.pwrite(b"x", 0)


def test_a_file_of_the_users_with_the_name_of_a_journal_stops_an_export(child: Path) -> None:
    """It is neither emptied nor removed, whether it is a file, a link or a pipe; nothing waits for it."""
    mine, place = child.with_name("mine"), maps.journal_path(child)
    place.write_text("my maps of the town")
    assert code_of(lambda: export(child)) is ErrorCode.ERROR_ALREADY_EXISTS
    assert place.read_text() == "my maps of the town"
    place.rename(mine)
    place.symlink_to(mine)
    assert code_of(lambda: export(child)) is ErrorCode.ERROR_ALREADY_EXISTS
    assert mine.read_text() == "my maps of the town"
    place.unlink()
    os.mkfifo(place)
    assert code_of(lambda: export(child)) is ErrorCode.ERROR_ALREADY_EXISTS
    place.unlink()
    export(child)


def test_a_pipe_with_the_name_of_a_merges_journal_stops_nobody_for_ever(child: Path) -> None:
    """It is refused by its name."""
    place = journal.journal_path(child.with_name("p.vhd"))
    os.mkfifo(place)
    with pytest.raises(DiskError) as refused:
        merge(child)
    assert str(place) in str(refused.value)


def test_what_a_merge_writes_first_is_written_over_no_file(child: Path, content: Content) -> None:
    """A file of the user's that is called like the journal's draft stays as it is."""
    expected = content(child)
    mine = [child.with_name(f"p.vhd.merging{end}") for end in (".new", ".partial")]
    for path in mine:
        path.write_text("mine")
    assert content(merge(child)) == expected
    assert [path.read_text() for path in mine] == ["mine", "mine"]


def test_a_child_whose_place_another_file_took_is_not_removed_in_its_stead(
    child: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A merge removes the file that it merged, and no other that has its name by then."""
    real = ImageFile.is_at

    def swap(self: ImageFile, path: Path) -> bool:
        path.rename(path.with_name("moved"))
        path.write_text("another file")
        return real(self, path)

    monkeypatch.setattr(ImageFile, "is_at", swap)
    merge(child)
    assert child.read_text() == "another file"


# A journal of an export whose room ends


def test_a_record_that_is_cut_short_is_no_acknowledged_write(
    child: Path, content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write fails, as the client is told; done again it is kept, and so is every one after it."""
    real, left = os.pwrite, [4]

    def pwrite(descriptor: int, data: bytes, offset: int) -> int:
        if len(data) == maps._RECORD.size:
            left[0] -= 1
            if left[0] in {0, 3}:
                return real(descriptor, data[:5], offset)
        return real(descriptor, data, offset)

    failed = child.with_name("failed")

    def work() -> None:
        with disks.open(child, writable=True) as disk:
            disk.chain.top.keep_maps()
            monkeypatch.setattr(os, "pwrite", pwrite)
            for number in range(6):
                for _ in range(3):
                    try:
                        disk.pwrite(b"written" * 100, number * BLOCK)
                        break
                    except DiskError as error:
                        with failed.open("a") as stream:
                            stream.write(f"{error.code.name} ")
            os.kill(os.getpid(), signal.SIGKILL)

    expected = bytearray(content(child))
    assert in_a_killed_process(work)
    assert failed.read_text() == "ERROR_DISK_FULL " * 2
    for number in range(6):
        expected[number * BLOCK : number * BLOCK + 700] = b"written" * 100
    assert content(child) == expected


def test_a_mark_that_was_not_kept_is_kept_when_the_write_is_done_again(
    child: Path, content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A guest that stopped on an error writes again: what it is told then is in the image at the end."""
    expected = bytearray(content(child))
    with disks.open(child, writable=True) as disk:
        disk.chain.top.keep_maps()
        disk.pwrite(b"first" * 10, 0)
        disk.flush()
        with monkeypatch.context() as patch:

            def mark(self: maps.MapJournal, block: int, first: int, last: int) -> None:
                raise DiskError("full", path="", code=ErrorCode.ERROR_DISK_FULL)

            patch.setattr(maps.MapJournal, "mark", mark)
            assert code_of(lambda: disk.pwrite(b"again" * 100, 8192)) is ErrorCode.ERROR_DISK_FULL
        disk.pwrite(b"again" * 100, 8192)
    expected[:50] = b"first" * 10
    expected[8192:8692] = b"again" * 100
    assert content(child) == expected


def test_a_flush_that_cannot_begin_its_journal_leaves_the_former_one(
    child: Path, content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the journal's head cannot be written, what is told after it is found again after a kill."""
    expected = bytearray(content(child))

    def work() -> None:
        with disks.open(child, writable=True) as disk:
            disk.chain.top.keep_maps()
            disk.pwrite(b"first" * 10, 0)
            real = os.ftruncate

            def full(descriptor: int, length: int) -> None:
                if length <= maps._HEAD.size:
                    raise OSError(errno.ENOSPC, "full")
                real(descriptor, length)

            monkeypatch.setattr(os, "ftruncate", full)
            assert code_of(disk.flush) is ErrorCode.ERROR_DISK_FULL
            monkeypatch.setattr(os, "ftruncate", real)
            disk.pwrite(b"later" * 10, 5 * BLOCK)
            os.kill(os.getpid(), signal.SIGKILL)

    assert in_a_killed_process(work)
    expected[:50], expected[5 * BLOCK : 5 * BLOCK + 50] = b"first" * 10, b"later" * 10
    assert content(child) == expected


# Notes in images


@pytest.mark.parametrize("number", [1, SIZE - 1, SIZE, 5 * SIZE, (1 << 63) + 5, (1 << 64) - 1])
def test_a_note_of_a_growth_that_names_no_place_in_the_disk_does_nothing(
    tmp_path: Path, content: Content, number: int
) -> None:
    """Whatever a foreign footer has there: the disk opens, and outside of it nothing is written."""
    path = disks.create_fixed(tmp_path / "f.vhd", SIZE)
    with disks.open(path, writable=True) as disk:
        disk.pwrite(b"x" * SIZE, 0)
    with ImageFile.open(path, writable=True) as file:
        Image(file).put_mark(Mark(operation=Operation.GROWING, number=number))
    with disks.open(path, writable=True) as disk:
        assert disk.size_bytes == SIZE
    assert len(content(path)) == SIZE
    assert path.stat().st_size == SIZE + 512


# Leftovers


def test_an_unfinished_file_that_nobody_holds_goes_after_a_day(tmp_path: Path) -> None:
    """One that is held, is younger, or has a name of somebody's stays."""
    dead, held, young = (tmp_path / unfinished_name() for _ in range(3))
    mine = tmp_path / ".innkeeper-mine.partial"
    for path in (dead, held, young, mine):
        path.write_bytes(b"x")
    file = ImageFile.open(held, writable=True)
    for path in (dead, held, mine):
        os.utime(path, (1_700_000_000,) * 2)
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        clear_leftovers(folder)
    finally:
        os.close(folder)
        file.close()
    assert sorted(tmp_path.iterdir()) == sorted([held, young, mine])


# What is swapped between a look and an opening


def test_what_is_opened_lies_in_the_allowed_folders_whatever_its_path_told(tmp_path: Path) -> None:
    """A file or folder that became a link after the look at its path is refused when it is open."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for folder in (inside, outside):
        disks.create_dynamic(folder / "d.vhd", SIZE)
    (inside / "swapped.vhd").symlink_to(outside / "d.vhd")
    (inside / "folder").symlink_to(outside)
    before = sorted(outside.iterdir())
    with only_within(Folders(folders=(inside,), what="the folders", advice="")):
        for work in (
            lambda: disks.open(inside / "swapped.vhd"),
            lambda: disks.open(inside / "folder" / "d.vhd", writable=True),
            lambda: disks.create_dynamic(inside / "folder" / "new.vhd", SIZE),
            lambda: disks.convert(inside / "d.vhd", inside / "folder" / "new.qcow2", Kind.QCOW2),
        ):
            assert code_of(work) is ErrorCode.ERROR_BAD_PATHNAME
        disks.open(inside / "d.vhd").close()
    assert sorted(outside.iterdir()) == before
