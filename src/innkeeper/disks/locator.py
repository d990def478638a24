"""Write a parent's path in the forms that other readers know, and find the parent again.

A child names its parent's file up to eight times: for Windows relative to itself (``W2ru``) and absolute
(``W2ku``), for Unix as a URL (``MacX``, which XenServer uses too), in two old forms (``Wi2r``, ``Wi2k``),
and once more by the name in the header. A path found there is only a hint from a file that may be hostile:
what it leads to counts as the parent when its identity is the one the child asks for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath
from urllib.parse import unquote

from innkeeper.disks.file import ImageFile
from innkeeper.disks.geometry import SECTOR
from innkeeper.disks.header import Header, LocatorEntry

WINDOWS_RELATIVE = b"W2ru"
WINDOWS_ABSOLUTE = b"W2ku"
OLD_RELATIVE = b"Wi2r"
OLD_ABSOLUTE = b"Wi2k"
UNIX_URL = b"MacX"
#: The forms, the most telling first: folders move together, so what is relative holds longer.
ORDER = (WINDOWS_RELATIVE, UNIX_URL, WINDOWS_ABSOLUTE, OLD_RELATIVE, OLD_ABSOLUTE)
ENCODINGS = {
    WINDOWS_RELATIVE: "utf-16-le",
    WINDOWS_ABSOLUTE: "utf-16-le",
    UNIX_URL: "utf-8",
    OLD_RELATIVE: "latin-1",
    OLD_ABSOLUTE: "latin-1",
}
LONGEST = 64 << 10
LONGEST_PATH = 4095
_SCHEME = "file://"


def encode(child: Path, parent: Path, offset: int) -> tuple[tuple[LocatorEntry, ...], bytes]:
    """Write the parent's path in three forms: the header's entries, and the bytes to put at ``offset``."""
    relative = os.path.relpath(parent, child.parent).replace("/", "\\")
    forms = {
        WINDOWS_RELATIVE: (".\\" + relative).encode("utf-16-le", "surrogatepass"),
        WINDOWS_ABSOLUTE: os.fspath(parent).encode("utf-16-le", "surrogatepass"),
        UNIX_URL: _SCHEME.encode() + os.fsencode(parent),
    }
    entries, data = [], b""
    for platform, text in forms.items():
        space = -(-len(text) // SECTOR) * SECTOR
        entries.append(
            LocatorEntry(platform=platform, space=space, length_bytes=len(text), offset=offset + len(data))
        )
        data += text.ljust(space, b"\0")
    return tuple(entries), data


def candidates(file: ImageFile, header: Header) -> list[Path]:
    """List where the parent may be, the likeliest first."""
    folders = dict.fromkeys([file.path.parent, Path(os.path.realpath(file.path)).parent])
    found: dict[Path, None] = {}
    for platform, text in [*_texts(file, header), (WINDOWS_RELATIVE, header.parent_name)]:
        for folder in folders:
            found.update(dict.fromkeys(_paths(platform, text, folder)))
    return list(found)


def _texts(file: ImageFile, header: Header) -> Iterator[tuple[bytes, str]]:
    """Read the locators, in the order of ``ORDER``."""
    for platform in ORDER:
        for entry in header.locators:
            if entry.platform == platform and 0 < entry.length_bytes <= LONGEST and entry.offset < file.size:
                data = file.pread(entry.length_bytes, entry.offset)
                yield platform, _decode(platform, data)


def _decode(platform: bytes, data: bytes) -> str:
    errors = "surrogateescape" if platform == UNIX_URL else "surrogatepass"
    encoding = ENCODINGS[platform]
    if encoding == "utf-16-le":
        data = data[: len(data) // 2 * 2]
    try:
        return data.decode(encoding, errors).split("\0", 1)[0]
    except UnicodeDecodeError:
        return data.decode(encoding, "replace").split("\0", 1)[0]


def _paths(platform: bytes, text: str, folder: Path) -> Iterator[Path]:
    if not text:
        return
    if platform == UNIX_URL:
        for form in (text.removeprefix(_SCHEME), unquote(text.removeprefix(_SCHEME))):
            yield from _placed(form, folder)
        return
    if text.startswith("/"):
        yield from _placed(text, folder)
    windows = PureWindowsPath(text)
    if not windows.drive:
        yield from _placed(windows.as_posix(), folder)
    elif windows.name:
        # A drive means nothing here, but disks that moved to this host often lie side by side.
        yield from _placed(windows.name, folder)


def _can_be_a_path(text: str) -> bool:
    """Return whether a file of the host can have this name; half a character of UTF-16 cannot."""
    try:
        return len(os.fsencode(text)) <= LONGEST_PATH
    except UnicodeEncodeError:
        return False


def _placed(text: str, folder: Path) -> Iterator[Path]:
    if text.rstrip("/.") == "" or not _can_be_a_path(text):
        return
    yield Path(os.path.normpath(folder / text))
    if text.startswith("/"):
        yield folder / Path(text).name
