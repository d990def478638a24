"""A chain of disks, a model of each one's content, and operations that meet failures."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from innkeeper import disks
from innkeeper.disks.check import Problem, check
from innkeeper.disks.compact import compact
from innkeeper.disks.file import ImageFile
from innkeeper.disks.footer import FOOTER_BYTES
from innkeeper.disks.image import Image
from innkeeper.disks.kept import KEPT_SUFFIX
from innkeeper.disks.kind import Kind
from innkeeper.disks.merge import merge
from innkeeper.disks.repair import repair
from innkeeper.disks.resize import resize
from innkeeper.errors import DiskError, ErrorCode
from tests.disks.failing import Failure, fails

MIB = 1 << 20
SECTOR = 512
DEEPEST = 3
FAILURES = (*(each.name for each in Failure), "FILLED")
#: What a failure may leave, and what the operation done again takes away.
BEARABLE = {Problem.COPY_LOST, Problem.FOOTER_LOST, Problem.PARENT, Problem.HALF_MERGED}
#: Files of the user's with names near to those that operations use.
MINE = (
    "0.vhd.partial",
    "1.vhd.merging.new",
    ".innkeeper-mine.partial",
    "0.vhd.before-repair.new",
    "new.partial",
)

Write = tuple[int, bytes]


class Wrong(Exception):
    """A disk is not what it should be."""


class Told(NamedTuple):
    """An operation, and what it met."""

    operation: str
    failure: str


@dataclasses.dataclass(kw_only=True, slots=True)
class Member:
    """One disk of the chain."""

    path: Path
    model: bytes


class Family:
    """A root disk and those that stand on it, the root first."""

    def __init__(self, home: Path, chance: random.Random, *, fills: bool) -> None:
        self.home = home
        self.chance = chance
        self.fills = fills
        #: What was done, for whoever looks into it.
        self.story: list[str] = []
        self.members: list[Member] = []
        self._backup: list[Member] = []
        self._number = 0
        #: How many changes an operation has made at most so far.
        self._changes: collections.Counter[str] = collections.Counter()
        self._kept: dict[Path, bytes] = {}

    @property
    def top(self) -> Member:
        """The disk that is written to."""
        return self.members[-1]

    def live(self, told: collections.Counter[Told]) -> None:
        """Make the root, and do operations until the round is over; raises ``Wrong``."""
        self._begin()
        works = {
            "write": (6, self.write), "export": (6, self.export), "compact": (4, self.compact),
            "resize": (4, self.resize), "child": (3, self.make_child), "merge": (4, self.merge),
            "convert": (3, self.convert), "reparent": (2, self.reparent), "repair": (3, self.repair),
            "backup": (2, self.back_up), "restore": (1, self.restore),
        }  # fmt: skip
        for _ in range(self.chance.randrange(6, 16)):
            names = list(works)
            name = self.chance.choices(names, [works[each][0] for each in names])[0]
            failure = self._choose_failure()
            self.story.append(f"{name} {failure}")
            if works[name][1](failure) is not False:
                told[Told(name, failure)] += 1
            self._hold_all(name)
        if self.chance.random() < 0.3:
            self._ask_another_reader()

    def _begin(self) -> None:
        size = self.chance.randrange(3 * MIB, 9 * MIB) // SECTOR * SECTOR
        path = self._path()
        if self.chance.random() < 0.4:
            disks.create_fixed(path, size)
        else:
            disks.create_dynamic(
                path, size, block_bytes=self.chance.choice([4096, 65536, 65536, 1 << 19, 2 << 20])
            )
        self.members = [Member(path=path, model=bytes(size))]
        for name in MINE:
            (self.home / name).write_text("mine")
        self.story.append(f"{disks.open(path).kind} of {size:,}")
        if self.chance.random() < 0.3 and disks.open(path).kind is Kind.DYNAMIC:
            self._cut_at_its_end()

    def _cut_at_its_end(self) -> None:
        """Make it a disk of an old writer: its last block ends where the disk does."""
        root = self.members[0]
        size = len(root.model)
        with disks.open(root.path, writable=True) as disk:
            disk.pwrite(b"last", size - 4)
        root.model = root.model[:-4] + b"last"
        with ImageFile.open(root.path, writable=True) as file:
            image = Image(file)
            block, used = divmod(size, image.block_bytes)
            if used:
                place = image.place(block)
                assert place is not None
                end = place + image.bitmap_bytes + used
                file.pwrite(image.layout.footer.encode(), end)
                file.truncate(end + FOOTER_BYTES)
                self.story.append("cut")

    def _path(self) -> Path:
        self._number += 1
        return self.home / f"{self._number - 1}.vhd"

    # Operations

    def write(self, failure: str) -> None:
        """Write pieces and zeros, and flush at the end."""
        writes = [self._piece() for _ in range(self.chance.randrange(1, 12))]

        def work() -> None:
            with disks.open(self.top.path, writable=True) as disk:
                for offset, data in writes:
                    if data.count(0) == len(data):
                        disk.write_zeroes(len(data), offset)
                    else:
                        disk.pwrite(data, offset)

        if self._meets("write", failure, work):
            self._hold_sectors(writes)
            self._put_right()
            work()
        self.top.model = _written(self.top.model, writes)

    def export(self, failure: str) -> None:
        """Write as an export does: what a client was told of is there, whatever comes after."""
        offsets = self.chance.sample(range(0, len(self.top.model) - 20_000, 20_480), 20)
        writes = [
            (at + self.chance.randrange(400), self.chance.randbytes(self.chance.randrange(1, 19_000)))
            for at in offsets
        ]
        acknowledged = Path(tempfile.gettempdir()) / f"innkeeper-fuzz-told-{os.getpid()}"
        acknowledged.write_text("")
        flushes = {self.chance.randrange(20) for _ in range(3)}

        def work() -> None:
            with acknowledged.open("w") as tell, disks.open(self.top.path, writable=True) as disk:
                disk.chain.top.keep_maps()
                for number, (offset, data) in enumerate(writes):
                    if _twice(lambda: disk.pwrite(data, offset)):  # noqa: B023 - called at once
                        tell.write(f"{number}\n")
                        tell.flush()
                    if number in flushes:
                        _twice(disk.flush)

        failed = self._meets("export", failure, work)
        known = set(map(int, acknowledged.read_text().split()))
        acknowledged.unlink()
        failed = failed or len(known) < len(writes)
        if failed:
            self._restore_at_times()
        if failed and self._restored:
            return
        self.top.model = _written(
            self.top.model, [each for number, each in enumerate(writes) if number in known]
        )
        if failed:
            self._hold_sectors([each for number, each in enumerate(writes) if number not in known])
            self._put_right()

    def compact(self, failure: str) -> bool | None:
        """Compact any of the disks."""
        member = self.chance.choice(self.members)
        if disks.open(member.path, ignore_parent_time=True).kind is Kind.FIXED:
            return False
        self._same("compact", failure, lambda: compact(member.path))
        return None

    def resize(self, failure: str) -> bool | None:
        """Make a root without children larger or smaller."""
        if len(self.members) > 1:
            return False
        size = self.chance.randrange(3 * MIB, 12 * MIB) // SECTOR * SECTOR
        root = self.members[0]
        old = root.model
        new = old[:size].ljust(size, b"\0")

        def work() -> None:
            resize(root.path, size, lose_data=True)

        if self._meets("resize", failure, work):
            found = _content(root.path)
            # A cut may have begun on what the smaller disk does not have.
            if found != new and found[: min(size, len(old))] != old[:size]:
                raise Wrong("a resize changed what it was to keep")
            if len(found) not in {len(old), size}:
                raise Wrong("a resize made another size")
            if size > len(old) and len(found) == size and found != new:
                raise Wrong("a growth is not zero")
            self._put_right()
            work()
        root.model = new
        return None

    def make_child(self, failure: str) -> bool | None:
        """Put a differencing disk on top."""
        if len(self.members) == DEEPEST:
            return False
        path, base = self._path(), self.top

        def work() -> None:
            disks.create_differencing(path, base.path)

        if self._meets("child", failure, work) and not path.exists():
            self._put_right()
            work()
        self.members.append(Member(path=path, model=base.model))
        return None

    def merge(self, failure: str) -> bool | None:
        """Merge the top into its parent."""
        if len(self.members) == 1:
            return False
        child, parent = self.members[-1], self.members[-2]
        keeps = self.chance.random() < 0.3

        def work() -> None:
            merge(child.path, keep_child=keeps, ignore_parent_time=True)

        if self._meets("merge", failure, work):
            self._restore_at_times()
            if self._restored:
                return None
            if child.path.exists():
                if _content(child.path) != child.model:
                    raise Wrong("a child that is being merged does not read as before")
                work()
        parent.model = child.model
        if child.path.exists() and not keeps:
            raise Wrong("a merged child is still there")
        if not keeps:
            self.members.pop()
        return None

    def convert(self, failure: str) -> None:
        """Write any of the disks to a new one."""
        member = self.chance.choice(self.members)
        kind = self.chance.choice([Kind.DYNAMIC, Kind.FIXED, Kind.RAW])
        target = self.home / f"new.{'raw' if kind is Kind.RAW else 'vhd'}"

        def work() -> None:
            disks.convert(member.path, target, kind)

        if self._meets("convert", failure, work) and not target.exists():
            work()
        found = target.read_bytes() if kind is Kind.RAW else _content(target)
        target.unlink()
        if found != member.model:
            raise Wrong("a converted disk has another content")

    def reparent(self, failure: str) -> bool | None:
        """Give the top its parent again."""
        if len(self.members) == 1:
            return False
        child, parent = self.members[-1], self.members[-2]
        self._same("reparent", failure, lambda: disks.reparent(child.path, parent.path))
        return None

    def repair(self, failure: str) -> None:
        """Damage a disk where nothing is lost by it, and mend that."""
        member = self.chance.choice(self.members)
        fixed = disks.open(member.path, ignore_parent_time=True).kind is Kind.FIXED
        with member.path.open("r+b") as stream:
            if fixed and self.chance.random() < 0.5:
                stream.seek(-FOOTER_BYTES + 64, os.SEEK_END)
                stream.write(b"\0\0\0\0")
            elif fixed:
                stream.seek(0, os.SEEK_END)
                stream.write(b"more" * self.chance.randrange(1, 9000))
            else:
                stream.seek(*self.chance.choice([(0, os.SEEK_SET), (-FOOTER_BYTES, os.SEEK_END)]))
                stream.write(bytes(FOOTER_BYTES))
        self._meets("repair", failure, lambda: repair(member.path, deep=True))
        repair(member.path, deep=True)
        self._put_right()
        for path in self.home.glob(f"*{KEPT_SUFFIX}*"):
            data = path.read_bytes()
            if path.name not in MINE and self._kept.setdefault(path, data) != data:
                raise Wrong(f"{path.name}, kept by a repair, was written over")

    def back_up(self, failure: str) -> bool | None:
        """Copy all of the disks, with their times."""
        del failure
        folder = self.home / "backup"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for member in self.members:
            # A backup of the image alone has what is in the image: what a killed export left is stored first.
            disks.open(member.path, writable=True, ignore_parent_time=True).close()
            shutil.copy2(member.path, folder)
        self._backup = [dataclasses.replace(member) for member in self.members]
        self._put_right()
        return None

    def restore(self, failure: str) -> bool | None:
        """Put a backup back: over the files that are there, or in their places."""
        del failure
        if not self._backup:
            return False
        how = self.chance.choice(["over", "beside"])
        self.story.append(f"restored {how}")
        for member in self.members:
            if how == "beside" or member.path not in {each.path for each in self._backup}:
                member.path.unlink(missing_ok=True)
        for member in self._backup:
            shutil.copy2(self.home / "backup" / member.path.name, member.path)
        self.members = [dataclasses.replace(member) for member in self._backup]
        self._put_right()
        return None

    # Failures

    def _choose_failure(self) -> str:
        if self.chance.random() < 0.35:
            return "unhindered"
        weights = {"KILL": 5, "FULL": 1, "ERROR": 2, "GONE": 2, "FILLED": 3 if self.fills else 0}
        return self.chance.choices(list(weights), list(weights.values()))[0]

    def _meets(self, name: str, failure: str, work: Callable[[], object]) -> bool:
        """Do the work with the failure; returns whether it may have been stopped by it."""
        if failure == "unhindered":
            work()
            return False
        if failure == "FILLED":
            return self._filled(work)
        most = max(20, self._changes[name])
        count = self.chance.randrange(1, most + 1)
        before = set(self._names())
        failed = fails(Failure[failure], count, work)
        if failed:
            self._changes[name] = min(2000, max(self._changes[name], count + 20))
        self._hold_names(before, failure)
        return failed

    def _names(self) -> set[str]:
        return {path.name for path in self.home.iterdir()}

    def _filled(self, work: Callable[[], object]) -> bool:
        """Do the work on a file system that is full, but for some room; returns whether it was too little."""
        filler = self.home.parent / "filler"
        before = set(self._names())
        room = os.statvfs(self.home)
        left = self.chance.choice([0, 4096, 65536, self.chance.randrange(2 << 20)])
        with filler.open("wb") as stream, contextlib.suppress(OSError):
            os.posix_fallocate(stream.fileno(), 0, max(1, room.f_bavail * room.f_frsize - left))
        try:
            work()
        except DiskError as error:
            if error.code is not ErrorCode.ERROR_DISK_FULL:
                raise
            failed = True
        else:
            failed = False
        finally:
            filler.unlink()
        self._hold_names(before, "FULL")
        return failed

    _restored = False

    def _restore_at_times(self) -> None:
        """Put a backup back right after a failure, with all that the failure left beside the disks."""
        self._restored = bool(self._backup) and self.chance.random() < 0.3
        if self._restored:
            self.restore("")

    def _same(self, name: str, failure: str, work: Callable[[], object]) -> None:
        """Do what changes no content."""
        if self._meets(name, failure, work):
            for member in self.members:
                if _content(member.path) != member.model:
                    raise Wrong(f"a {name} that failed changed {member.path.name}")
            self._put_right()
            work()
            self._put_right()

    def _put_right(self) -> None:
        """Accept new times of parents, as a person does who knows what happened."""
        for parent, child in zip(self.members, self.members[1:], strict=False):
            try:
                disks.open(child.path).close()
            except DiskError as error:
                if error.code is not ErrorCode.VM_E_PARENT_MODIFIED:
                    raise
                disks.reparent(child.path, parent.path)

    # What has to be

    def _hold_names(self, before: set[str], failure: str) -> None:
        left = [name for name in set(self._names()) - before if name.startswith(".innkeeper-")]
        if left and failure not in {"KILL", "GONE"}:
            raise Wrong(f"left behind: {left}")
        for name in left:
            path = self.home / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _hold_sectors(self, writes: Sequence[Write]) -> None:
        """Each sector of the top is as before or as written; the model is what is there from here on."""
        found, old = _content(self.top.path), self.top.model
        allowed: dict[int, set[bytes]] = {}
        state = old
        for write in writes:
            state = _written(state, [write])
            first, last = write[0] // SECTOR * SECTOR, write[0] + len(write[1])
            for at in range(first, last, SECTOR):
                allowed.setdefault(at, {old[at : at + SECTOR]}).add(state[at : at + SECTOR])
        for at in _differing(found, old):
            if found[at : at + SECTOR] not in allowed.get(at, ()):
                raise Wrong(f"sector at {at} is neither as before nor as written")
        self.top.model = found

    def _hold_all(self, name: str) -> None:
        for member in self.members:
            with disks.open(member.path) as disk:
                found = disk.pread(disk.size_bytes, 0)
            if found != member.model:
                at = next(iter(_differing(found, member.model)), -1)
                raise Wrong(f"{member.path.name} has another content after {name}, from byte {at}")
            problems = [each.sentence for each in check(member.path, deep=True) if not each.is_harmless]
            if problems:
                raise Wrong(f"{member.path.name} after {name}: {problems[0]}")
        for mine in MINE:
            if (self.home / mine).read_text() != "mine":
                raise Wrong(f"{mine} of the user's was changed by {name}")

    def _ask_another_reader(self) -> None:
        """Have QEMU read the root, which has no parent."""
        root, raw = self.members[0], self.home / "qemu.raw"
        # QEMU refuses a last block that is cut off where the disk ends.
        if not shutil.which("qemu-img") or "cut" in self.story:
            return
        # What a killed export left beside it is stored in it.
        disks.open(root.path, writable=True).close()
        command = ["qemu-img", "convert", "-f", "vpc", "-O", "raw", str(root.path), str(raw)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise Wrong(f"QEMU cannot read the root: {done.stderr}")
        found = raw.read_bytes()
        raw.unlink()
        if found != root.model:
            at = next(iter(_differing(found, root.model)), -1)
            raise Wrong(f"QEMU reads {len(found):,} of {len(root.model):,} bytes, other ones from {at:,} on")

    def _piece(self) -> Write:
        size = len(self.top.model)
        offset = self.chance.randrange(size)
        length = min(size - offset, self.chance.choice([1, 511, 512, 4096, 70_000, 1 << 20]))
        return offset, bytes(length) if self.chance.random() < 0.2 else self.chance.randbytes(length)


def _content(path: Path) -> bytes:
    with disks.open(path, ignore_parent_time=True) as disk:
        return disk.pread(disk.size_bytes, 0)


def _written(model: bytes, writes: Sequence[Write]) -> bytes:
    made = bytearray(model)
    for offset, data in writes:
        made[offset : offset + len(data)] = data
    return bytes(made)


def _differing(one: bytes, other: bytes) -> Iterator[int]:
    """The sectors in which two contents differ."""
    for start in range(0, max(len(one), len(other)), MIB):
        if one[start : start + MIB] != other[start : start + MIB]:
            for at in range(start, start + MIB, SECTOR):
                if one[at : at + SECTOR] != other[at : at + SECTOR]:
                    yield at


def _twice(work: Callable[[], object]) -> bool:
    """Do it, and again where it failed, as a guest does that waits on errors; returns whether it was done."""
    for _ in range(2):
        with contextlib.suppress(DiskError):
            work()
            return True
    return False
