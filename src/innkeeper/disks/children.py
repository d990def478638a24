"""Find the VHDs that stand on a disk, before what they would read changes.

A child stores only what differs from its parent, and nothing in a parent names its children. So they are
looked for where disks that belong together lie: in the folders of the files at hand, by what each file there
says of its own parent. A child that lies elsewhere is not seen here.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from innkeeper.disks import journal
from innkeeper.disks.file import ImageFile
from innkeeper.disks.header import Header
from innkeeper.disks.kind import Kind
from innkeeper.disks.layout import read_layout, said_by_name
from innkeeper.disks.locator import candidates
from innkeeper.disks.mark import Operation
from innkeeper.disks.oserror import adapted
from innkeeper.disks.paths import shell
from innkeeper.errors import DiskError, ErrorCode

#: More layers than an open chain may have.
_DEEPEST = 64
#: What a repair keeps of a disk is metadata, and never a disk.
_KEPT = re.compile(r"\.before-repair(-\d+)?$")
#: How many are named in a sentence.
_NAMED = 5

#: What is said where a disk is to be opened for anybody's writes.
WRITES = "they would read what is written to it"
INSTEAD = "Create a child of it, and export that: innkeeper disk create NEW --parent DISK."

#: Which file it is, whatever it is called: device and inode.
Identity = tuple[int, int]


def refuse_children(
    disk: Path, *besides: Path, folders: Iterable[Path] = (), what: str, advice: str = ""
) -> None:
    """Refuse to change a disk on which other VHDs stand.

    They are looked for in the disk's folder and in ``folders``; those of ``besides`` are no others. ``what``
    ends the sentence, after "and". Raises ERROR_SHARING_VIOLATION with their names, E_ACCESSDENIED where
    a folder or a VHD in it cannot be read.
    """
    if found := children_of(disk, *besides, folders=folders):
        raise stood_on(disk, found, what=what, advice=advice)


def children_of(disk: Path, *besides: Path, folders: Iterable[Path] = ()) -> list[Path]:
    """Return the VHDs that stand on a disk directly, of its folder and of ``folders``, links followed.

    Raises E_ACCESSDENIED where a folder, or a VHD in it, cannot be read: one that is unknown may be a child.
    """
    seen = {_identity(disk), *map(_identity, besides)}
    found = []
    for file in _files_of(dict.fromkeys(_folders(disk, *besides, others=folders))):
        with contextlib.suppress(OSError):
            if (which := _identity(file)) not in seen and _stands_on(file, disk):
                seen.add(which)
                found.append(file)
    return found


def stood_on(disk: Path, children: Iterable[Path], *, what: str, advice: str = "") -> DiskError:
    """Build the error for a disk on which these VHDs stand."""
    names = [str(child) for child in children]
    others = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    first = shell(Path(names[0]))
    stand = "stands" if len(names) == 1 else "stand"
    return DiskError(
        f"{disk}: {', '.join(names[:_NAMED])}{others} {stand} on this disk, and {what}.",
        path=str(disk),
        code=ErrorCode.ERROR_SHARING_VIOLATION,
        advice=f"{advice} Or make each of them independent first: innkeeper disk merge-to {first} NEW, then "
        f"remove it; or give it a copy of the parent: innkeeper disk reparent {first} COPY".strip(),
    )


def line_of(path: Path) -> list[Path]:
    """Follow a VHD to its parents by what the files say, itself first, whatever else is wrong with them.

    Ends where no parent is found; anything but a VHD is a line of one.
    """
    line = [path]
    seen = set()
    with contextlib.suppress(OSError):
        while len(line) < _DEEPEST and (which := _identity(line[-1])) not in seen:
            seen.add(which)
            if (parent := _parent_of(line[-1])) is None:
                break
            line.append(parent)
    return line


def is_being_merged_into(disk: Path) -> bool:
    """Return whether a merge into this disk has begun, which can only be finished."""
    with contextlib.suppress(DiskError), ImageFile.open(disk, held=False) as file:
        mark = read_layout(file).footer.mark
        noted = journal.read(disk)
        return (mark is not None and mark.operation is Operation.MERGING_INTO) or (
            noted is not None and noted.token is None
        )
    return False


def _folders(*files: Path, others: Iterable[Path]) -> Iterator[Path]:
    for file in files:
        yield Path(os.path.realpath(file)).parent
        yield Path(os.path.realpath(file.parent))
    for folder in others:
        yield Path(os.path.realpath(folder))


def _files_of(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        with adapted(folder):
            names = sorted(os.listdir(folder))  # noqa: PTH208 - names alone, in any encoding
        for name in names:
            path = folder / name
            if said_by_name(path) in {Kind.FIXED, None} and not _KEPT.search(name):
                yield path


def _stands_on(file: Path, disk: Path) -> bool:
    """Return whether this VHD's parent is the disk, or has its identity and is not found."""
    try:
        with ImageFile.open(file, held=False) as child:
            header = _header(child)
            if header is None or _id_of(disk) != header.parent_id:
                return False
            parent = _parent_in(child, header)
            return parent is None or _identity(parent) == _identity(disk)
    except DiskError as error:
        if error.code is ErrorCode.E_ACCESSDENIED and said_by_name(file) is Kind.FIXED:
            raise DiskError(
                f"{file}: it cannot be read, so it may stand on {disk}, which is about to change.",
                path=str(file),
                code=ErrorCode.E_ACCESSDENIED,
                advice="Let it be read, or move it to another folder if it has nothing to do with that disk.",
            ) from error
        return False


def _parent_of(path: Path) -> Path | None:
    with contextlib.suppress(DiskError), ImageFile.open(path, held=False) as file:
        header = _header(file) if said_by_name(path) in {Kind.FIXED, None} else None
        return _parent_in(file, header) if header is not None else None
    return None


def _header(file: ImageFile) -> Header | None:
    """Read the header of a differencing disk; ``None`` of anything else."""
    with contextlib.suppress(DiskError):
        layout = read_layout(file)
        return layout.header if layout.kind is Kind.DIFFERENCING else None
    return None


def _parent_in(file: ImageFile, header: Header) -> Path | None:
    """Find the first place where the parent that a child asks for lies."""
    return next((place for place in candidates(file, header) if _id_of(place) == header.parent_id), None)


def _id_of(path: Path) -> object:
    with contextlib.suppress(DiskError), ImageFile.open(path, held=False) as file:
        return read_layout(file).footer.unique_id
    return None


def _identity(path: Path) -> Identity:
    status = os.stat(path)  # noqa: PTH116 - takes surrogates as they are
    return status.st_dev, status.st_ino
