"""Write cpio archives as the kernel unpacks them (newc), the same bytes each time."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_MAGIC = b"070701"
_TRAILER = "TRAILER!!!"


def write_tree(root: Path, out: BinaryIO) -> None:
    """Write everything under ``root``, owned by root, without times."""
    for inode, path in enumerate(_sorted_tree(root), start=1):
        status = path.lstat()
        name = str(path.relative_to(root))
        _write_entry(out, inode, name, _normal_mode(status.st_mode), _content(path, status.st_mode))
    _write_entry(out, 0, _TRAILER, 0, b"")


def _sorted_tree(root: Path) -> Iterator[Path]:
    for directory, names, files in os.walk(root):
        names.sort()
        links = [name for name in names if (Path(directory) / name).is_symlink()]
        yield from (Path(directory) / name for name in sorted([*files, *links]))
        yield from (Path(directory) / name for name in names if name not in links)


def _normal_mode(mode: int) -> int:
    """The umask of whoever builds has no say in the archive."""
    if stat.S_ISLNK(mode):
        return stat.S_IFLNK | 0o777
    if stat.S_ISDIR(mode) or mode & 0o100:
        return stat.S_IFMT(mode) | 0o755
    return stat.S_IFMT(mode) | 0o644


def _content(path: Path, mode: int) -> bytes:
    if stat.S_ISLNK(mode):
        return str(path.readlink()).encode()
    return path.read_bytes() if stat.S_ISREG(mode) else b""


def _write_entry(out: BinaryIO, inode: int, name: str, mode: int, content: bytes) -> None:
    encoded = name.encode() + b"\0"
    fields = (inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(encoded), 0)
    header = _MAGIC + b"".join(b"%08x" % field for field in fields)
    out.write(_padded(header + encoded))
    out.write(_padded(content))


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
