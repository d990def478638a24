"""Keep what an export's maps say in memory, so that a kill of the export loses no write.

A write that a client was told of is in the host's page cache, and there it stays when the process is
killed. The table and the bitmaps that lead to it are in the process's memory until the next flush. A guest
that runs on would flush after the kill, and take for stored what nobody can find. So each change of the maps
goes to a file beside the image first, which is of use until the host itself restarts: then the guest has
ended too, and what it had not flushed it may lose.
"""

from __future__ import annotations

import contextlib
import os
import struct
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from innkeeper.disks.oserror import adapted

SUFFIX = ".maps"
_MAGIC = b"IKMAPS1\n"
_HEAD = struct.Struct(">8s36s16s")
_RECORD = struct.Struct(">BIII")
_CLAIM, _MARK = 1, 2
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Claim(NamedTuple):
    """A block that got room, at a sector of the file."""

    block: int
    sector: int


class Marked(NamedTuple):
    """Sectors of a block that were written: from the first up to the last, which is not among them."""

    block: int
    first: int
    last: int


class MapJournal:
    """The file beside an image, open for appending."""

    def __init__(self, image: Path, identity: uuid.UUID) -> None:
        self._path = journal_path(image)
        with adapted(self._path):
            self._descriptor = os.open(
                self._path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600
            )
            os.write(self._descriptor, _HEAD.pack(_MAGIC, _boot_id(), identity.bytes))
        self._is_clear = True

    def claim(self, block: int, sector: int) -> None:
        """Write down that a block got room."""
        self._append(_RECORD.pack(_CLAIM, block, sector, 0))

    def mark(self, block: int, first: int, last: int) -> None:
        """Write down that sectors were written."""
        self._append(_RECORD.pack(_MARK, block, first, last))

    def clear(self) -> None:
        """Forget all: the image itself has it, durably."""
        if not self._is_clear:
            with adapted(self._path):
                os.ftruncate(self._descriptor, _HEAD.size)
            self._is_clear = True

    def close(self) -> None:
        """Let go of the file; where nothing is in it, it goes."""
        if self._descriptor >= 0:
            if self._is_clear:
                self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1

    def _append(self, record: bytes) -> None:
        self._is_clear = False
        with adapted(self._path):
            os.write(self._descriptor, record)


def read(image: Path, identity: uuid.UUID) -> Iterator[Claim | Marked]:
    """Read what a killed export has left for this image since the host was started, in order."""
    try:
        data = journal_path(image).read_bytes()
    except OSError:
        return
    if len(data) < _HEAD.size or _HEAD.unpack_from(data) != (_MAGIC, _boot_id(), identity.bytes):
        return
    # The last record may be cut short: its change was told to nobody.
    whole = (len(data) - _HEAD.size) // _RECORD.size * _RECORD.size
    for kind, block, one, two in _RECORD.iter_unpack(data[_HEAD.size : _HEAD.size + whole]):
        if kind == _CLAIM:
            yield Claim(block, one)
        elif kind == _MARK:
            yield Marked(block, one, two)


def remove(image: Path) -> None:
    """Forget what was left: the image itself has it, durably."""
    with contextlib.suppress(OSError):
        journal_path(image).unlink()


def journal_path(image: Path) -> Path:
    """Name the file beside the image, by the file and not by a link to it."""
    real = Path(os.path.realpath(image))
    return real.with_name(real.name[: 250 - len(SUFFIX)] + SUFFIX)


def _boot_id() -> bytes:
    return _BOOT_ID.read_bytes().strip()[:36].ljust(36, b"\0")
