"""Read and write small files of ours beside an image, leaving alone what others put under such a name."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from innkeeper.disks.leftovers import unfinished_name
from innkeeper.disks.oserror import adapted, disk_error
from innkeeper.disks.paths import sync_folder
from innkeeper.errors import DiskError, ErrorCode


def read_side_file(path: Path, longest: int) -> bytes | None:
    """Read a file of at most that many bytes; ``None`` where there is none.

    Never waits. Raises ``DiskError`` where it is no plain file or cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as exc:
        if exc.errno == errno.ELOOP:
            raise in_the_way(path) from exc
        raise disk_error(exc, path) from exc
    with os.fdopen(descriptor, "rb") as stream, adapted(path):
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise in_the_way(path)
        return stream.read(longest)


def replace_side_file(path: Path, data: bytes) -> None:
    """Write a file durably, all of it or none, over one of ours."""
    # A name that nobody else has: a file of the user's is never in the way.
    draft = path.with_name(unfinished_name())
    with adapted(path):
        try:
            with draft.open("xb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            draft.replace(path)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def in_the_way(path: Path) -> DiskError:
    """Refuse to touch what is not ours."""
    return DiskError(
        f"{path}: a file with this name, which Innkeeper needs for itself, is in the way.",
        path=str(path),
        code=ErrorCode.ERROR_ALREADY_EXISTS,
        advice="Move it to another place, and try again.",
    )
