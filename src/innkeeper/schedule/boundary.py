"""Start and end boundaries, kept as they were written."""

from __future__ import annotations

import datetime as dt
import re

_SHAPE = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})T([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?(Z|[+-][0-9]{2}:[0-9]{2})?"
)
_FURTHEST_OFFSET = dt.timedelta(hours=14)


class Boundary(str):
    """A moment (``xs:dateTime``): its text is its value, with all seven digits that Windows writes.

    Without a suffix it is wall-clock time where the schedule lives, following summer time; with ``Z`` or
    an offset it is absolute ("synchronise across time zones").
    Raises ``ValueError`` where the text is no moment.
    """

    __slots__ = ("offset", "wall")

    #: What the clock on the wall shows, naive, to the microsecond.
    wall: dt.datetime
    #: How far east of UTC that wall is; ``None`` where it is the schedule's own.
    offset: dt.timedelta | None

    def __new__(cls, text: str) -> Boundary:
        match = _SHAPE.fullmatch(text)
        if match is None:
            raise ValueError(
                "a boundary looks like 2026-03-29T02:30:00, with Z or +01:00 where it is absolute"
            )
        date, time, fraction, suffix = match.groups()
        self = super().__new__(cls, text)
        self.wall = _wall(date, time, fraction or "")
        self.offset = None if suffix is None else _offset(suffix)
        return self

    @classmethod
    def of(cls, value: str | dt.datetime) -> Boundary:
        """Return the boundary of a text or a ``datetime``: naive is local, aware is absolute."""
        if isinstance(value, Boundary):
            return value
        if isinstance(value, dt.datetime):
            text = value.isoformat()
            return cls(text.removesuffix("+00:00") + "Z" if text.endswith("+00:00") else text)
        return cls(value)

    @property
    def is_local(self) -> bool:
        """Whether the boundary is wall-clock time in the schedule's zone."""
        return self.offset is None


def _wall(date: str, time: str, fraction: str) -> dt.datetime:
    # xs:dateTime knows 24:00:00, the midnight that ends the day.
    ends_day = time == "24:00:00" and not fraction.strip("0")
    wall = dt.datetime.fromisoformat(f"{date}T{'00:00:00' if ends_day else time}")
    try:
        wall += dt.timedelta(days=ends_day)
    except OverflowError:
        raise ValueError("a boundary is before the year 10000") from None
    return wall.replace(microsecond=int(f"{fraction:0<6}"[:6]))


def _offset(suffix: str) -> dt.timedelta:
    if suffix == "Z":
        return dt.timedelta(0)
    hours, minutes = int(suffix[1:3]), int(suffix[4:6])
    offset = dt.timedelta(hours=hours, minutes=minutes)
    if minutes > 59 or offset > _FURTHEST_OFFSET:
        raise ValueError("an offset is at most 14:00")
    return -offset if suffix[0] == "-" else offset
