"""Keep the service's hands on the folders that its settings name.

A path may lead out of a folder by "..", by a symbolic link, or through the parent that an image names.
Each path is followed to its end first, and refused where that lies elsewhere.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from innkeeper.disks.chain import open_chain
from innkeeper.disks.oserror import adapted
from innkeeper.disks.paths import image_path
from innkeeper.errors import DiskError, ErrorCode

#: What a file that is listed as a disk ends with.
SUFFIXES = (".vhd", ".avhd", ".vhdx", ".qcow2", ".vmdk", ".raw", ".img")
#: More folders deep, and more files, are not listed.
DEEPEST_FOLDER = 8
MOST_FILES = 10_000


class Roots:
    """The folders in which the service works on disks."""

    def __init__(self, folders: Sequence[str | os.PathLike[str]]) -> None:
        self.folders = tuple(map(Path, folders))

    def resolve(self, path: str | os.PathLike[str]) -> Path:
        """Follow an absolute path to its end; the last part need not be there.

        Raises ``DiskError``: ERROR_BAD_PATHNAME for a path that is relative or ends outside the folders,
        ERROR_INVALID_NAME and ERROR_BUFFER_OVERFLOW for one that no file can have.
        """
        text = os.fspath(path)
        if text and not text.startswith("/"):
            raise DiskError(
                f"{text}: the path is not absolute.",
                path=text,
                code=ErrorCode.ERROR_BAD_PATHNAME,
                advice="Give the whole path.",
            )
        found = image_path(text)
        with adapted(found):
            # What the kernel would open: ".." is taken after the links before it.
            end = Path(os.path.realpath(text))
        if not self.hold(end):
            raise self._outside(text)
        return image_path(end)

    def check_chain(self, path: Path) -> None:
        """Refuse a disk that has a parent outside the folders; what cannot be opened is not looked at."""
        with contextlib.suppress(_Unreadable), _opened(path) as layers:
            for layer in layers:
                if not self.hold(Path(os.path.realpath(layer))):
                    raise self._outside(str(layer), f"{path}: its parent {layer}")

    def hold(self, end: Path) -> bool:
        """Whether a path without links lies in one of the folders."""
        return any(end.is_relative_to(os.path.realpath(folder)) for folder in self.folders)

    def files(self) -> Iterator[Path]:
        """Find the disks in the folders by their names (``IVMVirtualPC::GetHardDiskFiles``)."""
        left = MOST_FILES
        for folder in dict.fromkeys(map(os.path.realpath, self.folders)):
            for here, inside, names in os.walk(folder):
                inside.sort()
                if len(Path(here).relative_to(folder).parts) >= DEEPEST_FOLDER:
                    inside.clear()
                for name in sorted(names):
                    path = Path(here, name)
                    if name.lower().endswith(SUFFIXES) and path.is_file() and not path.is_symlink():
                        yield path
                        left -= 1
                        if not left:
                            return

    def _outside(self, path: str, what: str = "") -> DiskError:
        named = ", ".join(map(str, self.folders)) or "none"
        return DiskError(
            f"{what or path}: the path leads out of the folders in which the service works on disks.",
            path=path,
            code=ErrorCode.ERROR_BAD_PATHNAME,
            advice=f"They are: {named} (setting disk_roots). With --offline the command line does it itself.",
        )


class _Unreadable(Exception):
    """The chain cannot be opened, so nothing will be done through it."""


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[list[Path]]:
    try:
        chain = open_chain(path, ignore_parent_time=True)
    except DiskError as error:
        raise _Unreadable from error
    with contextlib.closing(chain):
        yield [image.file.path for image in chain.layers]
