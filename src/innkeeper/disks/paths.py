"""Check paths of disk images by the documented rules, as far as they make sense on Linux.

Virtual PC wants absolute paths under 260 characters without ``*?:<>/|"``. Here a path may be relative to
the working folder and hold what Linux allows; what is refused is refused with the documented identifiers.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from innkeeper.disks.oserror import adapted
from innkeeper.errors import DiskError, ErrorCode

LONGEST_NAME = 255
LONGEST_PATH = 4095


def image_path(path: str | os.PathLike[str]) -> Path:
    """Make a path absolute; raises ``DiskError`` for one that no file can have."""
    text = os.fspath(path)
    if not text or "\0" in text:
        raise DiskError(
            "A disk image needs a name, and no zero byte in it.",
            path=text,
            code=ErrorCode.ERROR_INVALID_NAME,
            advice="Give the path of a file.",
        )
    absolute = Path(os.path.abspath(text))  # noqa: PTH100 - keeps symbolic links, takes ".." away
    if len(os.fsencode(absolute)) > LONGEST_PATH or len(os.fsencode(absolute.name)) > LONGEST_NAME:
        raise DiskError(
            f"{absolute.name[:40]}…: the path is too long.",
            path=text,
            code=ErrorCode.ERROR_BUFFER_OVERFLOW,
            advice=f"A name has at most {LONGEST_NAME} bytes, a path {LONGEST_PATH}.",
        )
    return absolute


def new_image_path(path: str | os.PathLike[str]) -> Path:
    """Check the path of an image to be made, and make its folder; nothing may be there yet."""
    target = image_path(path)
    if target.exists() or target.is_symlink():
        raise already_there(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as exc:
        raise DiskError(
            f"{target.parent}: the folder cannot be made, a file is in its way.",
            path=str(target),
            code=ErrorCode.ERROR_PATH_NOT_FOUND,
            advice="Choose another folder.",
        ) from exc
    except OSError as exc:
        with adapted(target):
            raise exc
    return target


def already_there(path: Path) -> DiskError:
    """Refuse to write over a file."""
    return DiskError(
        f"{path}: the file is there already.",
        path=str(path),
        code=ErrorCode.ERROR_ALREADY_EXISTS,
        advice="Choose another name, or remove the file.",
    )


def shell(path: Path) -> str:
    """Write a path for a command line that is to be copied."""
    return shlex.quote(os.fspath(path))


def check_folder(folder: Path) -> None:
    """Refuse a folder in which no file can be made or removed; raises E_ACCESSDENIED."""
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DiskError(
            f"{folder}: the folder cannot be written.",
            path=str(folder),
            code=ErrorCode.E_ACCESSDENIED,
            advice="Check the owner and mode of the folder.",
        )


def sync_folder(folder: Path) -> None:
    """Make names, renames and removals in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def beside(image: Path, suffix: str) -> Path:
    """Name a file of ours beside an image, by the image's file and not by a link to it, cut to what fits."""
    real = os.path.realpath(image)
    folder, name = os.path.split(real)
    room = LONGEST_NAME - len(os.fsencode(suffix)) - len(".new")
    return Path(folder, os.fsdecode(os.fsencode(name)[:room]) + suffix)
