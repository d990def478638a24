"""Read, carry and mend the dirty bitmaps of qcow2 images: incremental backups see by them what was written.

A bitmap that misses one write makes a backup wrong; one that has too many only makes it larger. QEMU marks
all bitmaps of an image as broken while it is open for writing, so a kill in the middle costs those too that
nobody touched: what they will be is gathered in a file of its own first, and written from there as often as
needed.
"""

from __future__ import annotations

import dataclasses
import json
import stat
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from innkeeper.disks import qemu_program
from innkeeper.disks.confined.reach import Reach
from innkeeper.disks.kind import Kind
from innkeeper.disks.oserror import adapted
from innkeeper.disks.private_place import private_place
from innkeeper.disks.qemu_img import look, new_file, run
from innkeeper.disks.qemu_program import LOOK, MOST_OUTPUT, Limits
from innkeeper.errors import DiskError, ErrorCode

#: Bytes to one bit of a bitmap that nobody gave another size: QEMU's own choice for most images.
GRANULARITY = 64 << 10
#: What stands before the name of a copy that a merge keeps in the overlay: no bitmap of anybody's.
COPY = "innkeeper-copy:"
#: More parts than this are joined to coarser ones: a bitmap may have too much in it.
_MOST_RANGES = 4096
#: What one zero write of QEMU's may cover.
_LONGEST_WRITE = 1 << 30
#: Commands for one run of ``qemu-io``: its arguments have a limit.
_BATCH = 512


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Bitmap:
    """One dirty bitmap that an image keeps."""

    name: str
    #: The bytes of the disk that one bit stands for.
    granularity: int = GRANULARITY
    #: Whether writes are recorded in it.
    recording: bool = True
    #: Whether it may miss writes: QEMU ended without storing it.
    broken: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Since:
    """What became of bitmaps while an overlay took the writes, by their names."""

    #: They know every write up to the overlay, and nothing in it concerns them.
    kept: frozenset[str] = frozenset()
    #: They began while the overlay was there, or shortly before: one that the base lacks began in it.
    begun: frozenset[str] = frozenset()
    #: Nobody asks for them any more.
    gone: frozenset[str] = frozenset()


def bitmaps(path: Path) -> tuple[Bitmap, ...]:
    """List the bitmaps of a qcow2 image, which may be in use."""
    return _asked(path)[1]


def carry(base: Path, overlay: Path) -> None:
    """Begin each bitmap of the base in the overlay that is put over it, as QEMU does for one that runs."""
    there = {each.name for each in bitmaps(overlay)}
    for bitmap in bitmaps(base):
        if not bitmap.broken and bitmap.name not in there:
            _change(overlay, bitmap.name, *_adding(bitmap))


def gather(base: Path, overlay: Path, side: Path, since: Since) -> bool:
    """Write what the base's bitmaps will be without the overlay into the file ``side``; whether any change.

    All but the ``kept`` have every cluster of the overlay, which is a superset of what differs from a backup
    that was taken through it. Where the file is there already it is complete, and stays; where the overlay is
    gone, there is nothing to do any more.
    """
    if side.exists():
        return True
    if not overlay.exists():
        return False
    size, in_base = _asked(base)
    wanted = _wanted(in_base, bitmaps(overlay), since)
    marked = [each for each in wanted if each.name not in since.kept]
    if not marked and not since.gone & {each.name for each in in_base}:
        return False
    with private_place(side) as private:
        place = private.path
        arguments = ["create", "-f", "qcow2", new_file(place), str(size)]
        run(arguments, side, 0, reach=Reach(writes=(private.folder,)))
        for bitmap in marked:
            _change(place, bitmap.name, *_adding(bitmap))
        if marked:
            _mark(place, _changed(overlay, size, max(each.granularity for each in marked)), size)
        sound = {each.name for each in in_base if not each.broken}
        for bitmap in wanted:
            if bitmap not in marked:
                _change(place, bitmap.name, *_adding(bitmap))
            if bitmap.name in sound:
                taken = ("--merge", bitmap.name, "-b", _node(base, shared=True))
                _change(place, bitmap.name, *taken, others=(base,))
            if not bitmap.recording:
                _change(place, bitmap.name, "--disable")
        private.publish(replace=True)
    return True


def restore(side: Path, base: Path, since: Since) -> None:
    """Give the base the bitmaps that were gathered; may be done again after a kill anywhere."""
    for name in since.gone & {each.name for each in bitmaps(base)}:
        _change(base, name, "--remove")
    for bitmap in bitmaps(side):
        there = {each.name: each for each in bitmaps(base)}.get(bitmap.name)
        if there is not None and not there.broken and bitmap.name in since.kept:
            continue
        old = () if there is None else ("--remove",)
        last = () if bitmap.recording else ("--disable",)
        taken = ("--merge", bitmap.name, "-b", _node(side))
        _change(base, bitmap.name, *old, *_adding(bitmap), *taken, *last, others=(side,))


