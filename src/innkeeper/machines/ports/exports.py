"""Port that offers virtual hard disks to machines as plain bytes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol


class DiskExports(Protocol):
    """Exports of virtual hard disks, which machines read as plain bytes (``disks.exports.Exports``)."""

    def socket_of(self, path: str) -> str:
        """The socket where the export of this image listens, whether it runs or not."""

    def held(self, paths: Collection[str]) -> AbstractAsyncContextManager[None]:
        """Keep these images exported for writing, until machines have connected."""

    def require_sound(self, path: str) -> None:
        """Raise what keeps this image from being exported to a machine."""

    async def revive(self) -> Sequence[str]:
        """Start exports that were killed again; returns the images concerned."""
