"""Describe a window: when machines may be maintained, and say when it opens."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import fnmatch
from collections.abc import Iterator
from zoneinfo import ZoneInfo

#: How far ahead the next opening is looked for.
HORIZON_DAYS = 800
#: The selector that means every machine.
ALL_MACHINES = "all"


class Weekday(enum.IntEnum):
    """A day of the week, numbered as Python's ``date.weekday()``."""

    MONDAY = 0
    TUESDAY = 1
    WEDNESDAY = 2
    THURSDAY = 3
    FRIDAY = 4
    SATURDAY = 5
    SUNDAY = 6


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Occurrence:
    """One opening of a window: from ``start``, until just before ``end``, in UTC."""

    start: dt.datetime
    #: The hard end: by then every update run is finished or rolled back.
    end: dt.datetime

    def holds(self, at: dt.datetime) -> bool:
        """Whether it is open at this moment."""
        return self.start <= at < self.end


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """A time in which machines may be maintained: weekly, on dates, or both.

    It opens at a wall-clock time in its zone and stays open for an elapsed duration. An opening
    time that the clocks skip is read with the offset before the skip (as RFC 5545 does), one that
    they repeat means its first pass.
    """

    name: str
    #: The IANA name of its time zone: ``Europe/Madrid``.
    zone: str
    #: When it opens, on the zone's wall clock.
    start: dt.time
    #: How long it stays open, in elapsed time.
    duration: dt.timedelta
    #: The days of the week it opens on.
    weekdays: frozenset[Weekday] = frozenset()
    #: Single dates it opens on.
    dates: frozenset[dt.date] = frozenset()
    #: Machines it is for: names, globs, or ``all``.
    machines: tuple[str, ...] = (ALL_MACHINES,)
    #: Local dates on which nothing may happen: it does not open on them, and closes where one begins.
    blackouts: frozenset[dt.date] = frozenset()

    def covers(self, machine: str) -> bool:
        """Whether it is for this machine."""
        name = machine.casefold()
        return any(
            selector == ALL_MACHINES or fnmatch.fnmatchcase(name, selector.casefold())
            for selector in self.machines
        )

    def occurrence(self, at: dt.datetime) -> Occurrence | None:
        """The opening that holds ``at``; the one that closes last, where several do."""
        first = at.astimezone(ZoneInfo(self.zone)).date() - self.duration - dt.timedelta(days=2)
        days = self.duration.days + 5
        holding = [found for found in self._opened(first, days) if found.holds(at)]
        return max(holding, key=lambda found: found.end, default=None)

    def next_after(self, at: dt.datetime) -> Occurrence | None:
        """The first opening that starts later than ``at``, or ``None`` within two years."""
        first = at.astimezone(ZoneInfo(self.zone)).date() - dt.timedelta(days=2)
        return next((found for found in self._opened(first, HORIZON_DAYS) if found.start > at), None)

    def _opened(self, first: dt.date, days: int) -> Iterator[Occurrence]:
        """Its openings on ``days`` local dates from ``first`` on, in order."""
        for number in range(days):
            found = self._opening(first + dt.timedelta(days=number))
            if found is not None:
                yield found

    def _opening(self, day: dt.date) -> Occurrence | None:
        """Its opening on one local date."""
        if day in self.blackouts or not (day in self.dates or day.weekday() in self.weekdays):
            return None
        zone = ZoneInfo(self.zone)
        start = dt.datetime.combine(day, self.start, tzinfo=zone).astimezone(dt.UTC)
        end = start + self.duration
        for dark in self.blackouts:
            midnight = dt.datetime.combine(dark, dt.time(), tzinfo=zone).astimezone(dt.UTC)
            if start < midnight < end:
                end = midnight
        return Occurrence(start=start, end=end)