def _wanted(in_base: Sequence[Bitmap], in_overlay: Sequence[Bitmap], since: Since) -> list[Bitmap]:
    """What the base is to have. What a broken one of the base has missed nobody knows: it stays so."""
    wanted = {name: Bitmap(name=name) for name in since.begun}
    wanted |= {each.name: each for each in (*in_overlay, *in_base)}
    lost = {each.name for each in in_base if each.broken}
    # One that the base lacks, and that did not begin since, was lost before.
    lost |= since.kept - {each.name for each in in_base}
    return [each for name, each in sorted(wanted.items()) if name not in lost | since.gone]


def _mark(place: Path, ranges: Collection[tuple[int, int]], size: int) -> None:
    """Record these ranges in the bitmaps of an empty image."""
    parts = [
        f"write -z {at} {min(_LONGEST_WRITE, end - at)}"
        for start, end in ranges
        for at in range(start, end, _LONGEST_WRITE)
    ]
    for first in range(0, len(parts), _BATCH):
        commands = [word for part in parts[first : first + _BATCH] for word in ("-c", part)]
        reach = Reach(writes=(place,))
        qemu_program.run(
            qemu_program.IO, [*commands, _node(place)], place, Limits.for_bytes(size), reach=reach
        )


def _changed(overlay: Path, size: int, grain: int) -> list[tuple[int, int]]:
    """List the ranges of an overlay that it holds itself, as (start, end), joined where they are many."""
    found = list(_held(overlay, 0, size))
    while len(joined := _joined(found, grain, size)) > _MOST_RANGES:
        grain *= 2
    return joined


def _joined(ranges: Sequence[tuple[int, int]], grain: int, size: int) -> list[tuple[int, int]]:
    """Round ranges to whole grains of the disk, and join those that meet."""
    joined: list[tuple[int, int]] = []
    for start, end in ranges:
        start, end = start - start % grain, min(-(-end // grain) * grain, size)
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return joined


def _held(overlay: Path, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Ask for the parts of a range that the image itself holds; by halves where the answer is too long."""
    command = ["map", "-U", "--output=json", f"--start-offset={start}", f"--max-length={end - start}"]
    printed = qemu_program.run(
        qemu_program.IMAGE,
        [*command, _node(overlay)],
        overlay,
        Limits.for_bytes(end - start),
        reach=Reach(reads=(overlay,)),
    )
    if len(printed) >= MOST_OUTPUT:
        middle = (start + end) // 2 // GRANULARITY * GRANULARITY
        yield from _held(overlay, start, middle)
        yield from _held(overlay, middle, end)
        return
    try:
        for extent in json.loads(printed):
            # A QEMU that does not say it may mean either.
            if extent.get("present", True):
                yield int(extent["start"]), min(int(extent["start"]) + int(extent["length"]), end)
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise _unexpected(overlay) from exc


def _adding(bitmap: Bitmap) -> tuple[str, ...]:
    return "--add", "-g", str(bitmap.granularity)


def _change(path: Path, name: str, *actions: str, others: Sequence[Path] = ()) -> None:
    """Change a bitmap of an image; ``others`` are the images that the actions name."""
    reach = Reach(reads=others, writes=(path,))
    run(["bitmap", *actions, "--", _node(path), name], path, 0, reach=reach)


def _asked(path: Path) -> tuple[int, tuple[Bitmap, ...]]:
    """The size of the disk in an image, and its bitmaps."""
    if path.is_file():
        # Refuses an image whose data lies in another file that it names.
        look(path, Kind.QCOW2)
    command = ["info", "-U", "--output=json", _node(path)]
    printed = qemu_program.run(qemu_program.IMAGE, command, path, LOOK, reach=Reach(reads=(path,)))
    try:
        facts = json.loads(printed)
        found = facts.get("format-specific", {}).get("data", {}).get("bitmaps", [])
        listed = map(_bitmap, found)
        return int(facts["virtual-size"]), tuple(each for each in listed if not each.name.startswith(COPY))
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise _unexpected(path) from exc


def _bitmap(data: dict[str, object]) -> Bitmap:
    flags = data["flags"]
    if not isinstance(flags, list):
        raise TypeError("flags are a list")
    return Bitmap(
        name=str(data["name"]),
        granularity=int(str(data["granularity"])),
        recording="auto" in flags,
        broken="in-use" in flags,
    )


def _node(path: Path, *, shared: bool = False) -> str:
    """A qcow2 image alone as an argument of QEMU's tools; ``shared``: read while others may write."""
    with adapted(path):
        driver = "host_device" if stat.S_ISBLK(path.stat().st_mode) else "file"
    node = {"driver": "qcow2", "backing": None, "file": {"driver": driver, "filename": str(path)}}
    return "json:" + json.dumps(node | {"read-only": True, "force-share": True} if shared else node)


def _unexpected(path: Path) -> DiskError:
    return DiskError(
        f"{path}: qemu-img printed something unexpected.", path=str(path), code=ErrorCode.E_UNEXPECTED
    )
