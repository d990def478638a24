"""Day rules give what dateutil's rules give, without walking."""

import datetime as dt

import pytest
from dateutil import rrule
from hypothesis import assume, given
from hypothesis import strategies as st

from innkeeper.schedule.calendar import days
from innkeeper.schedule.calendar.days import LAST_DAY

WEEKDAYS = [rrule.SU, rrule.MO, rrule.TU, rrule.WE, rrule.TH, rrule.FR, rrule.SA]

firsts = st.dates(dt.date(1995, 1, 1), dt.date(2035, 12, 31))
offsets = st.integers(-400, 9000)
week = st.integers(1, 127)
year = st.integers(1, 4095)


def bits(mask: int, count: int) -> list[int]:
    return [bit for bit in range(count) if mask >> bit & 1]


def expected(rule: rrule.rrule, day: int) -> tuple[int | None, int | None]:
    """The oracle's first day from ``day`` on, and its last day up to it."""
    moment = dt.datetime.combine(dt.date.fromordinal(day), dt.time())
    after, before = rule.after(moment, inc=True), rule.before(moment, inc=True)
    return (after.toordinal() if after else None), (before.toordinal() if before else None)


def assert_same(found: days.Days, rule: rrule.rrule, day: int) -> None:
    assert (found.next(day), found.last(day)) == expected(rule, day)


def start(first: dt.date) -> dt.datetime:
    return dt.datetime.combine(first, dt.time())


@given(firsts, st.integers(1, 365), offsets)
def test_every_nth_day(first, interval, offset) -> None:
    """Daily rules count civil days from the first."""
    rule = rrule.rrule(rrule.DAILY, dtstart=start(first), interval=interval)
    assert_same(days.Daily(first.toordinal(), interval), rule, first.toordinal() + offset)


@given(firsts, week, st.integers(1, 52), offsets)
def test_days_of_every_nth_week(first, mask, interval, offset) -> None:
    """Weekly rules count weeks from Sunday, beginning with the first day's."""
    chosen = [WEEKDAYS[day] for day in bits(mask, 7)]
    rule = rrule.rrule(rrule.WEEKLY, dtstart=start(first), interval=interval, byweekday=chosen, wkst=rrule.SU)
    assert_same(days.Weekly(first.toordinal(), mask, interval), rule, first.toordinal() + offset)


@given(firsts, st.integers(1, (1 << 31) - 1), st.booleans(), year, offsets)
def test_days_of_months(first, mask, last, months, offset) -> None:
    """Monthly rules pass over days that a month does not have; the last day counts once."""
    chosen = [day + 1 for day in bits(mask, 31)] + [-1] * last
    rule = monthly(first, months, bymonthday=chosen)
    found = days.Monthly(first.toordinal(), days.days_of_month(mask, last), months)
    assume(found.next(first.toordinal()) is not None)
    assert_same(found, rule, first.toordinal() + offset)


@given(firsts, week, st.integers(0, 15), st.booleans(), year, offsets)
def test_weekdays_of_months(first, mask, weeks, last, months, offset) -> None:
    """The k-th and the last of each weekday; where they are the same day it counts once."""
    assume(weeks or last)
    which = [week + 1 for week in bits(weeks, 4)] + [-1] * last
    chosen = [WEEKDAYS[day](number) for day in bits(mask, 7) for number in which]
    rule = monthly(first, months, byweekday=chosen)
    found = days.Monthly(first.toordinal(), days.weekdays_of_month(mask, weeks, last), months)
    assert_same(found, rule, first.toordinal() + offset)


def monthly(first: dt.date, months: int, **rule: object) -> rrule.rrule:
    return rrule.rrule(rrule.MONTHLY, dtstart=start(first), bymonth=[m + 1 for m in bits(months, 12)], **rule)


def test_weeks_begin_on_sunday() -> None:
    """Every second week on Sunday and Wednesday from a Wednesday: the order that tells Sunday from Monday."""
    rule = days.Weekly(dt.date(2024, 1, 3).toordinal(), 0b0001001, 2)
    found, day = [], dt.date(2024, 1, 1).toordinal()
    while len(found) < 5:
        day = rule.next(day)
        found.append(dt.date.fromordinal(day).day)
        day += 1
    assert found == [3, 14, 17, 28, 31]


def test_a_last_weekday_may_be_the_fourth_or_fifth() -> None:
    """September 2011: the last Saturday is the 24th, the last Friday the 30th."""
    rule = days.Monthly(1, days.weekdays_of_month(0b1100000, 0, True), 1 << 8)
    assert rule.next(dt.date(2011, 9, 1).toordinal()) == dt.date(2011, 9, 24).toordinal()
    assert rule.next(dt.date(2011, 9, 25).toordinal()) == dt.date(2011, 9, 30).toordinal()


def test_the_29th_of_february_is_found_over_eight_years() -> None:
    """1900 was no leap year: the day after 1896's is in 1904."""
    rule = days.Monthly(1, days.days_of_month(1 << 28, False), 0b10)
    assert rule.next(dt.date(1896, 3, 1).toordinal()) == dt.date(1904, 2, 29).toordinal()
    assert rule.last(dt.date(1904, 2, 28).toordinal()) == dt.date(1896, 2, 29).toordinal()


def test_a_day_that_never_comes_is_said_to_be_none() -> None:
    """The 30th of February is no reason to search for ever."""
    rule = days.Monthly(1, days.days_of_month(1 << 29, False), 0b10)
    assert rule.next(dt.date(2024, 1, 1).toordinal()) is None
    assert rule.last(dt.date(2024, 1, 1).toordinal()) is None


def test_the_calendar_ends() -> None:
    """Nothing comes after 9999-12-31."""
    assert days.Monthly(1, days.days_of_month(1, False), 4095).next(LAST_DAY - 29) is None
    assert days.Once(5).next(6) is None
    assert days.Once(5).last(4) is None


def test_a_week_without_days_is_refused() -> None:
    """A weekly rule on no day has no next."""
    with pytest.raises(ValueError, match="day of the week"):
        days.Weekly(1, 0)
