"""Port for the connection to a host."""

from __future__ import annotations

from typing import Protocol


class HostConnection(Protocol):
    """The connection to one host; it is opened once, and reconnects by itself from then on."""

    async def open(self) -> None:
        """Connect, and begin to publish ``machine.*`` events.

        One that is not connected yet is tried at once.
        """

    async def let_go(self) -> None:
        """Disconnect from a host that another server looks after now, until it is free to be opened."""

    async def close(self) -> None:
        """Disconnect. The host's machines go on."""
