"""Calendar files (iCalendar, RFC 5545): read as days and times, and written from runs."""

from __future__ import annotations

import datetime as dt
import itertools
import uuid
from collections.abc import Iterable, Iterator, Sequence

import icalendar
from dateutil import rrule

from innkeeper.errors import ErrorCode, ScheduleError
from innkeeper.schedule.calendar.named import NamedCalendar

_LARGEST_BYTES = 8 << 20
#: Rules that repeat for ever are written out so far, and so often.
_YEARS_AHEAD = 12
_MOST_REPEATS = 5_000
#: How long a run is drawn: its real length is not known beforehand.
_DRAWN = dt.timedelta(minutes=15)

_Moment = dt.date | dt.datetime


def read_calendar(data: bytes, *, today: dt.date) -> NamedCalendar:
    """Return the days and times of a calendar's events, repeating ones for twelve years from ``today``.

    Raises ``ScheduleError`` where it is no calendar or too large.
    """
    if len(data) > _LARGEST_BYTES:
        raise _refused(f"it has {len(data):,} bytes; {_LARGEST_BYTES:,} are read")
    try:
        events = list(icalendar.Calendar.from_ical(data).walk("VEVENT"))
        found = [span for event in events for span in _spans(event, today)]
    except (
        ValueError,
        KeyError,
        AttributeError,
        TypeError,
    ) as problem:  # what the parser throws at bad input
        raise _refused(str(problem)) from problem
    return NamedCalendar(
        days=tuple((begin, end) for begin, end in found if not isinstance(begin, dt.datetime)),
        times=tuple(
            (begin, end)
            for begin, end in found
            if isinstance(begin, dt.datetime) and isinstance(end, dt.datetime)
        ),
    )


def _spans(event: icalendar.Component, today: dt.date) -> Iterator[tuple[_Moment, _Moment]]:
    begin: _Moment = event.decoded("DTSTART")
    length = _length(event, begin)
    for each in itertools.islice(_begins(event, begin, today), _MOST_REPEATS):
        yield each, each + length


def _length(event: icalendar.Component, begin: _Moment) -> dt.timedelta:
    if "DTEND" in event:
        length = event.decoded("DTEND") - begin
    elif "DURATION" in event:
        length = event.decoded("DURATION")
    else:
        length = dt.timedelta(0) if isinstance(begin, dt.datetime) else dt.timedelta(days=1)
    if not isinstance(length, dt.timedelta):
        raise ValueError("an event has no length")
    return length


def _begins(event: icalendar.Component, begin: _Moment, today: dt.date) -> Iterator[_Moment]:
    if "RRULE" not in event:
        yield begin
        return
    # The rule counts on the wall, whatever the zone, and so its dates are naive here.
    whole = not isinstance(begin, dt.datetime)
    first = begin if isinstance(begin, dt.datetime) else dt.datetime.combine(begin, dt.time())
    zone, first = first.tzinfo, first.replace(tzinfo=None)
    rule = rrule.rrulestr(_wall_rule(event), dtstart=first)
    without = {_naive(date) for date in _dates(event, "EXDATE")}
    last = dt.datetime.combine(today, dt.time()) + dt.timedelta(days=366 * _YEARS_AHEAD)
    for each in rule:
        if each > last:
            return
        if each not in without:
            yield each.date() if whole else each.replace(tzinfo=zone)


def _wall_rule(event: icalendar.Component) -> str:
    rule = event["RRULE"]
    if not isinstance(rule, icalendar.vRecur):
        raise ValueError("an event has two rules")
    for until in rule.get("UNTIL", []):
        rule["UNTIL"] = [_naive(until)]
    return str(rule.to_ical(), "utf-8")  # type: ignore[no-untyped-call]  # theirs


def _dates(event: icalendar.Component, name: str) -> Iterator[_Moment]:
    listed = event.get(name, [])
    for each in listed if isinstance(listed, list) else [listed]:
        if isinstance(each, icalendar.vDDDLists):
            yield from (date.dt for date in each.dts if isinstance(date.dt, dt.date))


def _naive(moment: _Moment) -> dt.datetime:
    if isinstance(moment, dt.datetime):
        return moment.replace(tzinfo=None)
    return dt.datetime.combine(moment, dt.time())


def write_calendar(runs: Iterable[tuple[str, Sequence[dt.datetime]]], *, now: dt.datetime) -> bytes:
    """Return a calendar file of tasks' runs, by name; the same runs give the same file."""
    calendar = icalendar.Calendar()
    calendar.add("prodid", "-//Innkeeper//schedule//EN")
    calendar.add("version", "2.0")
    for name, moments in runs:
        for moment in moments:
            calendar.add_component(_event(name, moment, now))
    return bytes(calendar.to_ical())


def _event(name: str, moment: dt.datetime, now: dt.datetime) -> icalendar.Event:
    event = icalendar.Event()
    event.add("uid", str(uuid.uuid5(uuid.NAMESPACE_URL, f"urn:innkeeper:{name}:{moment.isoformat()}")))
    event.add("dtstamp", now.astimezone(dt.UTC))
    event.add("dtstart", moment.astimezone(dt.UTC))
    event.add("dtend", moment.astimezone(dt.UTC) + _DRAWN)
    event.add("summary", name)
    return event


def _refused(sentence: str) -> ScheduleError:
    return ScheduleError(
        f"This calendar cannot be read: {sentence}.",
        code=ErrorCode.ERROR_INVALID_DATA,
        advice="Give a calendar file (.ics) with events.",
    )
