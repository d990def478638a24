"""Port for the memory that belongs to undo points: written beside the disks, and gone back to."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from typing import Protocol

from innkeeper.machines.ports.progress import OnProgress


class MemoryFile(enum.StrEnum):
    """What a file of memory is good for."""

    #: There is none.
    NONE = "none"
    #: A crash cut it short: worth nothing.
    PARTIAL = "partial"
    #: Something else, which no undo point has made.
    FOREIGN = "foreign"
    #: All of a guest's memory.
    WHOLE = "whole"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Hardware:
    """What a guest's memory was made on: it goes on there alone."""

    #: The program that runs the guest, with its version.
    hypervisor: str
    #: The machine's type with its version: ``pc-q35-7.2``.
    machine_type: str
    #: A digest of the host's processor: its model and what it can do.
    processor: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MemoryOutlook:
    """Prospects of an undo point with memory."""

    #: The most that the file of memory takes, where the guest stands still meanwhile.
    most_bytes: int
    #: What forbids it, as the end of “… cannot go back to the running moment: ”; empty for nothing.
    obstacle: str
    #: What the memory is made on now.
    hardware: Hardware


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MemoryLimits:
    """Where taking memory is given up, with the guest running on as before."""

    #: Length of the file.
    most_bytes: int
    #: Time of the whole call, which is the pause where the guest stands still.
    most_seconds: float


class MemoryPoints(Protocol):
    """The memory of one host's machines, as part of undo points."""

    async def outlook(self, name: str) -> MemoryOutlook:
        """What an undo point with memory would take, and what forbids it; touches nothing.

        Of a machine that is off, what its memory would be made on at its next start.
        """

    async def write_speed(self, directory: str) -> float:
        """Bytes a second that the directory's disk takes, by a short trial that is remembered."""

    async def take(
        self,
        name: str,
        path: str,
        overlays: Mapping[str, str],
        *,
        live: bool,
        limits: MemoryLimits,
        on_progress: OnProgress | None = None,
    ) -> None:
        """Write the memory of a running machine, and put an overlay over each disk, at one moment.

        The guest stands still meanwhile; ``live`` lets it run, which writes more and takes longer. All is
        done, or nothing: where it fails the guest runs on from its own disks, and no file is left. The file
        is on the disk when the call returns, and for its owner's eyes alone. Does nothing where the machine
        has exactly these overlays and the file is whole.
        """

    async def state(self, path: str) -> MemoryFile:
        """What the file is good for."""

    async def restore(self, name: str, path: str, on_progress: OnProgress | None = None) -> None:
        """Start a machine that is off from the file, paused, on the disks that the memory knows.

        Not one instruction runs, and no disk is written to. The file is kept. Raises where it does not fit
        the machine or the host.
        """
