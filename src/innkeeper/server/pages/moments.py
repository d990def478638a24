"""Moments and durations for people: in the window's zone, marked so that a script can add the viewer's."""

from __future__ import annotations

import datetime as dt
import functools

from markupsafe import Markup

from innkeeper.schedule.calendar import zone_database

_SHAPES = {
    "time": "%H:%M",
    "bare": "%H:%M",
    "second": "%H:%M:%S",
    "full": "%a %-d %b %H:%M",
    # As the one before, in another year.
    "far": "%a %-d %b %Y %H:%M",
}
_DAY, _HOUR, _MINUTE = 86_400, 3_600, 60


def moment(at: dt.datetime | None, shape: str = "full", zone: str = "") -> Markup:
    """Render a ``<time>`` in ``zone`` with its name (but ``bare``); in UTC where none is given."""
    if at is None:
        return Markup('<span class="muted">–</span>')
    there = at.astimezone(_zone(zone))
    if shape == "full" and there.year != dt.datetime.now(dt.UTC).year:
        shape = "far"
    message = f"{there:{_SHAPES[shape]}}" + ("" if shape == "bare" else f" {there.tzname()}")
    stamp = at.astimezone(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return Markup('<time datetime="{}" data-shape="{}" data-zone="{}">{}</time>').format(
        stamp, shape, zone, message
    )


def clock(at: dt.datetime, zone: str) -> str:
    """Return the time of day in a zone: ``02:30``."""
    return f"{at.astimezone(_zone(zone)):%H:%M}"


def span(seconds: float | None) -> str:
    """Return a duration: ``45 s``, ``12 min``, ``3 h 20 min``, ``2 d 4 h``."""
    if seconds is None:
        return ""
    whole = max(0, round(seconds))
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        minutes, rest = divmod(whole, _MINUTE)
        return f"{minutes} min {rest} s" if minutes < 10 and rest else f"{minutes} min"
    if whole < _DAY:
        hours, rest = divmod(whole, _HOUR)
        return f"{hours} h {rest // _MINUTE} min" if rest >= _MINUTE else f"{hours} h"
    days, rest = divmod(whole, _DAY)
    return f"{days} d {rest // _HOUR} h" if rest >= _HOUR else f"{days} d"


def day(date: dt.date) -> str:
    """Return a date: ``Wed 25 Nov``."""
    return f"{date:%a %-d %b}"


@functools.lru_cache(maxsize=256)
def _zone(name: str) -> dt.tzinfo:
    return zone_database.find(name) if name else dt.UTC
