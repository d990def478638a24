"""Port that makes image files on a host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from innkeeper.machines.ports.progress import OnProgress


class ImageMaker(Protocol):
    """Makes image files on one host: each whole or not at all, and never over one that is there."""

    async def create(self, path: str, size_bytes: int) -> None:
        """An empty qcow2 image."""

    async def copy(
        self,
        source: str,
        source_format: str,
        path: str,
        size_bytes: int,
        on_progress: OnProgress | None = None,
    ) -> None:
        """A qcow2 image that stands alone, with another's content; grown to ``size_bytes``."""

    async def overlay(self, path: str, base: str, base_format: str, size_bytes: int) -> None:
        """A qcow2 overlay over an image; grown to ``size_bytes`` where that is more."""

    async def seed(self, path: str, files: Mapping[str, str]) -> None:
        """A small DVD image with these files (name → content), which cloud-init looks for (``cidata``)."""

    async def write(self, path: str, content: str) -> None:
        """A small text file."""

    async def read(self, path: str) -> str:
        """A small text file. Raises ``DiskError``."""

    async def move(self, source: str, target: str) -> None:
        """Rename a file. Does nothing where it was renamed already."""

    async def remove_directory(self, path: str) -> None:
        """Remove a directory where it is empty."""
