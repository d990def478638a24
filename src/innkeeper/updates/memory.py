"""Keep bookings, windows and reports in memory: for tests, tutorials and large simulated nights."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence, Set

from innkeeper.errors import BookingNotFound
from innkeeper.updates.booking import (
    BOOKING_LIFE,
    Booking,
    BookingCommand,
    BookingVersion,
    Place,
    Report,
    Verdict,
)
from innkeeper.updates.ports import BookingChange, PastRun
from innkeeper.updates.window import Window


class MemoryBookingStore:
    """A ``BookingStore`` that forgets with its process."""

    def __init__(self) -> None:
        self._bookings: dict[tuple[str, str], Booking] = {}

    async def put(self, booking: Booking) -> None:
        """Add it, or replace the one with the same machine and identifier."""
        self._bookings[booking.of, booking.identifier] = booking

    async def book(self, booking: Booking, *, only_of: str | None = None) -> bool:
        """Add or replace it where its life allows; whether it stands."""
        old = await self._find(booking.of, booking.identifier)
        if old is not None and not (_may(old, BookingCommand.BOOK) and only_of in (None, old.booked_by)):
            return False
        await self.put(booking)
        return True

    async def apply(self, command: BookingCommand, change: BookingChange) -> Booking | None:
        """Change it where its life allows; ``None`` where not."""
        old = await self._find(change.machine, change.identifier)
        if old is None or not _may(old, command) or not change.fits(old):
            return None
        if command is BookingCommand.REPORT and old.status is change.status:
            return None
        fields = {field.name: getattr(old, field.name) for field in dataclasses.fields(old)}
        new = Booking(**fields | {"next_chance": None} | dict(change.values))
        await self.put(new)
        return new

    async def get(self, machine: str, identifier: str) -> Booking:
        """Raises ``BookingNotFound``."""
        if (found := await self._find(machine, identifier)) is not None:
            return found
        raise BookingNotFound(
            f"No update “{identifier}” is booked for {machine}.", advice="List the machine's updates."
        )

    async def list(self, *, machine: str | None = None, ended: bool | None = None) -> Sequence[Booking]:
        """By machine and identifier."""
        return [
            booking
            for booking in sorted(self._bookings.values(), key=lambda b: (b.machine, b.identifier, b.key))
            if machine in (None, booking.of, booking.machine) and ended in (None, booking.verdict is not None)
        ]

    async def page(
        self,
        *,
        machine: str | None = None,
        ended: bool | None = None,
        after: Place | None = None,
        limit: int,
    ) -> Sequence[Booking]:
        """By start, machine and identifier, from behind a place on."""
        found = sorted(await self.list(machine=machine, ended=ended), key=lambda b: b.place)
        return [booking for booking in found if after is None or booking.place > after][:limit]

    async def versions(self) -> Mapping[tuple[str, str], BookingVersion]:
        """The versions of those without a verdict."""
        return {key: booking.version for key, booking in self._bookings.items() if booking.verdict is None}

    async def delete(self, machine: str, identifier: str, *, only_of: str | None = None) -> Booking | None:
        """Delete it where its life allows, and where ``only_of`` booked it; returns it as it was."""
        old = await self._find(machine, identifier)
        if old is None or not _may(old, BookingCommand.DELETE) or only_of not in (None, old.booked_by):
            return None
        return self._bookings.pop((old.of, identifier))

    async def put_many(self, bookings: Sequence[Booking]) -> Set[tuple[str, str]]:
        """Add them, or replace those that may be; returns the keys of the others."""
        keys = {(b.of, b.identifier): b for b in bookings}
        refused = {
            key for key in keys if (old := self._bookings.get(key)) is not None and not old.is_replaceable
        }
        self._bookings |= {key: booking for key, booking in keys.items() if key not in refused}
        return refused

    async def delete_waiting(self, keys: Sequence[tuple[str, str]]) -> Set[tuple[str, str]]:
        """Delete those that neither run nor have ended; returns which it deleted."""
        found = {key for key in keys if (old := self._bookings.get(key)) is not None and old.is_waiting}
        for key in found:
            del self._bookings[key]
        return found

    async def move(self, key: str, to: str) -> None:
        """Give a machine's bookings to it at another host, but those whose identifier it has there too."""
        for booking in await self.list(machine=key):
            if (to, booking.identifier) not in self._bookings:
                del self._bookings[booking.of, booking.identifier]
                self._bookings[to, booking.identifier] = dataclasses.replace(booking, key=to)

    async def _find(self, machine: str, identifier: str) -> Booking | None:
        known = self._bookings.get((machine, identifier))
        if known is not None:
            return known
        found = await self.list(machine=machine)
        return next((booking for booking in found if booking.identifier == identifier), None)


def _may(booking: Booking, command: BookingCommand) -> bool:
    return (booking.state, command) in BOOKING_LIFE


class MemoryWindowStore:
    """A ``WindowStore`` that forgets with its process."""

    def __init__(self) -> None:
        self._windows: dict[str, Window] = {}

    async def put(self, window: Window) -> None:
        """Add it, or replace the one with the same name."""
        self._windows[window.name] = window

    async def add(self, window: Window) -> bool:
        """Add it where there is none with its name; whether it was added."""
        return self._windows.setdefault(window.name, window) is window

    async def replace(self, seen: Window, window: Window | None) -> bool:
        """Replace the window, or delete it, where it is still as it was seen; whether it was."""
        if self._windows.get(seen.name) != seen:
            return False
        del self._windows[seen.name]
        if window is not None:
            await self.put(window)
        return True

    async def list(self) -> Sequence[Window]:
        """By name."""
        return [window for _, window in sorted(self._windows.items())]

    async def delete(self, name: str) -> bool:
        """Whether there was one."""
        return self._windows.pop(name, None) is not None


class MemoryReportStore:
    """A ``ReportStore`` that forgets with its process."""

    def __init__(self) -> None:
        self._reports: dict[int, Report] = {}

    async def put(self, report: Report) -> None:
        """Add it, or replace the one with the same ``task_id``."""
        self._reports[report.task_id] = report

    async def get(self, task_id: int) -> Report | None:
        """``None`` where there is none."""
        return self._reports.get(task_id)

    async def list(self, *, machine: str | None = None, limit: int = 100) -> Sequence[Report]:
        """Newest first."""
        return [
            r for _, r in sorted(self._reports.items(), reverse=True) if machine in (None, r.key, r.machine)
        ][:limit]

    async def past_runs(self, limit: int = 20_000) -> Sequence[PastRun]:
        """The runs that were kept, newest first."""
        kept = [r for _, r in sorted(self._reports.items(), reverse=True) if r.verdict is Verdict.KEPT]
        return [
            PastRun(
                machine=r.key or r.machine, label=r.label, seconds=(r.ended_at - r.started_at).total_seconds()
            )
            for r in kept[:limit]
        ]

    async def purge(self, before: dt.datetime) -> int:
        """Forget the reports of runs that ended before; returns how many."""
        old = [task_id for task_id, report in self._reports.items() if report.ended_at < before]
        for task_id in old:
            del self._reports[task_id]
        return len(old)
