"""A two-way pipe of bytes to a port in a guest."""

from __future__ import annotations

from typing import Protocol


class BytePipe(Protocol):
    """A two-way pipe of bytes to a port in the guest. It has no end that the guest can see."""

    async def read(self) -> bytes:
        """At least one byte, or empty when the pipe is gone."""

    async def write(self, data: bytes) -> None:
        """Write all, waiting while the guest does not read."""

    async def close(self) -> None:
        """Hang up."""
