"""Journal the changes of an export's maps, so that a killed export loses no write.

A write that a client was told of is in the host's page cache, and there it stays when the process is
killed. The table and the bitmaps that lead to it are in the process's memory until the next flush. A guest
that runs on would flush after the kill, and take for stored what nobody can find. So each change of the maps
goes to a file beside the image first, which is of use until the host itself restarts: then the guest has
ended too, and what it had not flushed it may lose.

The file is true of one image in one state. The image has a note of the export in its footer, with a count of
its flushes, and the file begins with the same: one restored from a backup has another note or none. Nor is
the file believed where the image is another file, shorter, or was last written long before it.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import struct
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from innkeeper.disks.mark import NOBODY
from innkeeper.disks.oserror import adapted
from innkeeper.disks.paths import beside
from innkeeper.disks.side_files import in_the_way, read_side_file
from innkeeper.errors import DiskError

SUFFIX = ".maps"
_MAGIC = b"IKMAPS2\n"
#: Boot, identity, token, flushes, device, inode, length.
_HEAD = struct.Struct(">8s36s16s16sQQQQ")
#: As former releases begin it: without what ties it to the state of the image.
_FORMER_MAGIC = b"IKMAPS1\n"
_FORMER_HEAD = struct.Struct(">8s36s16s")
#: How much later than the image the file may have been written: a write comes first, and what tells of it
#: at once after it.
_LATEST_NS = 10_000_000_000
_RECORD = struct.Struct(">BIII")
_CLAIM, _MARK = 1, 2
#: More than the changes between two flushes ever take.
_LONGEST = 1 << 30
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Session(NamedTuple):
    """The state of an image that a journal speaks of."""

    identity: uuid.UUID
    #: Of the note in its footer, and how many flushes it counts.
    token: uuid.UUID
    number: int
    device: int
    inode: int
    length: int
    modified_ns: int

    @property
    def head(self) -> bytes:
        """The beginning of a journal for this session."""
        return _HEAD.pack(
            _MAGIC, _boot_id(), self.identity.bytes, self.token.bytes,
            self.number, self.device, self.inode, self.length,
        )  # fmt: skip


class Claim(NamedTuple):
    """A block that was given room, at a sector of the file."""

    block: int
    sector: int


class Marked(NamedTuple):
    """Sectors of a block that were written, from ``first`` up to but without ``last``."""

    block: int
    first: int
    last: int


class MapJournal:
    """The file beside an image, open for appending."""

    def __init__(self, image: Path) -> None:
        self._path = journal_path(image)
        if not _is_ours(read_side_file(self._path, len(_MAGIC)) or b""):
            raise in_the_way(self._path)
        with adapted(self._path):
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            self._descriptor = os.open(self._path, flags, 0o600)
        self._end = 0
        self._session: tuple[object, ...] = ()

    def begin(self, session: Session) -> None:
        """Empty the journal: the image itself has all of its changes, durably.

        The head is written over the former one, which takes no room. The records that are behind it until the
        file is cut change nothing: all of them are in the image.
        """
        if self._end != _HEAD.size or self._session != session[:3]:
            self._write(session.head, 0)
            with adapted(self._path):
                os.ftruncate(self._descriptor, _HEAD.size)
            self._end, self._session = _HEAD.size, session[:3]

    def claim(self, block: int, sector: int) -> None:
        """Record that a block was given room."""
        self._append(_RECORD.pack(_CLAIM, block, sector, 0))

    def mark(self, block: int, first: int, last: int) -> None:
        """Record that sectors were written."""
        self._append(_RECORD.pack(_MARK, block, first, last))

    def remove(self) -> None:
        """Remove the file: the image itself has all of its changes."""
        with adapted(self._path):
            self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _append(self, record: bytes) -> None:
        self._write(record, self._end)
        self._end += len(record)

    def _write(self, data: bytes, offset: int) -> None:
        """Write all of the data or raise: behind a record that is cut short no other could be read."""
        with adapted(self._path):
            if os.pwrite(self._descriptor, data, offset) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _is_ours(start: bytes) -> bool:
    """Return whether a file begins as a journal does, or is empty, as a loss of power may leave it."""
    return start in {_MAGIC, _FORMER_MAGIC} or not start.strip(b"\0")


def read(image: Path, session: Callable[[], Session]) -> Iterator[Claim | Marked]:
    """Read the journal of a killed export for this state of the image since the host's start, in order."""
    try:
        data = read_side_file(path := journal_path(image), _LONGEST)
        written_ns = path.lstat().st_mtime_ns
    except (DiskError, OSError):
        return
    if not data:
        return
    found = session()
    head = _head_size(data, found)
    if not head or written_ns - found.modified_ns > _LATEST_NS:
        return
    # The last record may be cut short: its change was told to nobody.
    whole = (len(data) - head) // _RECORD.size * _RECORD.size
    for kind, block, one, two in _RECORD.iter_unpack(data[head : head + whole]):
        if kind == _CLAIM:
            yield Claim(block, one)
        elif kind == _MARK:
            yield Marked(block, one, two)


def _head_size(data: bytes, found: Session) -> int:
    """The size of the head where it belongs to this state of the image, else 0."""
    if data.startswith(_MAGIC) and len(data) >= _HEAD.size:
        length = _HEAD.unpack_from(data)[-1]
        is_ours = found.token != NOBODY and found.length >= length
        return _HEAD.size if is_ours and data.startswith(found._replace(length=length).head) else 0
    former = _FORMER_HEAD.pack(_FORMER_MAGIC, _boot_id(), found.identity.bytes)
    return _FORMER_HEAD.size if found.token == NOBODY and data.startswith(former) else 0


def remove(image: Path) -> None:
    """Remove a leftover journal: the image itself has all of its changes, durably."""
    with contextlib.suppress(OSError):
        journal_path(image).unlink()


def journal_path(image: Path) -> Path:
    """Name the file beside the image, by the file and not by a link to it."""
    return beside(image, SUFFIX)


@functools.cache
def _boot_id() -> bytes:
    """Read it once: a confined program may open the file that was there when it began, and no later one."""
    return BOOT_ID.read_bytes().strip()[:36].ljust(36, b"\0")
