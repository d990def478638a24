"""Whatever fails at whichever change: a disk is the old one or the new one, and nobody's file is touched."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from innkeeper import disks
from innkeeper.disks.check import Problem, check
from innkeeper.disks.compact import compact
from innkeeper.disks.file import ImageFile
from innkeeper.disks.footer import FOOTER_BYTES
from innkeeper.disks.image import Image
from innkeeper.disks.kind import Kind
from innkeeper.disks.leftovers import unfinished_name
from innkeeper.disks.merge import merge
from innkeeper.disks.repair import repair
from innkeeper.disks.resize import resize
from innkeeper.disks.table import ABSENT
from innkeeper.errors import DiskError
from tests.disks.failing import Failure, fails

MIB = 1 << 20
#: Every how many changes one fails, and from which on; 1 for all of them.
STEP = int(os.environ.get("INNKEEPER_FAILURES_STEP", "5"))
FIRST = int(os.environ.get("INNKEEPER_FUZZ_SEED", "0"))
SIZE = 3 * MIB + 4096
BLOCK = 64 << 10

#: Files of the user's with names near to those that an operation uses.
#: How our own unfinished files begin.
PREFIX = unfinished_name()[:11]
MINE = ("n.vhd.partial", "p.vhd.merging.new", ".innkeeper-mine.partial", "p.vhd.before-repair.new")


class Scene:
    """A parent and a child in a folder, as they are before an operation."""

    def __init__(self, folder: Path, kind: Kind) -> None:
        self.folder = folder / "now"
        self._before = folder / "before"
        self.folder.mkdir()
        self.parent, self.child = self.folder / "p.vhd", self.folder / "c.vhd"
        self.new = self.folder / "n.vhd"
        self.expected: dict[Path, bytes] = {}
        if kind is Kind.FIXED:
            disks.create_fixed(self.parent, SIZE)
        else:
            disks.create_dynamic(self.parent, SIZE, block_bytes=BLOCK)
        chance = random.Random(3)
        self.write(self.parent, chance.randbytes(5000), range(0, SIZE, 3 * BLOCK))
        os.utime(self.parent, (1_700_000_000,) * 2)
        disks.create_differencing(self.child, self.parent)
        self.write(self.child, chance.randbytes(70_000), range(BLOCK, SIZE - 70_000, 7 * BLOCK))
        for name in MINE:
            (self.folder / name).write_text("mine")

    def write(self, path: Path, data: bytes, offsets: range) -> None:
        """Write the same at several places of a disk."""
        with disks.open(path, writable=True) as disk:
            for offset in offsets:
                disk.pwrite(data[: SIZE - offset], offset)

    def keep(self, *known: Path) -> None:
        """Remember files and contents as they are now."""
        shutil.copytree(self.folder, self._before, copy_function=shutil.copy2)
        self.expected = {path: self.content(path) for path in known or (self.parent, self.child)}

    def restore(self) -> None:
        """Put everything back."""
        shutil.rmtree(self.folder)
        shutil.copytree(self._before, self.folder, copy_function=shutil.copy2)

    def names(self) -> set[str]:
        """The names of all files."""
        return {path.name for path in self.folder.iterdir()}

    def content(self, path: Path) -> bytes:
        """Read a whole disk, whatever the time of its parent."""
        with disks.open(path, ignore_parent_time=True) as disk:
            return disk.pread(disk.size_bytes, 0)

    def is_unharmed(self, *gone: Path) -> None:
        """Hold every disk to its content, but those that an operation may have removed."""
        for path, content in self.expected.items():
            if path.exists() or path not in gone:
                assert self.content(path) == content, path.name
        for name in MINE:
            assert (self.folder / name).read_text() == "mine"


def everywhere(
    scene: Scene, work: Callable[[], object], hold: Callable[[], None], failure: Failure, step: int = STEP
) -> None:
    """Let the work fail at its changes in turn, hold the disks to their content, then do it unhindered."""
    for count in range(1 + FIRST % step, 1000, step):
        scene.restore()
        names = scene.names()
        has_failed = fails(failure, count, work)
        if not has_failed:
            hold()
            return
        hold()
        left = scene.names() - names
        if not failure.kills and failure is not Failure.GONE:
            assert not [name for name in left if name.startswith(PREFIX)], left
    raise AssertionError("never ends")


FAILURES = list(Failure)


@pytest.fixture(params=[Kind.DYNAMIC, Kind.FIXED], ids=["over dynamic", "over fixed"])
def scene(request: pytest.FixtureRequest, in_memory: Path) -> Scene:
    """A child over a dynamic or a fixed parent."""
    return Scene(in_memory, request.param)


@pytest.mark.parametrize("failure", FAILURES)
def test_a_new_parent_is_set_or_not(scene: Scene, failure: Failure) -> None:
    """The child reads the same through the former place of its parent, or the new one."""
    moved = scene.folder / ("moved to another place" * 5) / "p.vhd"
    moved.parent.mkdir()
    shutil.copy2(scene.parent, moved)
    scene.keep()

    def hold() -> None:
        scene.is_unharmed()
        disks.reparent(scene.child, moved)
        assert disks.open(scene.child).parent.file == moved  # type: ignore[union-attr]  # it has one
        scene.is_unharmed()
        assert not check(scene.child, deep=True)

    everywhere(scene, lambda: disks.reparent(scene.child, moved), hold, failure)


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("size", [5 * MIB, 20 * MIB, 3 * MIB, SIZE + 512])
def test_a_size_is_the_old_or_the_new_one(scene: Scene, failure: Failure, size: int) -> None:
    """A growth, also one that moves the table, and a cut."""
    scene.child.unlink()
    scene.keep(scene.parent)
    old = scene.expected.pop(scene.parent)

    def hold() -> None:
        for _ in range(2):
            content = scene.content(scene.parent)
            assert len(content) in {SIZE, size}
            assert content == old[: len(content)].ljust(len(content), b"\0")
            scene.is_unharmed()
            found = {each.problem for each in check(scene.parent, deep=True) if not each.is_harmless}
            assert found <= {Problem.COPY_LOST}
            repair(scene.parent, deep=True)
            resize(scene.parent, size, lose_data=True)
        assert len(scene.content(scene.parent)) == size

    everywhere(scene, lambda: resize(scene.parent, size, lose_data=True), hold, failure)


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("keep_child", [False, True])
def test_a_merge_can_be_finished(
    scene: Scene, failure: Failure, keep_child: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the child is gone it reads as ever, and then the parent does."""
    monkeypatch.setattr("innkeeper.disks.merge.CHECKPOINT_BYTES", 5 * BLOCK)
    scene.keep(scene.child)
    expected = scene.expected[scene.child]

    def hold() -> None:
        scene.is_unharmed(scene.child)
        if scene.child.exists():
            merge(scene.child, keep_child=keep_child, ignore_parent_time=True)
        assert scene.content(scene.parent) == expected
        scene.is_unharmed(scene.child)
        repair(scene.parent, deep=True)
        assert scene.content(scene.parent) == expected

    everywhere(scene, lambda: merge(scene.child, keep_child=keep_child), hold, failure, STEP)


