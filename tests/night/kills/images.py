"""Operations on virtual hard disks, killed before any change of a file, and on full disks."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from innkeeper import disks
from innkeeper.disks.check import Problem, check
from innkeeper.disks.compact import compact
from innkeeper.disks.kind import Kind
from innkeeper.disks.merge import merge
from innkeeper.disks.repair import repair
from innkeeper.disks.resize import resize
from innkeeper.errors import DiskError
from tests.disks.killing import in_a_killed_process, kill_at, on_a_small_file_system
from tests.night.kills.trial import Outcome, digest

_MIB = 1 << 20
_SIZE = 4 * _MIB
_BLOCK = 64 << 10
_MOST_CHANGES = 80
_MOST_KILLS = 6
#: What a crash may leave of a disk that is whole all the same.
_BEARABLE = {
    Problem.FOOTER_LOST, Problem.COPY_LOST, Problem.UNUSED_ROOM, Problem.HALF_MERGED, Problem.HIDDEN_DATA,
    Problem.PARENT,
}  # fmt: skip


def trial(chance: random.Random, directory: Path) -> Outcome:
    """One operation, killed a few times and then finished; or one for which there is no room."""
    name = chance.choice(sorted(_OPERATIONS))
    outcome = Outcome(storage=f"VHD, {name}")
    if name == _FULL:
        _on_a_full_disk(chance, directory, outcome)
    else:
        _OPERATIONS[name](chance, directory, outcome)
    return outcome


def _disk(chance: random.Random, path: Path, kind: Kind) -> bytes:
    """Make a disk with something in it; returns its content."""
    if kind is Kind.FIXED:
        disks.create_fixed(path, _SIZE)
    else:
        disks.create_dynamic(path, _SIZE, block_bytes=_BLOCK)
    return _fill(chance, path)


def _fill(chance: random.Random, path: Path) -> bytes:
    with disks.open(path, writable=True) as disk:
        for _ in range(chance.randint(1, 12)):
            data = chance.randbytes(1) * chance.randint(1, 3 * _BLOCK)
            disk.pwrite(data, chance.randrange(0, _SIZE - len(data)))
        return disk.pread(disk.size_bytes, 0)


def _content(path: Path) -> bytes:
    with disks.open(path) as disk:
        return disk.pread(disk.size_bytes, 0)


def _again_and_again(
    chance: random.Random, work: Callable[[], object], judge: Callable[[], None], outcome: Outcome
) -> None:
    """Kill the operation a few times, look after each, and let it come to its end."""
    for _ in range(chance.randint(1, _MOST_KILLS)):
        changes = chance.randint(1, chance.choice((4, 15, _MOST_CHANGES)))

        def die(changes: int = changes) -> None:
            kill_at(changes)
            work()

        if not in_a_killed_process(die):
            break
        outcome.kills.append("disk operation")
        judge()
    else:
        in_a_killed_process(work)
    judge()
    outcome.ended = "done"


def _whole(path: Path, contents: tuple[bytes, ...], outcome: Outcome) -> None:
    """See that the disk, after the repair that a crash may ask for, holds one of these contents."""
    try:
        content = _content(path)
    except DiskError:
        repair(path)
        content = _content(path)
    if content not in contents:
        outcome.faults.append(f"{path.name} holds something else")
    found = {finding.problem for finding in check(path, deep=True)} - _BEARABLE
    if found:
        outcome.faults.append(f"{path.name}: {found}")


def _grow(chance: random.Random, directory: Path, outcome: Outcome) -> None:
    path = directory / "d.vhd"
    content = _disk(chance, path, chance.choice((Kind.FIXED, Kind.DYNAMIC)))
    size = _SIZE + chance.choice((512, _BLOCK, _MIB, 9 * _MIB, 100 * _MIB))
    wanted = (content, content.ljust(size, b"\0"))

    def work() -> None:
        resize(path, size)

    _again_and_again(chance, work, lambda: _whole(path, wanted, outcome), outcome)
    _whole(path, wanted[1:], outcome)
    if found := check(path, deep=True):
        outcome.faults.append(f"{path.name}: {found}")


def _compact(chance: random.Random, directory: Path, outcome: Outcome) -> None:
    path = directory / "d.vhd"
    content = bytearray(_disk(chance, path, Kind.DYNAMIC))
    with disks.open(path, writable=True) as disk:
        disk.pwrite(bytes(_MIB), chance.randrange(0, _SIZE - _MIB))
        content[:] = disk.pread(_SIZE, 0)
    _again_and_again(chance, lambda: compact(path), lambda: _whole(path, (bytes(content),), outcome), outcome)


def _merge(chance: random.Random, directory: Path, outcome: Outcome) -> None:
    parent, child = directory / "p.vhd", directory / "c.vhd"
    _disk(chance, parent, chance.choice((Kind.FIXED, Kind.DYNAMIC)))
    disks.create_differencing(child, parent)
    content = _fill(chance, child)

    def work() -> None:
        if child.exists():
            merge(child)

    def judge() -> None:
        if child.exists():
            try:
                seen = _content(child)
            except DiskError:
                with disks.open(child, ignore_parent_time=True) as disk:
                    seen = disk.pread(_SIZE, 0)
            if seen != content:
                outcome.faults.append("the child lost something")
        else:
            _whole(parent, (content,), outcome)

    _again_and_again(chance, work, judge, outcome)
    work()
    _whole(parent, (content,), outcome)


def _convert(chance: random.Random, directory: Path, outcome: Outcome) -> None:
    source = directory / "d.vhd"
    kind = chance.choice((Kind.FIXED, Kind.DYNAMIC))
    content = _disk(chance, source, kind)
    before = digest(source)
    other = Kind.DYNAMIC if kind is Kind.FIXED else Kind.FIXED
    suffix, to = chance.choice((("vhd", other), ("raw", Kind.RAW)))
    target = directory / f"new.{suffix}"

    def work() -> None:
        if not target.exists():
            disks.convert(source, target, to, source_kind=kind)

    def judge() -> None:
        if digest(source) != before:
            outcome.faults.append("the source was written to")
        if target.exists():
            seen = target.read_bytes() if to is Kind.RAW else _content(target)
            if seen != content:
                outcome.faults.append(f"{target.name} is there, and not whole")

    _again_and_again(chance, work, judge, outcome)
    others = {path.name for path in directory.iterdir()} - {source.name, target.name}
    if others or not target.exists():
        outcome.faults.append(f"left: {others}, target: {target.exists()}")


_FULL = "on a full disk"
_NO_ROOM = """
import random, sys
from pathlib import Path
from innkeeper import disks
from innkeeper.disks.compact import compact
from innkeeper.disks.kind import Kind
from innkeeper.disks.merge import merge
from innkeeper.disks.resize import resize
from innkeeper.errors import DiskError
chance = random.Random({seed!r})
kind = chance.choice((Kind.FIXED, Kind.DYNAMIC))
path, child = Path("d.vhd"), Path("c.vhd")
if kind is Kind.FIXED:
    disks.create_fixed(path, 4 << 20)
