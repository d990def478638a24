"""Lock a disk image against other programs, in the way that QEMU does.

QEMU tells what it does to an image, and what it lets others do, by shared locks on single bytes of the
file (see its ``block/file-posix.c``): byte 100 + n is locked by whoever uses permission n, byte 200 + n by
whoever lets nobody else use it. Speaking the same way, a disk of a running machine is refused here, and a
disk that is changed here is refused by QEMU. The locks belong to the open file, so they end with the process
whatever kills it.
"""

from __future__ import annotations

import enum
import errno
import fcntl
import os
import struct

from innkeeper.errors import DiskError, ErrorCode

USES = 100
DENIES = 200
#: A byte that QEMU leaves alone: locked by whoever merges the image.
MERGES = 300

_FLOCK = struct.Struct("@hhqqi")


class Permission(enum.IntEnum):
    """The uses of an image that QEMU's locks distinguish."""

    #: Read it and rely on what was read.
    CONSISTENT_READ = 0
    #: Change what is in it.
    WRITE = 1
    #: Change its length.
    RESIZE = 3


class Hold(enum.Enum):
    """A way to lock an image: the uses it makes, and those it forbids to others."""

    #: Read it; nobody may write.
    READ = ((Permission.CONSISTENT_READ,), (Permission.WRITE, Permission.RESIZE))
    #: Write it; nobody may read or write.
    WRITE = (
        (Permission.CONSISTENT_READ, Permission.WRITE, Permission.RESIZE),
        (Permission.CONSISTENT_READ, Permission.WRITE, Permission.RESIZE),
    )


def hold(descriptor: int, path: str, how: Hold) -> None:
    """Lock the image for as long as the file is open; raises ``DiskError`` (ERROR_SHARING_VIOLATION).

    Lock first and look afterwards: of two that come at the same moment at least one sees the other.
    """
    uses, denies = how.value
    for byte in [USES + use for use in uses] + [DENIES + deny for deny in denies]:
        if not _share(descriptor, byte):
            return
    if any(_is_taken(descriptor, DENIES + use) for use in uses) or any(
        _is_taken(descriptor, USES + deny) for deny in denies
    ):
        raise DiskError(
            f"{path}: the disk is in use by another program or a running machine.",
            path=path,
            code=ErrorCode.ERROR_SHARING_VIOLATION,
            advice="Stop the machine or wait for the other operation, then try again.",
        )


def hold_for_merging(descriptor: int, path: str) -> None:
    """Lock an image that is open for writing against a second merge; raises ERROR_SHARING_VIOLATION.

    It holds for as long as anybody has the open file, the processes included that were given it. Where the
    file system knows no locks, nothing is locked.
    """
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, MERGES, 1, 0))
    except OSError as exc:
        if exc.errno in {errno.EINVAL, errno.ENOLCK, errno.EOPNOTSUPP}:
            return
        raise DiskError(
            f"{path}: another program merges this disk.",
            path=path,
            code=ErrorCode.ERROR_SHARING_VIOLATION,
            advice="Wait for it, then try again.",
        ) from exc


def is_written(descriptor: int) -> bool:
    """Return whether another program writes to the image; nothing is locked for it."""
    try:
        return any(_is_taken(descriptor, USES + use) for use in (Permission.WRITE, Permission.RESIZE))
    except OSError as exc:
        if exc.errno in {errno.EINVAL, errno.ENOLCK, errno.EOPNOTSUPP}:
            return False
        raise


def _share(descriptor: int, byte: int) -> bool:
    """Take a shared lock on one byte; returns false where the file system knows no locks."""
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, byte, 1, 0))
    except OSError as exc:
        if exc.errno in {errno.EINVAL, errno.ENOLCK, errno.EOPNOTSUPP}:
            return False
        raise
    return True


def _is_taken(descriptor: int, byte: int) -> bool:
    """Return whether another process holds a lock on one byte."""
    answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0))
    return bool(_FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)
