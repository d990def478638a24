"""Hidden folders in which another program writes a file until it is whole and gets its name.

It lies in a folder of our own beside the target, so a file of the user's is never in the way. All folders are
held open: nothing that takes their place meanwhile leads the file elsewhere.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from innkeeper.disks.allowed import check_opened
from innkeeper.disks.leftovers import clear_leftovers, locked, unfinished_name
from innkeeper.disks.oserror import adapted
from innkeeper.disks.paths import already_there
from innkeeper.errors import DiskError, ErrorCode


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PrivatePlace:
    """A place for one new file, and for its name when it is whole."""

    target: Path
    #: The file.
    path: Path
    #: The folder of the target, and the private one in it, both open.
    outside: int
    folder: int

    @property
    def inherited(self) -> Path:
        """The file for a program that gets the descriptor of the private folder."""
        return Path(f"/proc/self/fd/{self.folder}", self.target.name)

    def publish(self, *, replace: bool = False) -> None:
        """Store the file durably and give it its name; raises ERROR_ALREADY_EXISTS where that is taken."""
        name = self.target.name
        try:
            with adapted(self.target):
                _sync(name, self.folder)
                if replace:
                    os.replace(name, name, src_dir_fd=self.folder, dst_dir_fd=self.outside)
                else:
                    os.link(
                        name, name, src_dir_fd=self.folder, dst_dir_fd=self.outside, follow_symlinks=False
                    )
                os.fsync(self.outside)
        except DiskError as exc:
            if exc.code == ErrorCode.ERROR_ALREADY_EXISTS:
                raise already_there(self.target) from exc
            raise


@contextlib.contextmanager
def private_place(target: Path) -> Iterator[PrivatePlace]:
    """Yield a place for a new file with the target's name; removed at the end with all that is there."""
    name = unfinished_name()
    with contextlib.ExitStack() as stack:
        with adapted(target):
            outside = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, outside)
            check_opened(outside, target)
            clear_leftovers(outside)
            os.mkdir(name, 0o700, dir_fd=outside)
            stack.callback(shutil.rmtree, name, ignore_errors=True, dir_fd=outside)
            folder = stack.enter_context(locked(name, outside))
        path = target.with_name(name) / target.name
        yield PrivatePlace(target=target, path=path, outside=outside, folder=folder)


def _sync(name: str, folder: int) -> None:
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
