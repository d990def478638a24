"""Files that were restored from a backup are believed, not what was noted of those before them."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from innkeeper import disks
from innkeeper.disks import journal, maps
from innkeeper.disks.check import check
from innkeeper.disks.merge import merge
from innkeeper.errors import DiskError, ErrorCode
from tests.disks.killing import in_a_killed_process, kill_at, killed_everywhere

SIZE = 4 << 20
BLOCK = 64 << 10

Content = Callable[[Path], bytes]


class Family:
    """A parent and a child in a folder, and backups of both."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.parent, self.child = folder / "p.vhd", folder / "c.vhd"
        self._backups = folder / "backups"
        self._backups.mkdir()
        if kind == "fixed":
            disks.create_fixed(self.parent, SIZE)
        else:
            disks.create_dynamic(self.parent, SIZE, block_bytes=BLOCK)
        self.write(self.parent, b"parent" * 1000, range(0, SIZE, 5 * BLOCK))
        # Children know their parent by its time, in whole seconds.
        os.utime(self.parent, (1_700_000_000, 1_700_000_000))
        disks.create_differencing(self.child, self.parent)

    def write(self, path: Path, data: bytes, offsets: range) -> None:
        """Write the same at several places of a disk."""
        with disks.open(path, writable=True) as disk:
            for offset in offsets:
                disk.pwrite(data, offset)

    def back_up(self, name: str) -> None:
        """Copy both files with their times, as ``cp -p`` does."""
        for path in (self.parent, self.child):
            shutil.copy2(path, self._backups / f"{name}-{path.name}")

    def restore(self, name: str, *paths: Path, how: str = "over") -> None:
        """Put files of a backup back: over those that are there, or in their place."""
        for path in paths or (self.parent, self.child):
            if how == "beside":
                path.unlink(missing_ok=True)
            shutil.copy2(self._backups / f"{name}-{path.name}", path)
            if how == "late":
                os.utime(path)

    def content_anyway(self) -> bytes:
        """The child's content, whatever the parent's time."""
        with disks.open(self.child, ignore_parent_time=True) as disk:
            return disk.pread(SIZE, 0)

    def cut_off_merge(self, changes: int) -> bool:
        """Merge, killed before that change; says whether it was."""

        def die() -> None:
            kill_at(changes)
            with contextlib.suppress(DiskError):
                merge(self.child)

        return in_a_killed_process(die)


@pytest.fixture(params=["dynamic", "fixed"])
def family(request: pytest.FixtureRequest, in_memory: Path, monkeypatch: pytest.MonkeyPatch) -> Family:
    """A child of a dynamic or fixed parent, whose merge is written down often."""
    monkeypatch.setattr("innkeeper.disks.merge.CHECKPOINT_BYTES", 3 * BLOCK)
    made = Family(in_memory, request.param)
    made.write(made.child, b"first" * 3000, range(BLOCK, SIZE, 3 * BLOCK))
    return made


@pytest.mark.parametrize("how", ["over", "beside"])
@pytest.mark.parametrize("changes", [8, 20, 30, 45])
def test_a_merge_begins_anew_when_both_files_were_restored(
    family: Family, content: Content, how: str, changes: int
) -> None:
    """Whatever a merge had done to the files before them, the restored child loses none of its changes."""
    expected = content(family.child)
    family.back_up("whole")
    assert family.cut_off_merge(changes)
    family.restore("whole", how=how)
    assert content(family.child) == expected
    assert merge(family.child) == family.parent
    assert content(family.parent) == expected
    assert not journal.journal_path(family.parent).exists()
    assert not check(family.parent, deep=True)


@pytest.mark.parametrize("how", ["over", "beside", "late"])
def test_a_merge_begins_anew_when_the_parent_was_restored(family: Family, content: Content, how: str) -> None:
    """The child still holds everything, so all of it goes into the parent again."""
    expected = content(family.child)
    family.back_up("whole")
    assert family.cut_off_merge(40)
    family.restore("whole", family.parent, how=how)
    merge(family.child, ignore_parent_time=how == "late")
    assert content(family.parent) == expected


