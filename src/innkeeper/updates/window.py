"""A window: when machines may be maintained, and when it opens."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import re
from collections.abc import Iterator

from innkeeper.schedule.calendar import zone_database
from innkeeper.updates.machine_name import ALL_MACHINES as ALL_MACHINES
from innkeeper.updates.machine_name import MachineName, selector
from innkeeper.wire.states import Weekday

#: How far ahead the next opening is looked for.
HORIZON_DAYS = 800


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Occurrence:
    """One opening of a window: from ``start``, until just before ``end``, in UTC."""

    start: dt.datetime
    #: The hard end: by then every update run is finished or rolled back.
    end: dt.datetime

    def holds(self, at: dt.datetime) -> bool:
        """Whether the occurrence is open at this moment."""
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
    #: Machines it is for: names, globs, hosts before them (``attic/web-*``), or ``all``.
    machines: tuple[str, ...] = (ALL_MACHINES,)
    #: Local dates on which nothing may happen: it does not open on them, and closes where one begins.
    blackouts: frozenset[dt.date] = frozenset()
    #: The UUIDs of machines that were there when they were named, each by its name in small letters: the
    #: window stays theirs under other names, and is not for another that gets the name.
    pins: tuple[tuple[str, str], ...] = ()

    def covers(self, machine: MachineName) -> bool:
        """Whether the window is for this machine."""
        return self.selector.fullmatch(machine.lines) is not None

    @property
    def selector(self) -> re.Pattern[str]:
        """The pattern that the lines of its machines fit (``MachineName``)."""
        return selector(self.machines, self.pins)

    def occurrence(self, at: dt.datetime) -> Occurrence | None:
        """The opening that holds ``at``; the one that closes last, where several do."""
        first = at.astimezone(zone_database.find(self.zone)).date() - self.duration - dt.timedelta(days=2)
        days = self.duration.days + 5
        holding = [found for found in self._opened(first, days) if found.holds(at)]
        return max(holding, key=lambda found: found.end, default=None)

    def next_after(self, at: dt.datetime) -> Occurrence | None:
        """The first opening that starts later than ``at``, or ``None`` within two years."""
        first = at.astimezone(zone_database.find(self.zone)).date() - dt.timedelta(days=2)
        return next((found for found in self._opened(first, HORIZON_DAYS) if found.start > at), None)

    def _opened(self, first: dt.date, days: int) -> Iterator[Occurrence]:
        """The window's openings on ``days`` local dates from ``first`` on, in order."""
        for number in range(days):
            found = self._opening(first + dt.timedelta(days=number))
            if found is not None:
                yield found

    def _opening(self, day: dt.date) -> Occurrence | None:
        """The window's opening on one local date."""
        return _opening(self, day)


# Every look at the plan asks for the same few days again, and zones are slow to convert.
@functools.lru_cache(maxsize=65_536)
def _opening(window: Window, day: dt.date) -> Occurrence | None:
    if day in window.blackouts or not (day in window.dates or Weekday.of(day) in window.weekdays):
        return None
    zone = zone_database.find(window.zone)
    start = dt.datetime.combine(day, window.start, tzinfo=zone).astimezone(dt.UTC)
    end = start + window.duration
    for number in range(1, window.duration.days + 3):
        dark = day + dt.timedelta(days=number)
        midnight = dt.datetime.combine(dark, dt.time(), tzinfo=zone).astimezone(dt.UTC)
        if dark in window.blackouts and start < midnight < end:
            end = midnight
            break
    return Occurrence(start=start, end=end)