@pytest.mark.parametrize("failure", FAILURES)
def test_a_compaction_changes_nothing_that_is_read(in_memory: Path, failure: Failure) -> None:
    """Blocks, table and locators that move are where they were or where they go."""
    scene = Scene(in_memory, Kind.DYNAMIC)
    aside = scene.child.rename(scene.child.with_suffix(".img"))
    resize(scene.parent, 40 * MIB)
    aside.rename(scene.child)
    disks.reparent(scene.child, scene.parent)
    scene.write(scene.child, bytes(BLOCK), range(BLOCK, SIZE - BLOCK, 14 * BLOCK))
    scene.write(scene.parent, bytes(BLOCK), range(0, SIZE - BLOCK, 6 * BLOCK))
    disks.reparent(scene.child, scene.parent)
    scene.keep()
    for disk in (scene.parent, scene.child):

        def hold(disk: Path = disk) -> None:
            scene.is_unharmed()
            assert not [each for each in check(disk, deep=True) if each.problem is Problem.MISPLACED_BLOCK]
            compact_anyway(disk)
            scene.is_unharmed()

        everywhere(scene, lambda disk=disk: compact(disk), hold, failure)  # type: ignore[misc]


def compact_anyway(path: Path) -> None:
    """Compact a disk whose parent may have got another time."""
    with disks.open(path, ignore_parent_time=True) as disk:
        parent = disk.parent.file if disk.parent else None
    if parent is not None:
        disks.reparent(path, parent)
    compact(path)


@pytest.mark.parametrize("failure", FAILURES)
def test_a_new_disk_is_whole_or_not_there(scene: Scene, failure: Failure) -> None:
    """Whichever kind is made, and from what; what is left has no name of the user's."""
    scene.keep()
    works: Mapping[str, tuple[Callable[[], object], bytes]] = {
        "dynamic": (lambda: disks.create_dynamic(scene.new, SIZE), bytes(SIZE)),
        "fixed": (lambda: disks.create_fixed(scene.new, SIZE), bytes(SIZE)),
        "child": (
            lambda: disks.create_differencing(scene.new, scene.child), scene.expected[scene.child]
        ),
        "converted": (
            lambda: disks.convert(scene.child, scene.new, Kind.DYNAMIC), scene.expected[scene.child]
        ),
        "to fixed": (
            lambda: disks.convert(scene.child, scene.new, Kind.FIXED), scene.expected[scene.child]
        ),
    }  # fmt: skip
    for work, content in works.values():

        def hold(work: Callable[[], object] = work, content: bytes = content) -> None:
            if not scene.new.exists():
                work()
            assert scene.content(scene.new) == content
            assert not check(scene.new, deep=True)
            scene.is_unharmed()

        everywhere(scene, work, hold, failure)