def test_a_child_restored_alone_is_read_over_its_parent_of_that_time(
    family: Family, content: Content, tmp_path: Path
) -> None:
    """The command in the refusal is the way out, though the half merged parent stays where it is."""
    older = content(family.child)
    family.back_up("older")
    family.write(family.child, b"second" * 5000, range(0, SIZE, 2 * BLOCK))
    assert family.cut_off_merge(45)
    family.restore("older", family.child)
    with pytest.raises(DiskError) as refused:
        merge(family.child)
    place = shutil.copy2(family.parent.parent / "backups" / "older-p.vhd", tmp_path / "aside.vhd")
    assert f"innkeeper disk reparent {family.child} PARENT" in refused.value.advice
    disks.reparent(family.child, place)
    assert content(family.child) == older
    merge(family.child)
    assert content(Path(place)) == older


@pytest.mark.parametrize("how", ["over", "beside", "late"])
def test_an_older_child_is_not_merged_into_a_half_merged_parent(
    family: Family, content: Content, how: str
) -> None:
    """It is refused, read or merged, until the parent of its time is there too; nothing is lost meanwhile."""
    older = content(family.child)
    family.back_up("older")
    family.write(family.child, b"second" * 5000, range(0, SIZE, 2 * BLOCK))
    assert family.cut_off_merge(45)
    family.restore("older", family.child, how=how)
    before = family.parent.read_bytes()
    for refuse in (disks.open, merge, lambda path: merge(path, ignore_parent_time=True)):
        with pytest.raises(DiskError) as refused:
            refuse(family.child)
        assert refused.value.code is ErrorCode.VM_E_PARENT_MODIFIED
    assert family.parent.read_bytes() == before
    family.restore("older", family.parent)
    assert content(family.child) == older
    merge(family.child)
    assert content(family.parent) == older


@pytest.mark.parametrize("how", ["over", "beside", "late"])
def test_a_backup_of_a_half_merged_pair_goes_on_from_its_own_state(
    family: Family, content: Content, how: str
) -> None:
    """What the merge did after the backup was taken is not taken for done."""
    expected = content(family.child)
    assert family.cut_off_merge(25)
    family.back_up("half")
    assert family.cut_off_merge(45)
    family.restore("half", how=how)
    assert content(family.child) == expected
    merge(family.child)
    assert content(family.parent) == expected


def test_a_restored_child_of_a_finished_merge_is_not_removed(family: Family, content: Content) -> None:
    """A merge that had only its child to remove says nothing of the child that a backup put there."""
    expected = content(family.child)
    family.back_up("whole")
    changes = 1
    while family.cut_off_merge(changes) and family.child.exists():
        family.restore("whole", how="beside")
        journal.journal_path(family.parent).unlink(missing_ok=True)
        changes += 1
    family.restore("whole", family.child)
    with pytest.raises(DiskError):
        merge(family.child)
    assert family.child.exists()
    family.restore("whole")
    merge(family.child)
    assert content(family.parent) == expected


def test_random_kills_backups_and_restores_lose_nothing(in_memory: Path, content: Content) -> None:
    """A merge ends with the child's content of the time that its files are from, or is refused."""
    chance = random.Random(int(os.environ.get("INNKEEPER_FUZZ_SEED", "4")))
    refused = merged = 0
    for number in range(int(os.environ.get("INNKEEPER_FUZZ_RESTORES", "25"))):
        folder = in_memory / str(number)
        folder.mkdir()
        family = Family(folder, chance.choice(["dynamic", "fixed"]))
        family.write(family.child, b"first" * 3000, range(BLOCK, SIZE, 7 * BLOCK))
        contents = {"0": content(family.child)}
        family.back_up("0")
        family.write(family.child, b"second" * 9000, range(0, SIZE, 9 * BLOCK))
        known = {"p": "1", "c": "1"}
        contents["1"] = content(family.child)
        family.back_up("1")
        for _ in range(chance.randrange(1, 5)):
            if family.child.exists():
                family.cut_off_merge(chance.randrange(1, 60))
            for path in chance.choice([(), (family.parent,), (family.child,), (family.parent, family.child)]):
                name = chance.choice("01")
                family.restore(name, path, how=chance.choice(["over", "beside"]))
                known[path.name[0]] = name
        if not family.child.exists():
            continue
        try:
            merge(family.child)
        except DiskError:
            refused += 1
            family.restore("1")
            known["c"] = "1"
            merge(family.child)
        merged += 1
        assert content(family.parent) == contents[known["c"]], number
        shutil.rmtree(folder)
    assert merged > refused > 0


