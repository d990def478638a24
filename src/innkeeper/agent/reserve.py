"""Keep a little room on the disk, so that an update that fills it can still tell how it ended."""

import errno
import os
from typing import Callable

_BYTES = 512 * 1024
_FULL = (errno.ENOSPC, errno.EDQUOT)


def hold(path: str) -> None:
    """Take the room; on a disk that is full already there is none."""
    try:
        with open(path, "wb") as file:
            file.write(os.urandom(_BYTES))  # what compresses, or is a hole, takes no room
    except OSError:
        pass


def write_into(path: str, write: Callable[[], None]) -> None:
    """Write; on a full disk once more, into the room that was kept. Raises ``OSError``."""
    try:
        write()
    except OSError as error:
        if not is_full(error) or not os.path.exists(path):
            raise
        os.unlink(path)
        write()


def is_full(error: OSError) -> bool:
    """Whether a disk has no room left."""
    return error.errno in _FULL
