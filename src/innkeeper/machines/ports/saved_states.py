"""Port for the saved states of a host's machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from innkeeper.machines.machine import Disk
from innkeeper.machines.ports.progress import OnProgress


class SavedStates(Protocol):
    """The saved memory of one host's machines."""

    async def path(self, name: str) -> str:
        """The file of the saved state. Raises ``WrongState`` where there is none."""

    async def definition(self, name: str) -> str:
        """The definition inside the saved state. Raises ``WrongState`` where there is none."""

    async def disks(self, name: str) -> Sequence[Disk]:
        """The drives that the saved memory knows. Raises ``WrongState`` where there is none."""

    async def save(self, name: str, on_progress: OnProgress | None = None) -> None:
        """Save memory to the host's disk and stop; cancelling the awaiting task aborts the save cleanly."""

    async def restore_keeping(
        self, name: str, sources: Mapping[str, str], on_progress: OnProgress | None = None
    ) -> None:
        """Restore the saved state onto overlays (target → path) over the saved disks, and keep it.

        The overlays are made anew: an earlier try has written to them, and memory must never meet a
        disk that was written since. Does nothing where the machine runs on them.
        """

    async def discard(self, name: str) -> None:
        """Delete the saved state. Does nothing where there is none."""
