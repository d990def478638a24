"""Port for the disk images of a host, as the hypervisor sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Disks(Protocol):
    """The disk images of one host, as its hypervisor sees them."""

    async def backing_chain(self, path: str) -> Sequence[str]:
        """The image file and the images it stands on, top first."""

    async def free_bytes(self, directory: str) -> int:
        """Room left in a directory of disk images."""

    async def delete(self, path: str) -> None:
        """Delete an image file. Does nothing where it is gone."""

    async def use_exports(self, name: str) -> Sequence[str]:
        """Make the definition of a machine that is off use an export for each VHD, which QEMU misreads.

        Returns the targets of those that were changed. Raises ``NotSupported`` where the host cannot reach
        an export, and ``DiskError`` for a chain that cannot be opened.
        """
