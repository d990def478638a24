"""Port for the list of a host's machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from innkeeper.machines.machine import Machine


class Inventory(Protocol):
    """The machines of one host and their states."""

    async def list(self) -> Sequence[Machine]:
        """All machines, by one bulk call."""

    async def get(self, name: str) -> Machine:
        """One machine. Raises ``MachineNotFound``."""
