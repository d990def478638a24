"""Read the times that people write, and write times that people can read."""

from __future__ import annotations

import datetime as dt
import re
from zoneinfo import ZoneInfo

from innkeeper.errors import InvalidArgument
from innkeeper.wire.states import Weekday

_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DAYS = tuple(Weekday)
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?\s*[smhdw]\s*)+", re.IGNORECASE)
_PIECE = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])", re.IGNORECASE)
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?")

_MOMENTS = "22:00, tomorrow 02:00, fri 02:00, in 10m, now, 2026-11-30 02:00 or 2026-11-30T02:00+01:00"


def parse_zone(text: str) -> ZoneInfo:
    """A time zone by its IANA name."""
    try:
        return ZoneInfo(text)
    except (KeyError, ValueError, OSError) as error:
        raise InvalidArgument(
            f"“{text}” is not a time zone.", advice="Use an IANA name such as Europe/Paris, or UTC."
        ) from error


def parse_duration(text: str) -> dt.timedelta:
    """A length of time such as ``4h``, ``90m`` or ``1h30m``."""
    if not _DURATION.fullmatch(text.strip()):
        raise InvalidArgument(
            f"“{text}” is not a length of time.", advice="Write it as 4h, 90m, 1h30m or 2d."
        )
    pieces = _PIECE.findall(text)
    try:
        return dt.timedelta(
            seconds=sum(float(number) * _UNIT_SECONDS[unit.lower()] for number, unit in pieces)
        )
    except OverflowError as error:
        raise InvalidArgument(f"“{text}” is too long a time.", advice="Write it as 4h, 90m or 2d.") from error


def parse_clock(text: str) -> dt.time:
    """A wall time such as ``22:00``."""
    found = _CLOCK.fullmatch(text.strip())
    try:
        if found:
            hour, minute, second = (int(part or 0) for part in found.groups())
            return dt.time(hour, minute, second)
    except ValueError:
        pass
    raise InvalidArgument(f"“{text}” is not a time of day.", advice="Write it as 22:00.")


def parse_date(text: str, today: dt.date) -> dt.date:
    """A day such as ``2026-11-30``, ``tomorrow`` or ``fri``."""
    word = text.strip().lower()
    if word in ("today", "tomorrow"):
        return today + dt.timedelta(days=word == "tomorrow")
    if word[:3] in _DAYS and word in (word[:3], _full_day(word[:3])):
        ahead = (_DAYS.index(word[:3]) - today.weekday()) % 7
        return today + dt.timedelta(days=ahead)
    try:
        return dt.date.fromisoformat(word)
    except ValueError as error:
        raise InvalidArgument(f"“{text}” is not a day.", advice="Write it as 2026-11-30.") from error


def parse_moment(text: str, now: dt.datetime, zone: dt.tzinfo) -> dt.datetime:
    """A moment as people write it, in ``zone`` where it names no other; ``now`` is what "in 10m" counts from.

    A wall time alone is its next coming; one that the clocks skip is read with the offset before.
    """
    word = text.strip()
    if word.lower() == "now":
        return now.astimezone(zone)
    try:
        if word.lower().startswith(("in ", "+")):
            return now.astimezone(zone) + parse_duration(word.lower().removeprefix("in ").removeprefix("+"))
        moment = _parse_wall(word, now.astimezone(zone), zone)
        moment.astimezone(dt.UTC)  # near year 1 or 9999 another zone's time is none
        return moment
    except (InvalidArgument, OverflowError) as error:
        raise InvalidArgument(f"“{text}” is not a time.", advice=f"Write it as {_MOMENTS}.") from error


def _parse_wall(word: str, now: dt.datetime, zone: dt.tzinfo) -> dt.datetime:
    if _CLOCK.fullmatch(word):
        moment = dt.datetime.combine(now.date(), parse_clock(word), tzinfo=zone)
        if moment.astimezone(dt.UTC) > now.astimezone(dt.UTC):
            return moment
        return dt.datetime.combine(now.date() + dt.timedelta(days=1), parse_clock(word), tzinfo=zone)
    day, _, clock = word.partition(" ")
    if clock and _CLOCK.fullmatch(clock.strip()):
        return _on_day(day, clock, now, zone)
    return _parse_iso(word, zone)


def _on_day(day: str, clock: str, now: dt.datetime, zone: dt.tzinfo) -> dt.datetime:
    date, time = parse_date(day, now.date()), parse_clock(clock)
    moment = dt.datetime.combine(date, time, tzinfo=zone)
    named_weekday = day[:3].lower() in _DAYS
    if named_weekday and moment.astimezone(dt.UTC) <= now.astimezone(dt.UTC):
        return dt.datetime.combine(date + dt.timedelta(days=7), time, tzinfo=zone)
    return moment


def _parse_iso(word: str, zone: dt.tzinfo) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat(word)
    except ValueError as error:
        raise InvalidArgument(f"“{word}” is not a time.") from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)


def _full_day(short: str) -> str:
    long = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
    return long[_DAYS.index(short)]


def say_moment(moment: dt.datetime | None, now: dt.datetime, zone: dt.tzinfo) -> str:
    """A moment in ``zone``: the day only where it is not today's."""
    if moment is None:
        return "–"
    local, today = moment.astimezone(zone), now.astimezone(zone).date()
    if local.date() == today:
        return f"{local:%H:%M %Z}"
    if abs((local.date() - today).days) < 7:
        return f"{local:%a %H:%M %Z}"
    return f"{local:%Y-%m-%d %H:%M %Z}"


def say_distance(moment: dt.datetime, now: dt.datetime) -> str:
    """How far a moment is from now: ``in 3 h``, ``12 min ago``."""
    seconds = (moment - now).total_seconds()
    if abs(seconds) < 1:
        return "now"
    message = say_duration(abs(seconds))
    return f"in {message}" if seconds > 0 else f"{message} ago"


def say_both(moment: dt.datetime | None, now: dt.datetime, zone: dt.tzinfo) -> str:
    """A moment, and how far it is."""
    if moment is None:
        return "–"
    return f"{say_moment(moment, now, zone)} ({say_distance(moment, now)})"


def say_duration(seconds: float) -> str:
    """A length of time in at most two units: ``45 s``, ``3 min``, ``1 h 20 min``, ``2 d 3 h``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 600:
        return f"{whole // 60} min" + (f" {whole % 60} s" if whole % 60 else "")
    minutes = round(whole / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h" + (f" {minutes % 60} min" if minutes % 60 else "")
    hours = round(minutes / 60)
    return f"{hours // 24} d" + (f" {hours % 24} h" if hours % 24 else "")
