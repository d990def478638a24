"""Port that measures what a host's machines use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from innkeeper.machines.usage import Usage


class UsageMeter(Protocol):
    """Counters of processor, memory, disk and network use of one host's machines."""

    async def read(self) -> Sequence[Usage]:
        """The use of every machine that is on, by one bulk call; machines that are busy may be missing."""

    async def written_bytes(self, machine: str) -> int | None:
        """What this machine has written to its disks since it was turned on; no other machine is asked.

        ``None`` where it is off, busy, or nobody counts.
        """
