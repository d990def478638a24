"""Read rules such as "last fri", and programs after "--", from the command line."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import operator
import re
import shlex
from collections.abc import Sequence
from xml.sax.saxutils import quoteattr

from innkeeper.cli.times import parse_clock, parse_duration, parse_moment
from innkeeper.errors import InvalidArgument
from innkeeper.schedule.boundary import Boundary
from innkeeper.schedule.duration import Duration
from innkeeper.schedule.model import triggers as t
from innkeeper.schedule.model.actions import Action, ComHandlerAction, ExecAction
from innkeeper.schedule.model.enumerations import DaysOfMonth, DaysOfWeek, Months, WeeksOfMonth
from innkeeper.wire.commands import class_id_of

_DAYS: dict[str, DaysOfWeek] = {
    "sun": DaysOfWeek.SUNDAY,
    "mon": DaysOfWeek.MONDAY,
    "tue": DaysOfWeek.TUESDAY,
    "wed": DaysOfWeek.WEDNESDAY,
    "thu": DaysOfWeek.THURSDAY,
    "fri": DaysOfWeek.FRIDAY,
    "sat": DaysOfWeek.SATURDAY,
}
_WEEKDAYS = DaysOfWeek.MONDAY | DaysOfWeek.TUESDAY | DaysOfWeek.WEDNESDAY | DaysOfWeek.THURSDAY
_SETS = {
    "weekdays": _WEEKDAYS | DaysOfWeek.FRIDAY,
    "weekend": DaysOfWeek.SATURDAY | DaysOfWeek.SUNDAY,
    "daily": functools.reduce(operator.or_, DaysOfWeek),
}
_WEEKS = {
    "first": WeeksOfMonth.FIRST,
    "1st": WeeksOfMonth.FIRST,
    "second": WeeksOfMonth.SECOND,
    "2nd": WeeksOfMonth.SECOND,
    "third": WeeksOfMonth.THIRD,
    "3rd": WeeksOfMonth.THIRD,
    "fourth": WeeksOfMonth.FOURTH,
    "4th": WeeksOfMonth.FOURTH,
    "last": WeeksOfMonth.LAST,
}
_MONTHS = {str(month.name)[:3].lower(): month for month in Months}
_DAY_NUMBER = re.compile(r"([1-9]|[12][0-9]|3[01])")
_MIDNIGHT = dt.time(0, 0)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class When:
    """The options of ``schedule add`` that say when a task runs."""

    once: str | None = None
    daily: str | None = None
    weekly: str | None = None
    monthly: str | None = None
    every: str | None = None
    at: str | None = None
    #: Every n-th day or week.
    interval: int = 1
    months: str | None = None
    #: How long it goes on repeating.
    for_: str | None = None
    on_boot: bool = False
    on_logon: str | None = None
    on_idle: bool = False
    on_event: str | None = None
    on_registration: bool = False
    delay: str | None = None
    random_delay: str | None = None
    start: str | None = None
    until: str | None = None


def trigger_of(when: When, now: dt.datetime, zone: dt.tzinfo) -> t.Trigger | None:
    """The trigger that the options describe, in wall times of ``zone``; ``None`` if there is none.

    Raises ``InvalidArgument`` where two were, or what goes with one was said of another.
    """
    rules = {
        "--once": when.once,
        "--daily": when.daily,
        "--weekly": when.weekly,
        "--monthly": when.monthly,
        "--on-boot": when.on_boot,
        "--on-logon": when.on_logon,
        "--on-idle": when.on_idle,
        "--on-event": when.on_event,
        "--on-registration": when.on_registration,
    }
    message = [name for name, value in rules.items() if value]
    if len(message) > 1:
        raise InvalidArgument(
            f"{message[0]} and {message[1]} are two rules.",
            advice="Give one to each task, or write a definition with both and import it.",
        )
    _refuse_stray(when, message[0] if message else "")
    trigger = _made(when, now.astimezone(zone), zone)
    if trigger is not None:
        _bound(trigger, when, now, zone)
    return trigger


def _refuse_stray(when: When, rule: str) -> None:
    """Refuse options that have no effect with this rule."""
    timed = rule in ("--once", "--daily", "--weekly", "--monthly") or bool(when.every and not rule)
    allowed = {
        "--at": (when.at, rule in ("--weekly", "--monthly") or bool(when.every and not rule)),
        "--months": (when.months, rule == "--monthly"),
        "--random-delay": (when.random_delay, timed),
        "--delay": (when.delay, bool(rule) and not timed and rule != "--on-idle"),
        "--for": (when.for_, bool(when.every)),
        "--interval": (when.interval != 1, rule in ("--daily", "--weekly")),
        "--start": (when.start, bool(rule or when.every) and rule != "--once"),
        "--until": (when.until, bool(rule or when.every)),
    }
    for name, (value, fits) in allowed.items():
        if value and not fits:
            raise InvalidArgument(
                f"{name} does not go with {rule}." if rule else f"{name} needs a rule.",
                advice="See innkeeper schedule add --help for what goes with what.",
            )


def _made(when: When, now: dt.datetime, zone: dt.tzinfo) -> t.Trigger | None:
    first = _first_day(when, now, zone)
    if when.once:
        return t.TimeTrigger(start_boundary=_wall(parse_moment(when.once, now, zone)))
    if when.daily:
        return t.DailyTrigger(start_boundary=_at(first, when.daily), days_interval=when.interval)
    if when.weekly:
        return t.WeeklyTrigger(
            start_boundary=_at(first, when.at), days_of_week=days(when.weekly), weeks_interval=when.interval
        )
    if when.monthly:
        return _monthly(when, first)
    if when.every and not _on_what_happens(when):
        start = _at(first, when.at) if when.at or when.start else _wall(now.replace(microsecond=0))
        return t.TimeTrigger(start_boundary=start)
    return _happening(when)


def _on_what_happens(when: When) -> bool:
    return bool(when.on_boot or when.on_logon or when.on_idle or when.on_event or when.on_registration)


def _happening(when: When) -> t.Trigger | None:
    """A trigger that no clock fires."""
    if when.on_boot:
        return t.BootTrigger(delay=_length(when.delay))
    if when.on_logon:
        user = None if when.on_logon == "anyone" else when.on_logon
        return t.LogonTrigger(user_id=user, delay=_length(when.delay))
    if when.on_idle:
        return t.IdleTrigger()
    if when.on_event:
        return t.EventTrigger(subscription=subscription(when.on_event), delay=_length(when.delay))
    if when.on_registration:
        return t.RegistrationTrigger(delay=_length(when.delay))
    return None


def _monthly(when: When, first: dt.date) -> t.Trigger:
    months = _months(when.months)
    words = _words(when.monthly or "")
    if all(_DAY_NUMBER.fullmatch(word) or word == "last" for word in words):
        return t.MonthlyTrigger(
            start_boundary=_at(first, when.at), days_of_month=_days_of_month(words), months_of_year=months
        )
    weeks, weekdays = WeeksOfMonth(0), DaysOfWeek(0)
    for word in words:
        if word in _WEEKS:
            weeks |= _WEEKS[word]
        else:
            weekdays |= days(word)
    if not weeks or not weekdays:
        raise InvalidArgument(
            f"“{when.monthly}” is not a rule for months.",
            advice="Write days of the month, 1,15,last, or weekdays: 'last fri', '2nd tue', 'first weekend'.",
        )
    return t.MonthlyDOWTrigger(
        start_boundary=_at(first, when.at), weeks_of_month=weeks, days_of_week=weekdays, months_of_year=months
    )


def _bound(trigger: t.Trigger, when: When, now: dt.datetime, zone: dt.tzinfo) -> None:
    """Add what goes with any rule: repetition, random delay, end."""
    if when.every:
        duration = _length(when.for_)
        interval = read_duration(when.every)
        if duration is not None and duration.nominal < interval.nominal:
            raise InvalidArgument(
                f"--every {when.every} is longer than --for {when.for_}.",
                advice="Repeat more often, or for longer.",
            )
        trigger.repetition = t.RepetitionPattern(interval=interval, duration=duration)
    if when.random_delay and isinstance(trigger, t.TimeTrigger | t.CalendarTrigger):
        trigger.random_delay = _length(when.random_delay)
    if when.until:
        trigger.end_boundary = _wall(parse_moment(when.until, now, zone))
    if when.start and trigger.start_boundary is None:
        trigger.start_boundary = _wall(parse_moment(when.start, now, zone))


def days(text: str) -> DaysOfWeek:
    """Days of the week: ``sat,sun``, ``weekdays``, ``friday``."""
    found = DaysOfWeek(0)
    for word in _words(text):
        day = _SETS.get(word) or _DAYS.get(word[:3])
        if day is None or (word not in _SETS and not _is_day(word)):
            raise InvalidArgument(
                f"“{word}” is not a day of the week.",
                advice="Write mon,tue,wed,thu,fri,sat,sun, or weekdays, weekend.",
            )
        found |= day
    return found


def _is_day(word: str) -> bool:
    name = str(_DAYS[word[:3]].name).lower()
    return word in (word[:3], name, f"{name}s")


def _months(text: str | None) -> Months:
    found = Months(0)
    for word in _words(text or ""):
        month = _MONTHS.get(word[:3])
        if month is None or word not in (word[:3], str(month.name).lower()):
            raise InvalidArgument(f"“{word}” is not a month.", advice="Write jan,feb, …, dec.")
        found |= month
    return found or functools.reduce(operator.or_, Months)


def _days_of_month(words: Sequence[str]) -> DaysOfMonth:
    found = DaysOfMonth(0)
    for word in words:
        found |= DaysOfMonth.LAST if word == "last" else DaysOfMonth(1 << int(word) - 1)
    return found


def subscription(query: str) -> str:
    """The event query of a channel and a condition: ``Innkeeper:*[System[EventID=7]]``, or a whole list."""
    if query.lstrip().startswith("<"):
        return query
    channel, colon, condition = query.partition(":")
    if not colon or not channel or " " in channel.strip():
        channel, condition = "Innkeeper", query
    path = quoteattr(channel.strip())
    return (
        f'<QueryList><Query Id="0" Path={path}><Select Path={path}>{_escaped(condition.strip() or "*")}'
        "</Select></Query></QueryList>"
    )


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def action_of(program: Sequence[str], operation: Sequence[str], operations: dict[str, str]) -> Action:
    """What to do: a program with its arguments, or one of Innkeeper's own operations on a machine."""
    if bool(program) == bool(operation):
        raise InvalidArgument(
            "A task does one thing: run a program, or one of Innkeeper's operations.",
            advice=r"End with -- PROGRAM ARGUMENTS, or give --operation save --on web-1.",
        )
    if program:
        return ExecAction(path=program[0], arguments=shlex.join(program[1:]) or None)
    name, *data = operation
    return ComHandlerAction(class_id=class_id_of(name, operations), data=" ".join(data) or None)


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[,\s]+", text.strip().lower()) if word]


def _first_day(when: When, now: dt.datetime, zone: dt.tzinfo) -> dt.date:
    return parse_moment(when.start, now, zone).date() if when.start else now.date()


def _at(day: dt.date, clock: str | None) -> Boundary:
    return Boundary.of(dt.datetime.combine(day, parse_clock(clock) if clock else _MIDNIGHT))


def _wall(moment: dt.datetime) -> Boundary:
    return Boundary.of(moment.replace(tzinfo=None, microsecond=0))


def read_duration(text: str) -> Duration:
    """A duration such as ``90m``; raises ``InvalidArgument`` for more than a hundred years."""
    try:
        return Duration.of(parse_duration(text))
    except ValueError as error:
        raise InvalidArgument(
            f"“{text}” is no duration: {error}.", advice="Write it as 4h, 90m or 2d."
        ) from error


def _length(text: str | None) -> Duration | None:
    return read_duration(text) if text else None