def test_a_merge_that_keeps_its_child_is_killed_anywhere(in_memory: Path, content: Content) -> None:
    """Before each change in turn: the child reads as ever, and merging again ends it well."""
    source = Family(in_memory, "dynamic")
    source.write(source.child, b"first" * 3000, range(BLOCK, SIZE, 7 * BLOCK))
    expected = content(source.child)
    source.back_up("whole")

    def prepare(_number: int) -> Callable[[], object]:
        source.restore("whole", how="beside")
        journal.journal_path(source.parent).unlink(missing_ok=True)
        return lambda: merge(source.child, keep_child=True)

    for _ in killed_everywhere(prepare):
        assert content(source.child) == expected
        merge(source.child, keep_child=True)
        assert content(source.child) == content(source.parent) == expected
    assert content(source.child) == content(source.parent) == expected
    with disks.open(source.child, writable=True) as disk:
        disk.pwrite(b"later", 0)


def test_a_merge_that_a_former_release_began_is_finished(in_memory: Path, content: Content) -> None:
    """Its journal has no notes in the images to prove it, so the merge is done from the start."""
    family = Family(in_memory, "dynamic")
    family.write(family.child, b"first" * 3000, range(BLOCK, SIZE, 7 * BLOCK))
    expected = content(family.child)
    with disks.open(family.child) as child:
        ids = [image.layout.footer.unique_id for image in child.chain.layers]
    journal.journal_path(family.parent).write_text(
        f'{{"what": "", "state": "begun", "child": "{family.child}", "child_id": "{ids[0]}",'
        f' "parent_id": "{ids[1]}", "done": {SIZE // 2}}}'
    )
    os.utime(family.parent)
    with pytest.raises(DiskError):
        disks.open(family.parent)
    assert content(family.child) == expected
    merge(family.child)
    assert content(family.parent) == expected


# What a killed export leaves


def write_and_die(path: Path, data: bytes, offsets: range, *, flush_at: int = -1, then: str = "") -> None:
    """Write as an export does, in a process that is killed: nothing it wrote is in the maps of the image.

    Before the write at ``flush_at`` everything is flushed; before the last one the image is copied.
    """

    def work() -> None:
        with disks.open(path, writable=True) as disk:
            disk.chain.top.keep_maps()
            for offset in offsets:
                if offset == flush_at:
                    disk.flush()
                if then and offset == offsets[-1]:
                    shutil.copy2(path, then)
                disk.pwrite(data, offset)
            os.kill(os.getpid(), signal.SIGKILL)

    assert in_a_killed_process(work)


