"""Runs of a task: all its time triggers together."""

from __future__ import annotations

import datetime as dt
import heapq
import itertools
from collections.abc import Iterator, Mapping

from innkeeper.schedule.boundary import Boundary
from innkeeper.schedule.calendar import days, zone
from innkeeper.schedule.calendar.days import Days
from innkeeper.schedule.calendar.named import NamedCalendar
from innkeeper.schedule.calendar.recurrence import Recurrence
from innkeeper.schedule.calendar.spans import Spans
from innkeeper.schedule.calendar.zone import DAY, EPOCH_DAY, Zone
from innkeeper.schedule.model import triggers as t
from innkeeper.schedule.model.blackouts import blackout
from innkeeper.schedule.model.extension import Extension
from innkeeper.schedule.model.trigger_collection import TriggerCollection

_SECOND = dt.timedelta(seconds=1)
#: Before it, a day around a moment may be in no year that there is.
_FIRST = dt.datetime(1, 1, 3, tzinfo=dt.UTC)


class Plan:
    """Runs that a task's time triggers ask for.

    Disabled triggers count, as documented for ``NextRunTime`` and ``GetRunTimes``, though they start
    nothing; ``effective`` leaves them out.
    """

    def __init__(
        self,
        recurrences: Mapping[int, Recurrence],
        home: Zone,
        ends: dt.datetime | None,
        spans: Spans | None = None,
    ) -> None:
        #: By the number of the trigger, from 1.
        self.recurrences = recurrences
        self._home = home
        self._spans = spans
        #: When the last of its triggers ends, whatever their kind; ``None`` where one has no end.
        self.ends = ends

    def aware(self, moment: dt.datetime) -> dt.datetime:
        """Return an aware moment as it is, and a naive one as the schedule's wall clock shows it."""
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=self._home.tzinfo)

    def next_after(self, moment: dt.datetime) -> dt.datetime | None:
        """The first run after a moment, in the schedule's zone."""
        found = [
            run for run in (each.next_after(moment) for each in self.recurrences.values()) if run is not None
        ]
        return min(found, default=None)

    def runs(self, begin: dt.datetime, end: dt.datetime | None = None) -> Iterator[dt.datetime]:
        """The runs from ``begin`` on and before ``end``, each moment once."""
        streams = [_runs(each, max(begin, _FIRST), end) for each in self.recurrences.values()]
        for moment, _ in itertools.groupby(heapq.merge(*streams)):
            yield moment

    def is_open(self, trigger: t.Trigger, moment: dt.datetime) -> bool:
        """Whether a trigger that no clock fires may start something at a moment: its boundaries and the
        task's calendars say so.
        """
        instant = int(moment.timestamp() // 1)
        begin, end = trigger.start_boundary, trigger.end_boundary
        if begin is not None and instant < _end(begin, self._home, dt.timedelta(0)):
            return False
        if end is not None and instant > _end(end, self._home, dt.timedelta(0)):
            return False
        return self._spans is None or self._spans.free_from(instant) == instant

    def repeated(self, trigger: t.Trigger, since: dt.datetime) -> Recurrence:
        """Return the repetitions of a trigger that fired at ``since``, without that start itself."""
        repetition, end = trigger.repetition, trigger.end_boundary
        interval = _seconds(repetition.interval.nominal) if repetition.interval else 0
        duration = None if repetition.duration is None else _seconds(repetition.duration.nominal) - interval
        first = since.astimezone(dt.UTC) + dt.timedelta(seconds=interval)
        return Recurrence(
            days=days.Once(first.toordinal()),
            zone=zone.fixed(dt.timedelta(0)),
            second=first.hour * 3600 + first.minute * 60 + first.second,
            start=int(first.timestamp() // 1),
            end=None if end is None else _end(end, self._home, dt.timedelta(0)),
            interval=interval,
            duration=duration,
            spans=self._spans,
        )

    def is_over(self, moment: dt.datetime) -> bool:
        """Whether nothing can start the task any more: each trigger has passed its end boundary."""
        return self.ends is not None and moment > self.ends


def of(
    triggers: TriggerCollection,
    extension: Extension,
    *,
    home: dt.tzinfo,
    calendars: Mapping[str, NamedCalendar] | None = None,
    effective: bool = False,
) -> Plan:
    """Return the plan of a task on a host in the zone ``home``; ``effective`` leaves disabled triggers out.

    Raises ``ScheduleError`` where it names a calendar that is not known.
    """
    local = zone.named(extension.zone) if extension.zone else zone.of(home)
    spans = blackout(extension, calendars or {}, local)
    recurrences = {}
    for number, trigger in enumerate(triggers, 1):
        if trigger.enabled or not effective:
            recurrence = recurrence_of(trigger, local, spans)
            if recurrence is not None:
                recurrences[number] = recurrence
    return Plan(recurrences, local, _ends(triggers, local), spans)


def _ends(triggers: TriggerCollection, local: Zone) -> dt.datetime | None:
    found = []
    for trigger in triggers:
        if trigger.end_boundary is None:
            return None
        instant = _end(trigger.end_boundary, local, dt.timedelta(0))
        found.append(dt.datetime.fromtimestamp(instant, dt.UTC))
    return max(found, default=None)


def recurrence_of(trigger: t.Trigger, local: Zone, spans: Spans | None = None) -> Recurrence | None:
    """Return a trigger's runs; ``None`` for one that no clock fires, or that lacks its start or its days."""
    start = trigger.start_boundary
    if start is None:
        return None
    found = _days(trigger, start)
    if found is None:
        return None
    here = local if start.offset is None else zone.fixed(start.offset)
    fraction = dt.timedelta(microseconds=start.wall.microsecond)
    repetition = trigger.repetition
    return Recurrence(
        days=found,
        zone=here,
        second=start.wall.hour * 3600 + start.wall.minute * 60 + start.wall.second,
        start=here.boundary(_wall(start)),
        end=None if trigger.end_boundary is None else _end(trigger.end_boundary, local, fraction),
        interval=_seconds(repetition.interval.from_(start.wall)) if repetition.interval else 0,
        duration=_seconds(repetition.duration.from_(start.wall)) if repetition.duration else None,
        fraction=fraction or None,
        spans=spans,
    )


def _days(trigger: t.Trigger, start: Boundary) -> Days | None:
    first = start.wall.toordinal()
    match trigger:
        case t.TimeTrigger():
            return days.Once(first)
        case t.DailyTrigger():
            return days.Daily(first, trigger.days_interval)
        case t.WeeklyTrigger(days_of_week=chosen) if chosen:
            return days.Weekly(first, chosen, trigger.weeks_interval)
        case t.MonthlyTrigger(days_of_month=chosen_days, months_of_year=months):
            numbers = int(chosen_days) & 0x7FFFFFFF
            return days.Monthly(first, days.days_of_month(numbers, trigger.run_on_last_day_of_month), months)
        case t.MonthlyDOWTrigger(days_of_week=weekdays, weeks_of_month=weeks, months_of_year=months):
            last = trigger.run_on_last_week_of_month
            return days.Monthly(first, days.weekdays_of_month(int(weekdays), int(weeks) & 0xF, last), months)
    return None


def _wall(boundary: Boundary) -> int:
    wall = boundary.wall
    return (wall.toordinal() - EPOCH_DAY) * DAY + wall.hour * 3600 + wall.minute * 60 + wall.second


def _end(boundary: Boundary, local: Zone, fraction: dt.timedelta) -> int:
    """Return the last whole second at which a run, a ``fraction`` later, is not past the boundary."""
    here = local if boundary.offset is None else zone.fixed(boundary.offset)
    early = boundary.wall.microsecond < fraction.microseconds
    return here.boundary(_wall(boundary)) - early


def _seconds(length: dt.timedelta) -> int:
    # Below a second there is no schedule; and nothing may be repeated without rest.
    return max(length // _SECOND, 1)


def _runs(recurrence: Recurrence, begin: dt.datetime, end: dt.datetime | None) -> Iterator[dt.datetime]:
    found = recurrence.next_after(begin - dt.timedelta(microseconds=1))
    while found is not None and (end is None or found < end):
        yield found
        found = recurrence.next_after(found)
