"""Reach a folder by a path that leaves room for the names of sockets."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from innkeeper.errors import ErrorCode, InvalidArgument

#: A Unix socket's path on Linux, in bytes.
LONGEST_SOCKET_PATH = 107


def short_socket_path(folder: Path, longest: int, *, letters: int = 12) -> Path:
    """The folder where its path has at most ``longest`` bytes, else a link to it that has.

    The link lies in the user's runtime directory, under ``letters`` of its target's digest: each start
    finds the same one. Raises ``InvalidArgument`` where even that is too long, or the directory is not this
    user's alone.
    """
    if len(os.fsencode(folder)) <= longest:
        return folder
    link = _runtime_directory() / hashlib.sha256(os.fsencode(folder)).hexdigest()[:letters]
    if len(os.fsencode(link)) > longest:
        raise InvalidArgument(
            f"The directory {folder} is too long a path for the sockets in it.",
            advice=f"Choose a state directory of at most {longest - len(folder.name) - 1} characters.",
        )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (link.is_symlink() and link.readlink() == folder):
        link.unlink(missing_ok=True)
        link.symlink_to(folder)
    return link


def _runtime_directory() -> Path:
    """A directory that is this user's alone, with a short path."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    directory = Path(runtime) / "inn" if runtime else Path(f"/tmp/inn-{os.getuid()}")  # noqa: S108 - see below
    directory.mkdir(mode=0o700, exist_ok=True)
    found = directory.lstat()
    # Anybody may make a directory of this name in /tmp: one that is not ours leads to somebody else's disks.
    if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o022:
        raise InvalidArgument(
            f"{directory} is not this user's alone, so nothing is put there.",
            code=ErrorCode.E_ACCESSDENIED,
            advice="Remove it, or set XDG_RUNTIME_DIR.",
        )
    return directory
