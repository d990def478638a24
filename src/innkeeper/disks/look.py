"""Open a file that a definition or an image names, for a look at its content."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

from innkeeper.errors import DiskError, ErrorCode

#: What is found in place of an image.
_NO_IMAGES = (
    (stat.S_ISBLK, "a block device"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISDIR, "a folder"),
)


@contextlib.contextmanager
def opened_to_look(path: str | os.PathLike[str]) -> Iterator[BufferedReader]:
    """Open a regular file or a block device for reading, without a lock; never waits for another program.

    A pipe would keep its reader until somebody writes to it, which may be never. Raises ``DiskError`` for
    what is no image, and ``OSError`` as ``open`` does.
    """
    # Looked at twice: to open some devices is to use them, and the path may be swapped meanwhile.
    _refuse_no_image(os.stat(path).st_mode, path)  # noqa: PTH116 - a path in whatever form
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        _refuse_no_image(os.fstat(file.fileno()).st_mode, path)
        yield file


def no_image(mode: int, path: str | os.PathLike[str]) -> DiskError:
    """Build the error for something that lies where an image should."""
    what = next((name for is_one, name in _NO_IMAGES if is_one(mode)), "no regular file")
    return DiskError(
        f"{Path(path)}: it is {what}, not an image file.",
        path=str(path),
        code=ErrorCode.VM_E_INVALID_HD_FILE,
        advice="Name a disk image.",
    )


def _refuse_no_image(mode: int, path: str | os.PathLike[str]) -> None:
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        raise no_image(mode, path)
