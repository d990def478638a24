"""Folders in which the files that an image names may lie: its parents, and theirs.

An image may come from anywhere, and the paths in it are whatever its maker wrote. Work that is confined opens
a file that an image names only where it lies in one of these folders, links followed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

from innkeeper.disks.oserror import adapted
from innkeeper.errors import DiskError, ErrorCode


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Folders:
    """The folders in which named files may lie, and the advice that a refusal gives."""

    folders: tuple[Path, ...]
    #: What they are, after "out of".
    what: str
    #: What follows the folders in the advice; the folder of the file stands there for ``FOLDER``.
    advice: str

    def hold(self, end: str | os.PathLike[str]) -> bool:
        """Return whether a path without links lies in one of the folders."""
        return any(Path(end).is_relative_to(os.path.realpath(folder)) for folder in self.folders)

    def refusal(self, path: str, sentence: str = "") -> DiskError:
        """Build the error for a path that leads out of the folders."""
        named = ", ".join(map(str, self.folders)) or "none"
        return DiskError(
            f"{sentence or path}: the path leads out of {self.what}.",
            path=path,
            code=ErrorCode.ERROR_BAD_PATHNAME,
            advice=f"They are: {named}" + self.advice.replace("FOLDER", shlex.quote(os.path.dirname(path))),  # noqa: PTH120 - as it is given
        )


_allowed: ContextVar[Folders | None] = ContextVar("allowed folders", default=None)


@contextlib.contextmanager
def only_within(folders: Folders) -> Iterator[None]:
    """Confine the work done meanwhile: an image's parents are opened in these folders alone."""
    before = _allowed.set(folders)
    try:
        yield
    finally:
        _allowed.reset(before)


def refused(named: Path, by: Path) -> DiskError | None:
    """Return the error for a file that an image names and that may not be opened, else ``None``."""
    folders = _allowed.get()
    if folders is None or folders.hold(os.path.realpath(named)):
        return None
    return folders.refusal(str(named), f"{by}: its parent {named}")


def check_opened(descriptor: int, path: Path) -> None:
    """Refuse an open file or folder that lies elsewhere than its path told before: it was swapped."""
    folders = _allowed.get()
    if folders is None:
        return
    with adapted(path):
        # The kernel's own word for what it opened.
        end = Path(f"/proc/self/fd/{descriptor}").readlink()
    if not folders.hold(end):
        raise folders.refusal(str(path))


def beside_named(*paths: Path, others: tuple[Path, ...] = ()) -> Folders:
    """Return the folders of files that a person named on a command line, and others that they allowed."""
    found = dict.fromkeys(
        folder for path in paths for folder in (path.parent, Path(os.path.realpath(path)).parent)
    )
    return Folders(
        folders=(*found, *others),
        what="the folders of the files that were named",
        advice=". If it belongs to the disk, allow its folder: innkeeper disk --within FOLDER …",
    )