@pytest.fixture
def child(in_memory: Path) -> Path:
    """A child over a parent that is full of data."""
    parent = disks.create_dynamic(in_memory / "p.vhd", SIZE, block_bytes=BLOCK)
    with disks.open(parent, writable=True) as disk:
        disk.pwrite(b"parent" * (SIZE // 6), 0)
    return disks.create_differencing(in_memory / "c.vhd", parent)


@pytest.mark.parametrize("flush_at", [-1, 8 * BLOCK])
@pytest.mark.parametrize("how", ["over", "beside", "late"])
def test_what_a_killed_export_left_hides_nothing_of_a_restored_image(
    child: Path, content: Content, how: str, flush_at: int
) -> None:
    """The image of the backup reads as when it was taken, and takes writes."""
    before = content(child)
    backup = child.with_name("backup")
    shutil.copy2(child, backup)
    write_and_die(child, b"exported" * 100, range(0, SIZE, 4 * BLOCK), flush_at=flush_at)
    assert content(child) != before
    if how == "beside":
        child.unlink()
    shutil.copy2(backup, child)
    if how == "late":
        os.utime(child)
    assert content(child) == before
    with disks.open(child, writable=True) as disk:
        disk.pwrite(b"new", SIZE - 3)
    assert content(child) == before[:-3] + b"new"


@pytest.mark.parametrize("how", ["over", "beside", "late"])
def test_a_backup_taken_before_a_flush_knows_nothing_of_what_came_after(
    child: Path, content: Content, how: str
) -> None:
    """The count of flushes in the image tells its journal from a later one."""
    backup = child.with_name("backup")
    offsets = range(0, 8 * BLOCK, BLOCK)

    def work() -> None:
        with disks.open(child, writable=True) as disk:
            disk.chain.top.keep_maps()
            for offset in offsets:
                disk.pwrite(b"early" * 100, offset)
            disk.flush()
            shutil.copy2(child, backup)
            disk.pwrite(b"between" * 100, 2 * BLOCK)
            disk.flush()
            for offset in offsets:
                disk.pwrite(b"late" * 5000, offset)
            os.kill(os.getpid(), signal.SIGKILL)

    assert in_a_killed_process(work)
    if how == "beside":
        child.unlink()
    shutil.copy2(backup, child)
    if how == "late":
        os.utime(child)
    expected = bytearray(b"parent" * (SIZE // 6)).ljust(SIZE, b"\0")
    for offset in offsets:
        expected[offset : offset + 500] = b"early" * 100
    assert content(child) == expected


def test_a_killed_exports_own_image_has_everything(child: Path, content: Content) -> None:
    """Nothing that ties the journal to its image keeps it from its own."""
    expected = bytearray(content(child))
    write_and_die(child, b"exported" * 100, range(0, SIZE, 4 * BLOCK), flush_at=8 * BLOCK)
    for offset in range(0, SIZE, 4 * BLOCK):
        expected[offset : offset + 800] = b"exported" * 100
    assert content(child) == expected
    with disks.open(child, writable=True) as disk:
        disk.flush()
    assert not maps.journal_path(child).exists()
    assert content(child) == expected
    assert not check(child, deep=True)


def test_an_export_leaves_no_note_and_no_other_time(child: Path) -> None:
    """An image that nobody wrote to is the same, to the byte, when its export has ended."""
    os.utime(child, (time.time() - 1000,) * 2)
    before, status = child.read_bytes(), child.stat()
    with disks.open(child, writable=True) as disk:
        disk.chain.top.keep_maps()
    assert child.read_bytes() == before
    assert child.stat().st_mtime_ns == status.st_mtime_ns


def test_a_restored_image_that_is_shorter_than_its_journal_tells_is_believed(
    child: Path, content: Content
) -> None:
    """A backup between two flushes, put over the same file in the same moment, lacks the room noted since."""
    backup = child.with_name("backup")
    write_and_die(child, b"exported" * 100, range(0, SIZE, 4 * BLOCK), then=str(backup))
    expected = content(child)[: SIZE - 4 * BLOCK].ljust(SIZE, b"\0")
    shutil.copyfile(backup, child)
    parent = content(child.with_name("p.vhd"))
    assert content(child) in (parent, expected[: SIZE - 4 * BLOCK] + parent[SIZE - 4 * BLOCK :])


def test_the_note_of_an_export_whose_journal_is_gone_goes_with_the_next_write(child: Path) -> None:
    """As after a restart of the host: neither note nor journal stay for ever."""
    write_and_die(child, b"exported" * 100, range(0, SIZE, 4 * BLOCK))
    place = maps.journal_path(child)
    data = place.read_bytes()
    place.write_bytes(data[:8] + b"another start of the host".ljust(36) + data[44:])
    with disks.open(child, writable=True) as disk:
        assert disk.chain.top.mark is not None
        disk.pwrite(b"x", 0)
    with disks.open(child) as disk:
        assert disk.chain.top.mark is None
    assert not place.exists()


@pytest.mark.parametrize("which", ["c.vhd", "p.vhd"])
def test_a_merge_stores_what_a_killed_export_left_before_its_own_notes(
    in_memory: Path, content: Content, which: str
) -> None:
    """Of child and parent alike: whenever the merge is killed, all that a client was told of is there."""
    family = Family(in_memory, "dynamic")
    family.write(family.child, b"first" * 3000, range(BLOCK, SIZE, 20 * BLOCK))
    write_and_die(in_memory / which, b"exported" * 100, range(0, SIZE, 9 * BLOCK))
    os.utime(family.parent, (1_700_000_000,) * 2)
    expected = family.content_anyway()
    notes = {path: path.read_bytes() for path in in_memory.glob("*.maps")}
    family.back_up("whole")

    def prepare(_number: int) -> Callable[[], object]:
        family.restore("whole")
        for path, data in notes.items():
            path.write_bytes(data)
        journal.journal_path(family.parent).unlink(missing_ok=True)
        return lambda: merge(family.child, keep_child=True, ignore_parent_time=True)

    for _ in killed_everywhere(prepare):
        assert family.content_anyway() == expected
        merge(family.child, keep_child=True, ignore_parent_time=True)
        assert content(family.parent) == expected


def test_a_child_outlives_what_a_killed_export_left_beside_its_parent(child: Path, content: Content) -> None:
    """The parent has all of it in itself when the child is made: a restart of the host takes nothing away."""
    write_and_die(child, b"exported" * 100, range(0, SIZE, 4 * BLOCK))
    expected = content(child)
    grandchild = disks.create_differencing(child.with_name("g.vhd"), child)
    maps.journal_path(child).unlink(missing_ok=True)
    assert content(grandchild) == expected
