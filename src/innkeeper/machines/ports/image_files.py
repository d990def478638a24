"""Port for the files of a host's disk images."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol

from innkeeper.machines.ports.progress import OnProgress


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FileIdentity:
    """Size, time and inode of an image file, which change when its content does."""

    size_bytes: int
    mtime_ns: int
    inode: int


class ImageFiles(Protocol):
    """The files of one host's disk images, where no hypervisor call reaches them."""

    async def identity(self, path: str) -> FileIdentity | None:
        """The file's size, time and inode; ``None`` where there is no such file."""

    async def virtual_size(self, path: str) -> int:
        """The bytes a guest sees of the image, whatever its format."""

    async def checksum(self, path: str, on_progress: OnProgress | None = None) -> str:
        """A digest of the file's content; holes cost nothing, and equal zeros."""

    async def copy(self, source: str, target: str) -> None:
        """Copy a small file whole or not at all, over what is there."""

    async def find(self, directory: str, part: str) -> Sequence[str]:
        """The paths of the directory's files with ``part`` in their names, sorted."""

    async def format(self, path: str) -> str:
        """The image's format, by its first bytes and its last sector; ``raw`` where they show no other."""
