"""Follow the files that an image names to their ends, and find one outside of the allowed folders."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from innkeeper.disks.base_names import Base, named_bases
from innkeeper.disks.bases import bases_of
from innkeeper.disks.file import ImageFile
from innkeeper.disks.layout import OTHER_FORMATS
from innkeeper.disks.look import opened_to_look
from innkeeper.disks.named_files import NamedFiles, named_files

#: Formats whose header names other files, by the words of definitions and headers.
_NAMING = {kind.value: kind for kind in OTHER_FORMATS.values()}
_MARKS = {b"QED\0": "qed", **{mark: kind.value for mark, kind in OTHER_FORMATS.items()}}
#: More files than any image is completed by.
_MOST_FILES = 4096


def first_outside(
    path: str, image_format: str, folders: Sequence[str | os.PathLike[str]], known: Sequence[str] = ()
) -> str:
    """Return the first file or address outside of the folders that an image leads to; empty for none.

    Links are followed. ``known``: those that somebody else has named, and so may lie anywhere. What cannot be
    read by this user names nothing here: whoever made it can read more than its guest. Raises ``DiskError``
    for what is no image.
    """
    ends = [os.path.realpath(folder) for folder in folders]
    waiting, seen = [Base(source=path, format=image_format or "raw")], {path}
    while waiting:
        image = waiting.pop()
        for base in _named(image):
            if base.source in seen:
                continue
            seen.add(base.source)
            is_allowed = base.source in known or _is_inside(base.source, ends)
            if not is_allowed or len(seen) > _MOST_FILES:
                return base.source
            if base.source.startswith("/"):
                waiting.append(base)
    return ""


def _is_inside(source: str, ends: Sequence[str]) -> bool:
    """Whether a path, or the socket of an address, lies in one of the folders."""
    if source.startswith("nbd+unix:"):
        source = parse_qs(urlsplit(source).query).get("socket", [""])[0]
    if not source.startswith("/"):
        return False
    return any(Path(os.path.realpath(source)).is_relative_to(end) for end in ends)


def _named(image: Base) -> list[Base]:
    """What an image names itself. One whose format nobody says has that of its mark, as QEMU would find."""
    try:
        with (
            opened_to_look(image.source) as opened,
            ImageFile(os.dup(opened.fileno()), Path(image.source), writable=False) as file,
        ):
            start = file.pread(32, 0)
            found = image.format or next(
                (kind for mark, kind in _MARKS.items() if start.startswith(mark)), ""
            )
            if found == "qed":
                return bases_of(Path(image.source))
            named = named_files(file, _NAMING[found]) if found in _NAMING else NamedFiles()
    except OSError:
        return []
    below = named_bases(image.source, named.backing, named.backing_format) if named.backing else []
    return [*below, *(base for name in named.data for base in named_bases(image.source, name, "raw"))]