else:
    disks.create_dynamic(path, 4 << 20, block_bytes=64 << 10)
def fill(path, most):
    with disks.open(path, writable=True) as disk:
        for _ in range(chance.randint(1, most)):
            disk.pwrite(chance.randbytes(1) * 100_000, chance.randrange(0, (4 << 20) - 100_000))
def content(path):
    with disks.open(path, ignore_parent_time=True) as disk:
        return disk.pread(disk.size_bytes, 0)
fill(path, 12)
disks.create_differencing(child, path)
fill(child, 12)
wanted = {{each: content(each) for each in (path, child)}}
try:
    Path("filler").write_bytes(bytes(chance.randrange(0, 12 << 20)))
except OSError:
    pass
work = chance.choice((
    lambda: resize(path, 100 << 20),
    lambda: merge(child),
    lambda: compact(child),
    lambda: disks.convert(path, Path("n.vhd"), Kind.FIXED, source_kind=kind),
))
try:
    work()
    print("done")
except (DiskError, OSError) as error:
    print("full", getattr(error, "code", error))
    Path("filler").unlink(missing_ok=True)
    for each in (path, child):
        assert content(each) == wanted[each], each
    assert not Path("n.vhd").exists()
"""


def _on_a_full_disk(chance: random.Random, directory: Path, outcome: Outcome) -> None:
    program = _NO_ROOM.format(seed=chance.random())
    folder = directory / "small"
    folder.mkdir()
    try:
        said = on_a_small_file_system(folder, chance.randint(10, 18) * _MIB, program)
    except AssertionError as error:
        outcome.faults.append(str(error))
        return
    outcome.ended = "done"
    if "full" in said:
        outcome.kills.append("full file system")
        outcome.ended = "as before"
    shutil.rmtree(folder, ignore_errors=True)


_OPERATIONS: Mapping[str, Callable[[random.Random, Path, Outcome], None]] = {
    "grow": _grow,
    "compact": _compact,
    "merge": _merge,
    "convert": _convert,
    _FULL: _on_a_full_disk,
}
