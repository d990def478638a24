"""Hidden folders in which another program writes a file until it is whole and gets its name.

It lies in a folder of our own beside the target, so a file of the user's is never in the way. What a kill has
left of another one is cleared away.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from innkeeper.disks.draft import PREFIX, SUFFIX
from innkeeper.disks.oserror import adapted
from innkeeper.disks.paths import already_there, sync_folder
from innkeeper.errors import DiskError, ErrorCode

#: A folder that is younger may not be locked yet by who made it.
_YOUNGEST_SECONDS = 60


@contextlib.contextmanager
def private_place(target: Path) -> Iterator[Path]:
    """Yield a path for a new file, with the target's name; removed at the end with all that is there."""
    with adapted(target):
        _clear_left(target.parent)
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, suffix=SUFFIX, dir=target.parent))
    try:
        with _locked(folder):
            yield folder / target.name
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(made: Path, target: Path, *, replace: bool = False) -> None:
    """Store a file durably and give it its name; raises ERROR_ALREADY_EXISTS where that is taken."""
    try:
        with adapted(target):
            with made.open("rb") as stream:
                os.fsync(stream.fileno())
            if replace:
                made.replace(target)
            else:
                os.link(made, target)
            sync_folder(target.parent)
    except DiskError as exc:
        if exc.code == ErrorCode.ERROR_ALREADY_EXISTS:
            raise already_there(target) from exc
        raise


def _clear_left(parent: Path) -> None:
    """Remove the folders of killed programs: nobody holds their locks."""
    for folder in parent.glob(f"{PREFIX}*{SUFFIX}"):
        with contextlib.suppress(OSError):
            found = folder.lstat()
            is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
            if is_ours and time.time() - found.st_mtime > _YOUNGEST_SECONDS:
                with _locked(folder):
                    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder; raises ``OSError`` where another process does."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
