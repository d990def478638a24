"""Confine the service to the folders for disks that its settings name.

A path may lead out of a folder by "..", by a symbolic link, or through the parent that an image names.
Each path is followed to its end first, and refused where that lies elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from innkeeper.disks.allowed import Folders, only_within
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
        """Resolve the links of an absolute path; the last part may be missing.

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
            raise self.allowed.refusal(text)
        return image_path(end)

    def check_chain(self, path: Path) -> None:
        """Refuse a disk with a parent outside the folders; an image that cannot be opened is not examined."""
        try:
            with only_within(self.allowed):
                open_chain(path, ignore_parent_time=True, is_known=True).close()
        except DiskError as error:
            if error.code is ErrorCode.ERROR_BAD_PATHNAME:
                raise

    @property
    def allowed(self) -> Folders:
        """The folders as a confinement for work that opens files named by images."""
        return Folders(
            folders=self.folders,
            what="the folders in which the service works on disks",
            advice=" (setting disk_roots). With --offline the command line does it itself.",
        )

    def hold(self, end: Path) -> bool:
        """Return whether a path without links lies in one of the folders."""
        return self.allowed.hold(end)

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
