"""Days of a calendar rule, found in closed form.

A day is a number (``date.toordinal``), so that ``day % 7`` is the weekday from Sunday = 0.
"""

from __future__ import annotations

import datetime as dt
import functools
from typing import Protocol

#: 9999-12-31, the last day that there is.
LAST_DAY = dt.date.max.toordinal()

_LENGTHS = (0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
#: 29 February and the fifth weekday of a February come back within 40 years at most (2096 to 2104, then
#: one shape of month in 28); what is not found in so many months does not exist.
_MONTHS_TO_LOOK = 12 * 41


class Days(Protocol):
    """The days on which a rule holds."""

    def next(self, day: int) -> int | None:
        """The first such day that is not before ``day``."""

    def last(self, day: int) -> int | None:
        """The last such day that is not after ``day``."""


class Once:
    """One day alone."""

    __slots__ = ("_day",)

    def __init__(self, day: int) -> None:
        self._day = day

    def next(self, day: int) -> int | None:
        return self._day if day <= self._day else None

    def last(self, day: int) -> int | None:
        return self._day if day >= self._day else None


class Daily:
    """Every n-th day from the first on: civil days, not 24 hours each."""

    __slots__ = ("_first", "_interval")

    def __init__(self, first: int, interval: int = 1) -> None:
        self._first = first
        self._interval = interval

    def next(self, day: int) -> int | None:
        if day <= self._first:
            return self._first
        return day + (self._first - day) % self._interval

    def last(self, day: int) -> int | None:
        if day < self._first:
            return None
        return day - (day - self._first) % self._interval


class Weekly:
    """Days of the week, in every n-th week from the first day's on; weeks begin on Sunday."""

    __slots__ = ("_ahead", "_behind", "_first", "_interval", "_sunday")

    def __init__(self, first: int, days_of_week: int, interval: int = 1) -> None:
        self._first = first
        self._sunday = first - first % 7
        self._interval = interval
        self._ahead, self._behind = _week(days_of_week)

    def next(self, day: int) -> int | None:
        if day < self._first:
            day = self._first
        week, weekday = divmod(day - self._sunday, 7)
        phase = week % self._interval
        if not phase:
            ahead = self._ahead[weekday]
            if ahead is not None:
                return day + ahead
        # The next week that counts; its Sunday, and from there the first day that does.
        return self._sunday + (week + self._interval - phase) * 7 + (self._ahead[0] or 0)

    def last(self, day: int) -> int | None:
        week, weekday = divmod(day - self._sunday, 7)
        phase = week % self._interval
        behind = self._behind[weekday] if not phase else None
        if behind is not None:
            found = day - behind
        else:
            found = self._sunday + (week - (phase or self._interval)) * 7 + 6 - (self._behind[6] or 0)
        return found if found >= self._first else None


@functools.cache
def _week(days_of_week: int) -> tuple[tuple[int | None, ...], tuple[int | None, ...]]:
    """For each weekday, how far the next and the last chosen day of the same week are."""
    chosen = [weekday for weekday in range(7) if days_of_week >> weekday & 1]
    if not chosen:
        raise ValueError("a weekly rule needs a day of the week")
    ahead = tuple(min((day - at for day in chosen if day >= at), default=None) for at in range(7))
    behind = tuple(min((at - day for day in chosen if day <= at), default=None) for at in range(7))
    return ahead, behind


class Monthly:
    """Days of months. A month has one of 28 shapes (the weekday of its first, its length), and the rule a
    mask of days for each: days of the month and weekdays of the month are one and the same.
    """

    __slots__ = ("_first", "_masks", "_months")

    def __init__(self, first: int, masks: tuple[int, ...], months: int) -> None:
        self._first = first
        self._masks = masks
        # Bit m is month m, so that no subtraction is due at each look.
        self._months = months << 1

    def next(self, day: int) -> int | None:
        if day < self._first:
            day = self._first
        if day > LAST_DAY:
            return None
        date = dt.date.fromordinal(day)
        year, month, passed = date.year, date.month, date.day - 1
        first = day - passed
        for _ in range(_MONTHS_TO_LOOK):
            length = _LENGTHS[month] if month != 2 else _february(year)
            if self._months >> month & 1:
                mask = self._masks[first % 7 * 4 + length - 28] >> passed
                if mask:
                    return first + passed + (mask & -mask).bit_length() - 1
            first += length
            passed = 0
            year, month = (year, month + 1) if month < 12 else (year + 1, 1)
            if first > LAST_DAY:
                return None
        return None

    def last(self, day: int) -> int | None:
        date = dt.date.fromordinal(max(min(day, LAST_DAY), 1))
        year, month, upto = date.year, date.month, (1 << date.day) - 1
        for _ in range(_MONTHS_TO_LOOK):
            if self._months >> month & 1:
                first, mask = self._month(year, month)
                mask &= upto
                if mask:
                    found = first + mask.bit_length() - 1
                    return found if found >= self._first else None
            upto = -1
            year, month = (year - 1, 12) if month == 1 else (year, month - 1)
            if year < dt.MINYEAR:
                return None
        return None

    def _month(self, year: int, month: int) -> tuple[int, int]:
        first = dt.date(year, month, 1).toordinal()
        length = _LENGTHS[month] if month != 2 else _february(year)
        return first, self._masks[first % 7 * 4 + length - 28]


def _february(year: int) -> int:
    return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28


@functools.cache
def days_of_month(days: int, last: bool) -> tuple[int, ...]:
    """The masks of a rule on days of the month: the days that a month has, and its last."""
    masks = [days & ((1 << length) - 1) | (last << (length - 1)) for length in range(28, 32)]
    return tuple(masks) * 7


@functools.cache
def weekdays_of_month(days_of_week: int, weeks: int, last: bool) -> tuple[int, ...]:
    """The masks of a rule on the k-th or last of each chosen weekday; weeks is a mask of k − 1."""
    return tuple(
        _weekdays(days_of_week, weeks, last, first, length) for first in range(7) for length in range(28, 32)
    )


def _weekdays(days_of_week: int, weeks: int, last: bool, first: int, length: int) -> int:
    mask = 0
    for weekday in range(7):
        if days_of_week >> weekday & 1:
            days = range((weekday - first) % 7, length, 7)
            for week, day in enumerate(days):
                if weeks >> week & 1 or (last and day == days[-1]):
                    mask |= 1 << day
    return mask