# Repairs

Damage = Callable[[Path], None]


def overwrite(at: int, data: bytes) -> Damage:
    """Write over a place of a file, counted from its end where negative."""

    def damage(path: Path) -> None:
        with path.open("r+b") as stream:
            stream.seek(at, os.SEEK_END if at < 0 else os.SEEK_SET)
            stream.write(data)

    return damage


def append(path: Path) -> None:
    """Let the file become longer than its footer says."""
    with path.open("ab") as stream:
        stream.write(b"appended" * 9000)


def double_a_block(path: Path) -> None:
    """Let two blocks of the table lie in one place: the second has no room of its own."""
    with ImageFile.open(path, writable=True) as file:
        image = Image(file)
        assert image.table is not None
        free = next(n for n in range(image.table.entries) if image.table[n] == ABSENT)
        image.table[free] = image.table[3]
        image.touch()
        image.flush()


def cut(path: Path) -> None:
    """Cut into the last block, footer and all."""
    os.truncate(path, path.stat().st_size - FOOTER_BYTES - 4096)


DAMAGES: Mapping[str, tuple[Kind, Damage]] = {
    "checksum": (Kind.FIXED, overwrite(-FOOTER_BYTES + 64, b"\0\0\0\0")),
    "longer": (Kind.FIXED, append),
    "footer": (Kind.DYNAMIC, overwrite(-FOOTER_BYTES, bytes(FOOTER_BYTES))),
    "copy": (Kind.DYNAMIC, overwrite(0, bytes(FOOTER_BYTES))),
    "double": (Kind.DYNAMIC, double_a_block),
    "cut": (Kind.DYNAMIC, cut),
}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_repair_can_be_done_again_and_keeps_what_it_overwrites(
    in_memory: Path, failure: Failure, damage: str
) -> None:
    """It ends in the same disk as one that nothing stopped, and no kept file is written over."""
    kind, do = DAMAGES[damage]
    scene = Scene(in_memory, kind)
    scene.child.unlink()
    do(scene.parent)
    shutil.copytree(scene.folder, in_memory / "aside")
    kept = scene.folder / "p.vhd.before-repair"
    kept.write_text("kept by a former repair")
    # A footer that is not at the end settles no size: a person does.
    size = SIZE if damage == "longer" else None
    repair(in_memory / "aside" / "p.vhd", deep=True, size_bytes=size)
    expected = scene.content(in_memory / "aside" / "p.vhd")
    scene.keep(in_memory / "aside" / "p.vhd")

    def hold() -> None:
        repair(scene.parent, deep=True, size_bytes=size)
        assert scene.content(scene.parent) == expected
        assert not [each for each in check(scene.parent, deep=True) if not each.is_harmless]
        assert kept.read_text() == "kept by a former repair"
        scene.is_unharmed()

    everywhere(scene, lambda: repair(scene.parent, deep=True, size_bytes=size), hold, failure)


# Exports


@pytest.mark.parametrize("failure", FAILURES)
def test_an_export_keeps_what_it_acknowledged(scene: Scene, failure: Failure) -> None:
    """What a client was told is there; what failed was not told, and can be written again."""
    scene.keep(scene.parent)
    base = bytearray(scene.content(scene.child))
    told = scene.folder.parent / "told"
    offsets = [*range(0, SIZE - 6000, 2 * BLOCK), *range(600, SIZE - 6000, 4 * BLOCK)]

    def serve() -> None:
        with told.open("w") as tell, disks.open(scene.child, writable=True) as disk:
            disk.chain.top.keep_maps()
            for number, offset in enumerate(offsets):
                for _ in range(2):
                    try:
                        disk.pwrite(data_of(number), offset)
                        break
                    except DiskError:
                        continue
                else:
                    continue
                tell.write(f"{number}\n")
                tell.flush()
                if number % 5 == 4:
                    disk.flush()

    def hold() -> None:
        model = bytearray(base)
        known = set(map(int, told.read_text().split())) if told.exists() else set()
        content = scene.content(scene.child)
        for number, offset in enumerate(offsets):
            if number in known:
                model[offset : offset + 5000] = data_of(number)
            else:
                model[offset : offset + 5000] = content[offset : offset + 5000]
        assert content == model
        with disks.open(scene.child, writable=True, ignore_parent_time=True) as disk:
            disk.pwrite(b"x", 5)
        scene.is_unharmed()
        told.unlink(missing_ok=True)

    everywhere(scene, serve, hold, failure, 2 * STEP + 1)


def data_of(number: int) -> bytes:
    """What the write of that number writes."""
    return random.Random(number).randbytes(5000)
