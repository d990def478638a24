"""A merge ends well whatever interrupts it, and changes nothing where it cannot begin."""

from __future__ import annotations

import dataclasses
import os
import random
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from innkeeper import disks
from innkeeper.disks import journal
from innkeeper.disks.file import ImageFile
from innkeeper.disks.layout import read_layout
from innkeeper.disks.merge import merge
from innkeeper.errors import DiskError, ErrorCode
from tests.disks.killing import in_a_killed_process, kill_at

SIZE = 4 << 20
BLOCK = 64 << 10

Family = tuple[Path, Path, bytearray]


@pytest.fixture
def family(in_memory: Path, scribble: Callable[..., None]) -> Family:
    """Make a grandparent, a parent and a child, all written to: (child, parent, content)."""
    model = bytearray(SIZE)
    disks.create_dynamic(in_memory / "g.vhd", SIZE, block_bytes=BLOCK)
    scribble(in_memory / "g.vhd", model, 6)
    disks.create_differencing(in_memory / "p.vhd", in_memory / "g.vhd")
    scribble(in_memory / "p.vhd", model, 6)
    disks.create_differencing(in_memory / "c.vhd", in_memory / "p.vhd")
    scribble(in_memory / "c.vhd", model, 12)
    with disks.open(in_memory / "c.vhd", writable=True) as disk:
        for offset in range(1000, SIZE - 70_000, SIZE // 8):
            disk.pwrite(b"%7d" % offset * 10_000, offset)
            model[offset : offset + 70_000] = b"%7d" % offset * 10_000
    return in_memory / "c.vhd", in_memory / "p.vhd", model


def copies(family: Family, folder: Path) -> tuple[Path, Path]:
    """Copy the files with their times; returns child and parent."""
    folder.mkdir()
    for path in family[0].parent.glob("*.vhd"):
        shutil.copy2(path, folder / path.name)
    return folder / "c.vhd", folder / "p.vhd"


def test_a_merge_killed_at_every_single_change_is_finished(
    family: Family, in_memory: Path, content: Callable[[Path], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """kill -9 before each change in turn: the child reads as ever, and merging again ends it well."""
    monkeypatch.setattr("innkeeper.disks.merge.CHECKPOINT_BYTES", 3 * BLOCK)
    kills = 0
    while True:
        child, parent = copies(family, in_memory / f"k{kills}")

        def die(child: Path = child, number: int = kills + 1) -> None:
            kill_at(number)
            merge(child)

        if not in_a_killed_process(die):
            break
        kills += 1
        if child.exists():
            assert content(child) == family[2]
            merge(child)
        assert content(parent) == family[2]
        assert not child.exists()
        left = journal.read(parent) if journal.journal_path(parent).exists() else None
        assert left is None or left.is_over
        shutil.rmtree(child.parent)
    assert kills > 40
    assert content(parent) == family[2]


def test_a_merge_killed_at_random_times_is_finished(
    in_memory: Path, content: Callable[[Path], bytes]
) -> None:
    """The command killed at random times and run again ends with the same disk."""
    chance = random.Random(3)
    size = 48 << 20
    disks.create_dynamic(in_memory / "p.vhd", size)
    disks.create_differencing(in_memory / "c.vhd", in_memory / "p.vhd")
    with disks.open(in_memory / "c.vhd", writable=True) as disk:
        for offset in range(0, size - BLOCK, 2 * BLOCK):
            disk.pwrite(chance.randbytes(BLOCK), offset)
    expected = content(in_memory / "c.vhd")
    program = (
        "import sys; from innkeeper.disks.merge import merge; print('on', flush=True); merge(sys.argv[1])"
    )
    command = [sys.executable, "-c", program, str(in_memory / "c.vhd")]
    for _ in range(7):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | _path())
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(chance.uniform(0, 0.08))
        process.kill()
        process.wait()
        process.stdout.close()
        if not (in_memory / "c.vhd").exists():
            break
        assert content(in_memory / "c.vhd") == expected
    if (in_memory / "c.vhd").exists():
        merge(in_memory / "c.vhd")
    assert content(in_memory / "p.vhd") == expected


def _path() -> dict[str, str]:
    return {"PYTHONPATH": str(Path(disks.__file__).parents[2])}


class Interruption(Exception):
    """Stands for whatever stops a merge in the middle."""


@pytest.fixture
def half_merged(family: Family, monkeypatch: pytest.MonkeyPatch) -> Family:
    """Begin a merge and stop it in the middle."""
    real, calls = ImageFile.copy_from, [0]

    def stop(self: ImageFile, *args: int) -> None:
        calls[0] += 1
        if calls[0] > 6:
            raise Interruption
        real(self, *args)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(ImageFile, "copy_from", stop)
        with pytest.raises(Interruption):
            merge(family[0])
    return family


def test_a_half_merged_parent_is_nobodys(half_merged: Family) -> None:
    """The parent of an unfinished merge is refused, with the way to finish it."""
    child, parent, _ = half_merged
    with pytest.raises(DiskError) as refused:
        disks.open(parent)
    assert refused.value.code == ErrorCode.ERROR_SHARING_VIOLATION
    assert str(child) in refused.value.advice
    with pytest.raises(DiskError):
        disks.create_differencing(parent.with_name("sibling.vhd"), parent)


def test_a_merging_child_reads_but_takes_no_writes(half_merged: Family) -> None:
    """In an unfinished merge the child reads as before and refuses writes, which the merge would miss."""
    child, _, model = half_merged
    with disks.open(child) as disk:
        assert disk.pread(SIZE, 0) == model
    with pytest.raises(DiskError) as refused:
        disks.open(child, writable=True)
    assert refused.value.code == ErrorCode.ERROR_SHARING_VIOLATION


def test_another_child_waits_for_the_first(half_merged: Family) -> None:
    """A sibling of a merging child can be neither read nor merged."""
    child = half_merged[0]
    sibling = child.with_name("s.vhd")
    shutil.copy2(child, sibling)
    with ImageFile.open(sibling, writable=True) as file:
        _new_identity(file)
    # A merge takes a while.
    os.utime(half_merged[1], (1_800_000_000,) * 2)
    for refuse in (disks.open, merge):
        with pytest.raises(DiskError) as refused:
            refuse(sibling)
        assert refused.value.code == ErrorCode.ERROR_SHARING_VIOLATION


def _new_identity(file: ImageFile) -> None:
    """Give a disk another id, as a copy made for another purpose has."""
    layout = read_layout(file)
    footer = dataclasses.replace(layout.footer, unique_id=uuid.uuid4())
    file.pwrite(footer.encode(), 0)
    file.pwrite(footer.encode(), layout.end)


def test_a_merge_cannot_be_called_off_once_begun(family: Family) -> None:
    """A cancel before the first byte leaves everything as it was; one after it is not heard."""

    class Impatient:
        begun = False
        wants_to_stop = True

        def advance(self, phase: str, done: int, total: int) -> None:
            self.wants_to_stop = True

        def cancel_requested(self) -> bool:
            return self.wants_to_stop

        def past_return(self) -> None:
            self.begun = True

    watch = Impatient()
    before = family[1].read_bytes()
    with pytest.raises(disks.Cancelled):
        merge(family[0], watch=watch)
    assert not watch.begun
    assert family[1].read_bytes() == before
    assert journal.read(family[1]) is None
    watch.wants_to_stop = False
    merge(family[0], watch=watch)
    assert watch.begun


def test_a_merge_tells_how_far_it_is(family: Family) -> None:
    """Bytes done grow to the total, and the total stays."""
    told: list[tuple[int, int]] = []

    class Listener:
        def advance(self, phase: str, done: int, total: int) -> None:
            told.append((done, total))

        def cancel_requested(self) -> bool:
            return False

        def past_return(self) -> None:
            pass

    merge(family[0], watch=Listener())
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert {total for _, total in told} == {told[-1][0]}


def test_a_full_host_is_met_before_the_first_byte(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without room for it the merge is refused, the parent untouched, and no journal is left."""
    real = os.fstatvfs
    monkeypatch.setattr(os, "fstatvfs", lambda fd: _no_room(real(fd)))
    before = family[1].read_bytes()
    with pytest.raises(DiskError) as refused:
        merge(family[0])
    assert refused.value.code == ErrorCode.ERROR_DISK_FULL
    assert family[1].read_bytes() == before
    assert journal.read(family[1]) is None


def _no_room(room: os.statvfs_result) -> os.statvfs_result:
    return os.statvfs_result((*room[:4], 1, *room[5:]))


def test_only_a_child_can_be_merged(tmp_path: Path) -> None:
    """A disk without parent is refused as the wrong type."""
    with pytest.raises(DiskError) as refused:
        merge(disks.create_dynamic(tmp_path / "d.vhd", SIZE))
    assert refused.value.code == ErrorCode.VM_E_WRONG_HD_IMAGE_TYPE


def test_a_parent_in_use_is_refused(family: Family) -> None:
    """A merge into a disk that another child reads is a sharing violation."""
    sibling = disks.create_differencing(family[1].with_name("s.vhd"), family[1])
    with disks.open(sibling), pytest.raises(DiskError) as refused:
        merge(family[0])
    assert refused.value.code == ErrorCode.ERROR_SHARING_VIOLATION


def test_a_kept_child_still_opens(family: Family, content: Callable[[Path], bytes]) -> None:
    """A child kept after its merge accepts the parent's new time, and reads the same."""
    merge(family[0], keep_child=True)
    assert content(family[0]) == family[2]
    assert content(family[1]) == family[2]


def test_siblings_of_a_merged_child_notice(family: Family) -> None:
    """A merge changes the parent, and every other child, which lay where none is looked for, is refused."""
    child, parent, _ = family
    sibling = disks.create_differencing(child.parent / "far" / "s.vhd", parent)
    os.utime(parent, (1_700_000_000, 1_700_000_000))
    disks.reparent(sibling, parent)
    disks.reparent(child, parent)
    disks.open(sibling).close()
    merge(child)
    with pytest.raises(DiskError) as refused:
        disks.open(sibling)
    assert refused.value.code == ErrorCode.VM_E_PARENT_MODIFIED


def test_a_merge_to_leaves_the_chain_alone(family: Family, content: Callable[[Path], bytes]) -> None:
    """Merging to a new disk writes the whole chain there and changes none of it."""
    child, parent, model = family
    before = child.read_bytes(), parent.read_bytes()
    with disks.open(child) as disk:
        new = disk.merge_to(child.with_name("new.vhd"), "fixed")
    assert content(new) == model
    assert (child.read_bytes(), parent.read_bytes()) == before


@pytest.mark.parametrize("absolute", [False, True])
def test_a_merge_through_a_link_removes_the_child_and_the_link(
    family: Family, content: Callable[[Path], bytes], absolute: bool
) -> None:
    """The child that the link leads to is gone afterwards, and no link leads nowhere."""
    child, parent, model = family
    link = child.with_name("links") / "link.vhd"
    link.parent.mkdir()
    link.symlink_to(child if absolute else Path("..", child.name))
    assert merge(link).samefile(parent)
    assert not child.exists()
    assert not link.is_symlink()
    assert content(parent) == model


def test_a_merge_into_a_parent_behind_a_link_keeps_the_link(
    family: Family, content: Callable[[Path], bytes]
) -> None:
    """The parent's file is written where it lies."""
    child, parent, model = family
    real = parent.with_name("real")
    real.mkdir()
    parent.rename(real / parent.name)
    parent.symlink_to(real / parent.name)
    merge(child)
    assert parent.is_symlink()
    assert content(real / parent.name) == model
