"""Lengths of time, kept as they were written."""

from __future__ import annotations

import calendar
import datetime as dt
import re

_SHAPE = re.compile(
    r"P(?:([0-9]+)Y)?(?:([0-9]+)M)?(?:([0-9]+)D)?(?:T(?=[0-9])(?:([0-9]+)H)?(?:([0-9]+)M)?(?:([0-9]+)(\.[0-9]+)?S)?)?"
)
_LONGEST_TEXT = 64
#: A hundred years: longer than any schedule, and short enough that no arithmetic with it overflows.
_LONGEST_DAYS = 36_525


class Duration(str):
    """A length of time (``xs:duration``): its text is its value.

    ``P3D`` and ``PT72H`` are as long and are not equal, so that what was read is what gets written.
    Years and months have no fixed length: ``after`` counts them on the calendar.
    Raises ``ValueError`` where the text is no duration, is negative or exceeds a hundred years.
    """

    __slots__ = ("days", "months", "time")

    #: Years and months, in months.
    months: int
    #: Whole days.
    days: int
    #: Hours, minutes, seconds.
    time: dt.timedelta

    def __new__(cls, text: str) -> Duration:
        match = _SHAPE.fullmatch(text) if len(text) <= _LONGEST_TEXT else None
        if match is None or text == "P":
            raise ValueError(
                "a duration looks like P1DT2H30M: days before the T, hours, minutes, seconds after it"
            )
        years, months, days, hours, minutes, seconds = (int(part or 0) for part in match.groups()[:6])
        if (
            years * 366 + months * 31 + days + hours // 24 + minutes // 1440 + seconds // 86_400
            > _LONGEST_DAYS
        ):
            raise ValueError("a duration is at most a hundred years")
        self = super().__new__(cls, text)
        self.months = years * 12 + months
        self.days = days
        fraction = float("0" + (match.group(7) or ""))
        self.time = dt.timedelta(hours=hours, minutes=minutes, seconds=seconds + fraction)
        return self

    @classmethod
    def of(cls, value: str | dt.timedelta) -> Duration:
        """Return the duration of a text or a ``timedelta``."""
        if isinstance(value, Duration):
            return value
        return cls(_text(value) if isinstance(value, dt.timedelta) else value)

    @property
    def is_zero(self) -> bool:
        """Whether the duration is zero, which some settings read as "no limit" or "at once"."""
        return not (self.months or self.days or self.time)

    @property
    def nominal(self) -> dt.timedelta:
        """Length for comparisons, with 30 days to a month and 365 to a year."""
        years, months = divmod(self.months, 12)
        return dt.timedelta(days=years * 365 + months * 30 + self.days) + self.time

    def after(self, start: dt.datetime) -> dt.datetime:
        """Return the wall time this long after ``start``, which is naive: months first, then the rest."""
        return _add_months(start, self.months) + dt.timedelta(days=self.days) + self.time

    def from_(self, start: dt.datetime) -> dt.timedelta:
        """Length when counted from ``start``."""
        return self.after(start) - start


def _add_months(start: dt.datetime, months: int) -> dt.datetime:
    if not months:
        return start
    years, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    day = min(start.day, calendar.monthrange(years, month + 1)[1])
    return start.replace(year=years, month=month + 1, day=day)


def _text(length: dt.timedelta) -> str:
    if length < dt.timedelta(0):
        raise ValueError("a duration is not negative")
    minutes, seconds = divmod(length.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    fraction = f".{length.microseconds:06}".rstrip("0") if length.microseconds else ""
    date = f"{length.days}D" if length.days else ""
    time = (f"{hours}H" if hours else "") + (f"{minutes}M" if minutes else "")
    if seconds or fraction or not (date or time):
        time += f"{seconds}{fraction}S"
    return f"P{date}" + (f"T{time}" if time else "")
