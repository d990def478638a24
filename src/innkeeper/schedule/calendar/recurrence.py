"""Runs of one time trigger."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from math import floor

from innkeeper.schedule.calendar.days import LAST_DAY, Days
from innkeeper.schedule.calendar.spans import Spans
from innkeeper.schedule.calendar.zone import DAY, EPOCH_DAY, Zone

_EPOCH_SECONDS = EPOCH_DAY * DAY


class Recurrence:
    """The runs of one trigger: the days of a rule at a time of day in a zone, between two boundaries,
    each day's run repeated, some of it blacked out.

    Instants are whole seconds since 1970; ``next_after`` takes and gives aware ``datetime``s.
    All of it is closed form: no look-up walks from the start or from one run to the next.
    """

    __slots__ = (
        "_days",
        "_duration",
        "_end",
        "_fraction",
        "_interval",
        "_second",
        "_spans",
        "_start",
        "_zone",
    )

    def __init__(
        self,
        *,
        days: Days,
        zone: Zone,
        second: int,
        start: int,
        end: int | None = None,
        interval: int = 0,
        duration: int | None = None,
        fraction: dt.timedelta | None = None,
        spans: Spans | None = None,
    ) -> None:
        self._days = days
        self._zone = zone
        #: Of the day, when it runs.
        self._second = second
        #: The first and the last instant at which it may run; all later ones where ``None``.
        self._start = start
        self._end = end
        #: Seconds from one repetition to the next, 0 for none; and for how long, ``None`` without end.
        self._interval = interval
        self._duration = duration
        #: What the start boundary says beyond the second.
        self._fraction = fraction
        #: When it must not run.
        self._spans = spans

    @property
    def zone(self) -> Zone:
        """The zone in whose days the recurrence counts."""
        return self._zone

    @property
    def repeats(self) -> bool:
        """Whether the recurrence repeats without end."""
        return bool(self._interval) and self._duration is None

    @property
    def interval(self) -> int:
        """Seconds from one repetition to the next; 0 for none."""
        return self._interval

    @property
    def ends(self) -> bool:
        """Whether the recurrence has an end boundary."""
        return self._end is not None

    def next_after(self, moment: dt.datetime) -> dt.datetime | None:
        """The first run after a moment, in the schedule's zone; ``None`` where there is none."""
        if self._fraction is not None:
            moment -= self._fraction
        instant = self.next_instant(floor(moment.timestamp()))
        if instant is None:
            return None
        found = dt.datetime.fromtimestamp(instant, self._zone.tzinfo)
        return found if self._fraction is None else found + self._fraction

    def next_instant(self, instant: int) -> int | None:
        """The first run after an instant."""
        found = self._repeated_after(instant) if self._interval else self._base_after(instant)
        if found is None or (self._end is not None and found > self._end):
            return None
        return found if self._spans is None else self._free_from(found, self._spans)

    def _free_from(self, run: int, spans: Spans) -> int | None:
        """The first run from this one on that is not blacked out: one step for each stretch passed."""
        found: int | None = run
        while found is not None and (self._end is None or found <= self._end):
            free = spans.free_from(found)
            if free is None or free == found:
                return free
            found = self._repeated_after(free - 1) if self._interval else self._base_after(free - 1)
        return None

    def latest(self, instant: int) -> int | None:
        """The last run at or before an instant, blacked out or not."""
        if self._end is not None:
            instant = min(instant, self._end)
        base = self._base_upto(instant)
        if base is None or not self._interval:
            return base
        passed = instant - base
        if self._duration is not None:
            passed = min(passed, self._duration)
        return base + passed // self._interval * self._interval

    def pattern_end(self, instant: int) -> int | None:
        """When the repetitions end that a run at an instant belongs to."""
        base = self._base_upto(instant)
        return None if base is None or self._duration is None else base + self._duration

    def between(self, begin: int, end: int | None) -> Iterator[int]:
        """The runs from ``begin`` on and before ``end``."""
        found = self.next_instant(begin - 1)
        while found is not None and (end is None or found < end):
            yield found
            found = self.next_instant(found)

    def _base_after(self, instant: int) -> int | None:
        """The first run after an instant that is no repetition."""
        if instant < self._start:
            instant = self._start - 1
        zone = self._zone
        day, second = divmod(instant + zone.offset(instant) + _EPOCH_SECONDS, DAY)
        if second >= self._second:
            day += 1
        # Once, as a rule. A fold hides the second pass of a wall time that has run; a date may be missing.
        while True:
            following = self._days.next(day)
            if following is None or following > LAST_DAY:
                return None
            found = zone.instant(following * DAY - _EPOCH_SECONDS + self._second)
            if found is not None and found > instant:
                return found
            day = following + 1

    def _base_upto(self, instant: int) -> int | None:
        """The last run at or before an instant that is no repetition."""
        day = (instant + self._zone.offset(instant) + _EPOCH_SECONDS) // DAY
        while True:
            before = self._days.last(day)
            if before is None or before < 1:
                return None
            found = self._zone.instant(before * DAY - _EPOCH_SECONDS + self._second)
            if found is not None and found <= instant:
                return found if found >= self._start else None
            day = before - 1

    def _repeated_after(self, instant: int) -> int | None:
        base = self._base_upto(instant)
        following = self._base_after(instant)
        if base is None:
            return following
        found = base + ((instant - base) // self._interval + 1) * self._interval
        if self._duration is not None and found > base + self._duration:
            return following
        # The next day's run begins a new pattern, and the old one is over.
        return found if following is None or found < following else following
