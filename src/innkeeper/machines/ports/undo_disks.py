"""Port for the undo disks of a host's machines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from innkeeper.machines.ports.progress import OnProgress


class UndoDisks(Protocol):
    """The overlays that take the writes of one host's machines."""

    async def add(self, name: str, overlays: Mapping[str, str]) -> None:
        """Put a new qcow2 overlay (target → path) over each disk, all at once or none.

        Running, paused, off or saved; the persistent definition follows, a saved one stays.
        A machine that already has exactly these overlays is left as it is.
        """

    async def merge(self, name: str, bases: Mapping[str, str], on_progress: OnProgress | None = None) -> None:
        """Merge each disk's overlay into its base (target → base path), and switch to the base.

        Running or paused; where the machine is off or saved, a program of QEMU's merges without it.
        Adopts a merge that is under way. A saved state that stands on the bases is discarded first;
        one that stands on the overlays goes on with the bases. Afterwards live and persistent definition
        name the bases; the overlay files are left behind.
        """

    async def stand_down(self, name: str, bases: Mapping[str, str]) -> None:
        """Make whoever starts the machine next start it on the bases (target → path).

        In any state: one that runs goes on with its overlays. That there were overlays stays noted.
        """

    async def drop(self, name: str, bases: Mapping[str, str]) -> None:
        """Make the persistent definition name the bases (target → path) again, and forget the overlays.

        Off or saved, or on the bases already: somebody may start it after ``stand_down``.
        """
