"""A loss of power at any moment leaves whole disks, with everything that was flushed.

Every change of every file is recorded in order. A crash is then put together from the record: all that was
synced is there, and of what was written after the last sync of its file any part may be, or not.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from innkeeper import disks
from innkeeper.disks.check import Problem, check
from innkeeper.disks.file import ImageFile
from innkeeper.disks.journal import MergeJournal, journal_path

SIZE = 4 << 20
BLOCK = 64 << 10
SECTOR = 512
#: A host writes back whole pages, in any order.
PAGE = 4096

#: What a crash may leave of a disk and still be whole. The files are copies here, so the parent's time is
#: new.
BEARABLE = {
    Problem.FOOTER_LOST,
    Problem.UNUSED_ROOM,
    Problem.HALF_MERGED,
    Problem.HIDDEN_DATA,
    Problem.PARENT,
}


class Record:
    """What happened to the files, in order: (file, kind, offset, data)."""

    def __init__(self) -> None:
        self.events: list[tuple[Path, str, int, bytes]] = []
        self.before: dict[Path, bytes] = {}

    def begin(self, *paths: Path) -> None:
        """Remember the files as they are now."""
        self.before = {path: path.read_bytes() for path in paths}
        self.events.clear()

    def crash(self, moment: int, chance: random.Random, folder: Path) -> None:
        """Write the files as they may be after a loss of power at ``moment``."""
        synced = {path: self._last_sync(path, moment) for path in self.before}
        content = {path: bytearray(data) for path, data in self.before.items()}
        for number, (path, kind, offset, data) in enumerate(self.events[:moment]):
            sure = number < synced.get(path, 0)
            if kind == "write":
                for at in range(0, len(data), PAGE):
                    if sure or chance.random() < 0.5:
                        _put(content[path], offset + at, data[at : at + PAGE])
            elif kind == "cut" and (sure or chance.random() < 0.5):
                del content[path][offset:]
            elif kind == "journal":
                content[path] = bytearray(data)
            elif kind == "gone":
                content.pop(path, None)
        for old in folder.iterdir():
            old.unlink()
        for path, rest in content.items():
            (folder / path.name).write_bytes(rest)

    def _last_sync(self, path: Path, moment: int) -> int:
        numbers = [n for n, event in enumerate(self.events[:moment]) if event[:2] == (path, "sync")]
        return numbers[-1] if numbers else 0


def _put(content: bytearray, offset: int, data: bytes) -> None:
    if len(content) < offset + len(data):
        content.extend(bytes(offset + len(data) - len(content)))
    content[offset : offset + len(data)] = data


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> Iterator[Record]:
    """Record every change that goes through ``ImageFile``, and the steps of the merge journal."""
    seen = Record()

    def note(file: ImageFile, kind: str, offset: int = 0, data: bytes = b"") -> None:
        seen.events.append((file.path, kind, offset, data))

    real_write, real_copy, real_zero = ImageFile.pwrite, ImageFile.copy_from, ImageFile.zero
    real_cut, real_sync = ImageFile.truncate, ImageFile.sync
    real_journal, real_unlink = MergeJournal.write, Path.unlink

    def pwrite(self: ImageFile, data: bytes, offset: int) -> None:
        real_write(self, data, offset)
        note(self, "write", offset, bytes(data))

    def copy_from(self: ImageFile, source: ImageFile, source_offset: int, offset: int, length: int) -> None:
        note(self, "write", offset, source.pread(length, source_offset))
        real_copy(self, source, source_offset, offset, length)

    def zero(self: ImageFile, offset: int, length: int, *, keep_room: bool = False) -> None:
        real_zero(self, offset, length, keep_room=keep_room)
        note(self, "write", offset, bytes(length))

    def truncate(self: ImageFile, size: int) -> None:
        real_cut(self, size)
        note(self, "cut", size)

    def sync(self: ImageFile) -> None:
        real_sync(self)
        note(self, "sync")

    def write_journal(self: MergeJournal, parent: Path) -> None:
        real_journal(self, parent)
        path = journal_path(parent)
        seen.events.append((path, "journal", 0, path.read_bytes()))

    def unlink(self: Path, missing_ok: bool = False) -> None:
        real_unlink(self, missing_ok=missing_ok)
        seen.events.append((self, "gone", 0, b""))

    for name, patched in {
        "pwrite": pwrite, "copy_from": copy_from, "zero": zero, "truncate": truncate, "sync": sync,
    }.items():  # fmt: skip
        monkeypatch.setattr(ImageFile, name, patched)
    monkeypatch.setattr(MergeJournal, "write", write_journal)
    monkeypatch.setattr(Path, "unlink", unlink)
    yield seen
    monkeypatch.undo()


def moments(record: Record, chance: random.Random, count: int = 60) -> list[int]:
    """Choose moments to crash at: the first, the last, and those right after the journal was written."""
    last = len(record.events)
    journals = [number + 1 for number, event in enumerate(record.events) if event[1] == "journal"]
    return sorted({0, last, *journals, *(chance.randrange(last + 1) for _ in range(count))})


def is_bearable(path: Path) -> bool:
    """Whether a check finds only what a crash may leave."""
    return {finding.problem for finding in check(path, deep=True)} <= BEARABLE


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("child", [False, True], ids=["dynamic", "differencing"])
def test_what_was_flushed_is_there_after_a_crash(
    in_memory: Path, record: Record, scribble: Callable[..., None], seed: int, child: bool
) -> None:
    """Each sector reads as it was at the last flush, or as something written to it since."""
    chance = random.Random(seed)
    folder = in_memory / "after"
    folder.mkdir()
    model = bytearray(SIZE)
    path = disks.create_dynamic(in_memory / "p.vhd", SIZE, block_bytes=BLOCK)
    scribble(path, model, 8)
    if child:
        path = disks.create_differencing(in_memory / "c.vhd", path)
    record.begin(*in_memory.glob("*.vhd"))
    versions: list[dict[int, set[bytes]]] = []
    flushes: list[int] = [0]
    allowed = {at: {bytes(model[at : at + SECTOR])} for at in range(0, SIZE, SECTOR)}
    versions.append({at: set(known) for at, known in allowed.items()})
    with disks.open(path, writable=True) as disk:
        for _ in range(6):
            for _ in range(4):
                offset = chance.randrange(SIZE // SECTOR) * SECTOR
                data = chance.randbytes(min(chance.choice([512, 4096, 3 * BLOCK]), SIZE - offset))
                disk.pwrite(data, offset)
                for at in range(0, len(data), SECTOR):
                    allowed[offset + at].add(data[at : at + SECTOR])
                model[offset : offset + len(data)] = data
                flushes.append(len(record.events))
                versions.append({at: set(known) for at, known in allowed.items()})
            disk.flush()
            allowed = {at: {bytes(model[at : at + SECTOR])} for at in range(0, SIZE, SECTOR)}
            flushes.append(len(record.events))
            versions.append({at: set(known) for at, known in allowed.items()})
    for moment in moments(record, chance, 16):
        record.crash(moment, chance, folder)
        # A write that the crash cut through counts: the state after it knows all that may be there.
        state = next((v for f, v in zip(flushes, versions, strict=True) if f >= moment), versions[-1])
        before = [v for f, v in zip(flushes, versions, strict=True) if f <= moment][-1]
        assert is_bearable(folder / path.name)
        with disks.open(folder / path.name, ignore_parent_time=True) as disk:
            read = disk.pread(SIZE, 0)
        for at in range(0, SIZE, SECTOR):
            assert read[at : at + SECTOR] in state[at] | before[at], f"moment {moment}, byte {at}"


@pytest.mark.parametrize("seed", range(3))
def test_a_compaction_that_crashes_loses_nothing(
    in_memory: Path, record: Record, scribble: Callable[..., None], seed: int
) -> None:
    """At every moment of a compaction the disk reads as before it, and a second one ends it."""
    chance = random.Random(seed)
    folder = in_memory / "after"
    folder.mkdir()
    model = bytearray(SIZE)
    path = disks.create_dynamic(in_memory / "d.vhd", SIZE, block_bytes=BLOCK)
    scribble(path, model, 25)
    with disks.open(path, writable=True) as disk:
        for _ in range(20):
            block = chance.randrange(SIZE // BLOCK) * BLOCK
            disk.pwrite(bytes(BLOCK), block)
            model[block : block + BLOCK] = bytes(BLOCK)
    record.begin(path)
    assert disks.open(path).compact() > 0
    compacted = path.stat().st_size
    for moment in moments(record, chance, 16):
        record.crash(moment, chance, folder)
        assert is_bearable(folder / "d.vhd")
        with disks.open(folder / "d.vhd") as disk:
            assert disk.pread(SIZE, 0) == model
        disks.open(folder / "d.vhd").compact()
        assert (folder / "d.vhd").stat().st_size <= compacted + 2 * (BLOCK + PAGE)
        with disks.open(folder / "d.vhd") as disk:
            assert disk.pread(SIZE, 0) == model


@pytest.mark.parametrize("seed", range(2))
def test_a_merge_that_crashes_loses_nothing_and_can_be_finished(
    in_memory: Path, record: Record, scribble: Callable[..., None], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every moment of a merge the child reads as before it, and merging again finishes it."""
    monkeypatch.setattr("innkeeper.disks.merge.CHECKPOINT_BYTES", 2 * BLOCK)
    chance = random.Random(seed)
    folder = in_memory / "after"
    folder.mkdir()
    model = bytearray(SIZE)
    disks.create_dynamic(in_memory / "g.vhd", SIZE, block_bytes=BLOCK)
    scribble(in_memory / "g.vhd", model, 6)
    disks.create_differencing(in_memory / "p.vhd", in_memory / "g.vhd")
    scribble(in_memory / "p.vhd", model, 6)
    disks.create_differencing(in_memory / "c.vhd", in_memory / "p.vhd")
    scribble(in_memory / "c.vhd", model, 8)
    with disks.open(in_memory / "c.vhd", writable=True) as disk:
        for offset in range(1000, SIZE - 70_000, SIZE // 12):
            data = chance.randbytes(70_000)
            disk.pwrite(data, offset)
            model[offset : offset + len(data)] = data
    record.begin(*in_memory.glob("*.vhd"))
    disks.open(in_memory / "c.vhd").merge()
    for moment in moments(record, chance, 10):
        record.crash(moment, chance, folder)
        if (folder / "c.vhd").exists():
            # In the simulation the files are copies, with other times.
            assert is_bearable(folder / "g.vhd")
            with disks.open(folder / "c.vhd", ignore_parent_time=True) as disk:
                assert disk.pread(SIZE, 0) == model
            disks.open(folder / "c.vhd", ignore_parent_time=True).merge()
        with disks.open(folder / "p.vhd", ignore_parent_time=True) as disk:
            assert disk.pread(SIZE, 0) == model
        assert not (folder / "c.vhd").exists()
