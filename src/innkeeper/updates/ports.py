"""What updates need from the world: stores for bookings, windows and reports."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Protocol

from innkeeper.channels.ports import UpdateStatus
from innkeeper.updates.booking import Booking, BookingCommand, BookingVersion, Place, Report, Verdict
from innkeeper.updates.window import Window

#: Why nothing new may begin on the host of a name, in a sentence; empty where it may.
Hindrance = Callable[[str], str]


def unhindered(host: str) -> str:
    """Admit every host: for a server that shares none."""
    return ""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class BookingChange:
    """One change of a booking, and what must still be so."""

    machine: str
    identifier: str
    #: The run's task, for what a run does: no other run may have the booking.
    task_id: int | None = None
    #: When it was booked, for what was decided by an earlier look; ``None`` asks for none.
    booked_at: dt.datetime | None = None
    #: Each ``None`` leaves the booking's own as it is.
    status: UpdateStatus | None = None
    verdict: Verdict | None = None
    reason: str | None = None
    #: Whether no run has it any more, as if none had begun.
    puts_off: bool = False

    def fits(self, booking: Booking) -> bool:
        """Whether the booking is still the one that is meant."""
        is_its_run = self.task_id is None or booking.task_id in (None, self.task_id)
        return is_its_run and self.booked_at in (None, booking.booked_at)

    @property
    def values(self) -> Mapping[str, object]:
        """The fields that it changes, by name."""
        fields = {
            "task_id": self.task_id,
            "status": self.status,
            "verdict": self.verdict,
            "reason": self.reason,
        }
        changed = {name: value for name, value in fields.items() if value is not None}
        return changed | {"task_id": None, "status": UpdateStatus.UNKNOWN} if self.puts_off else changed


class BookingStore(Protocol):
    """Keeps bookings. Every write is durable when the call returns.

    A machine is named by its key (``Booking.of``), or one that is gone by its name.
    """

    async def put(self, booking: Booking) -> None:
        """Add it, or replace the one with the same machine and identifier, whatever its state."""

    async def book(self, booking: Booking, *, only_of: str | None = None) -> bool:
        """Add it, or replace the one with the same key where its life allows; whether it stands.

        With ``only_of``, one that somebody else booked is not replaced.
        """

    async def apply(self, command: BookingCommand, change: BookingChange) -> Booking | None:
        """Change a booking where its life allows the command, in one step; ``None`` where not.

        Nor is one that is not there, that another run has, or that was booked again since; nor one that is
        in the reported state already.
        """

    async def get(self, machine: str, identifier: str) -> Booking:
        """Raises ``BookingNotFound``."""

    async def list(self, *, machine: str | None = None, ended: bool | None = None) -> Sequence[Booking]:
        """By machine and identifier; ``ended`` asks for those with (or without) a verdict."""

    async def page(
        self,
        *,
        machine: str | None = None,
        ended: bool | None = None,
        after: Place | None = None,
        limit: int,
    ) -> Sequence[Booking]:
        """By start, machine and identifier, from behind a place on; letters by their code points."""

    async def versions(self) -> Mapping[tuple[str, str], BookingVersion]:
        """The versions of those without a verdict, by machine and identifier."""

    async def delete(self, machine: str, identifier: str, *, only_of: str | None = None) -> Booking | None:
        """Delete it where its life allows, and where ``only_of`` booked it; returns it as it was."""

    async def put_many(self, bookings: Sequence[Booking]) -> Set[tuple[str, str]]:
        """Add them, or replace those that have neither started nor ended otherwise than not started.

        In one transaction; returns the keys of the others (``of`` and identifier), which stay as they are.
        """

    async def delete_waiting(self, keys: Sequence[tuple[str, str]]) -> Set[tuple[str, str]]:
        """Delete those that neither run nor have ended, in one transaction; returns which it deleted."""

    async def move(self, key: str, to: str) -> None:
        """Give a machine's bookings to it at another host, but those whose identifier it has there too."""


class WindowStore(Protocol):
    """Keeps windows, by name. Every write is durable when the call returns."""

    async def put(self, window: Window) -> None:
        """Add it, or replace the one with the same name."""

    async def add(self, window: Window) -> bool:
        """Add it where there is none with its name; whether it was added."""

    async def replace(self, seen: Window, window: Window | None) -> bool:
        """Replace the window, or delete it, where it is still as it was seen; whether it was."""

    async def list(self) -> Sequence[Window]:
        """By name."""

    async def delete(self, name: str) -> bool:
        """Whether there was one."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PastRun:
    """How long one update run took, for the next one's prediction."""

    #: The machine's key, or its name in runs from before machines had keys.
    machine: str
    label: str
    seconds: float


class ReportStore(Protocol):
    """Keeps the reports of update runs. Every write is durable when the call returns."""

    async def put(self, report: Report) -> None:
        """Add it, or replace the one with the same ``task_id``."""

    async def get(self, task_id: int) -> Report | None: ...

    async def list(self, *, machine: str | None = None, limit: int = 100) -> Sequence[Report]:
        """Newest first, by ``task_id``."""

    async def past_runs(self, limit: int = 20_000) -> Sequence[PastRun]:
        """The runs that were kept, newest first: seconds from ``started_at`` to ``ended_at``."""

    async def purge(self, before: dt.datetime) -> int:
        """Forget the reports of runs that ended before; returns how many."""
