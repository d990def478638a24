"""Clear away what killed programs have left of unfinished images.

What is unfinished has a name that nobody else gives, and is held by a lock for as long as its program lives.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import stat
import time
import uuid
from collections.abc import Iterator

from innkeeper.disks.lock import Hold, hold
from innkeeper.errors import DiskError

_PREFIX, _SUFFIX = ".innkeeper-", ".partial"
#: As they are named now, and as former releases named folders.
_OURS = re.compile(rf"{re.escape(_PREFIX)}([0-9a-f]{{32}}|[a-z0-9_]{{8}}){re.escape(_SUFFIX)}")
#: What is younger may not be locked yet by who made it.
_YOUNGEST_SECONDS = 60
#: A file system may know no locks; nobody waits so long between two writes.
_YOUNGEST_FILE_SECONDS = 24 * 3600


def unfinished_name() -> str:
    """Return a name that nothing else has, for an image until it is whole."""
    return f"{_PREFIX}{uuid.uuid4().hex}{_SUFFIX}"


def clear_leftovers(folder: int) -> None:
    """Remove from an open folder what nobody holds any more."""
    for name in filter(_OURS.fullmatch, os.listdir(folder)):
        with contextlib.suppress(OSError, DiskError):
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            age = time.time() - status.st_mtime
            if status.st_uid != os.geteuid():
                continue
            if stat.S_ISDIR(status.st_mode) and age > _YOUNGEST_SECONDS:
                with locked(name, folder):
                    shutil.rmtree(name, ignore_errors=True, dir_fd=folder)
            elif stat.S_ISREG(status.st_mode) and age > _YOUNGEST_FILE_SECONDS:
                _remove_file(name, folder)


def _remove_file(name: str, folder: int) -> None:
    descriptor = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    try:
        hold(descriptor, name, Hold.WRITE)
        os.unlink(name, dir_fd=folder)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(name: str, folder: int) -> Iterator[int]:
    """Hold a folder in another one, open; raises ``OSError`` where another process does."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(name, flags, dir_fd=folder)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield descriptor
    finally:
        os.close(descriptor)
