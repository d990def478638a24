"""Port through which disks learn which machine uses an image."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DiskUse:
    """A machine that has an image, itself or below an undo disk."""

    machine: str
    #: Its state, in words.
    state: str
    #: Whether its memory may know what is in the image: it runs, is paused or saved.
    is_live: bool
    #: Whether an undo disk stands on the image.
    under_undo_disk: bool = False
    #: The machine's own image, links followed: the file asked for, or one that stands on it.
    image: Path = Path()


class DiskUsers(Protocol):
    """Knowledge of the machines that use disk images."""

    async def users(self, files: Sequence[Path]) -> Sequence[DiskUse]:
        """The machines that have one of these files, those that are live first."""


class NoUsers:
    """Nobody uses any disk: for programs that have no machines."""

    async def users(self, files: Sequence[Path]) -> Sequence[DiskUse]:
        """Return no machine."""
        return ()
