"""Windows open when the wall clock of their zone says so, whatever the clocks are changed to."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from innkeeper.updates.machine_name import MachineName
from innkeeper.updates.window import ALL_MACHINES, Occurrence, Window
from innkeeper.wire.states import Weekday

ZONES = [
    "UTC",
    "Europe/Madrid",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Africa/Casablanca",
]
MINUTE = dt.timedelta(minutes=1)


def window(**changes: object) -> Window:
    """A window on Saturdays at 22:00 in Madrid, for four hours."""
    values: dict[str, object] = {
        "name": "night",
        "zone": "Europe/Madrid",
        "start": dt.time(22),
        "duration": dt.timedelta(hours=4),
        "weekdays": frozenset({Weekday.SATURDAY}),
        **changes,
    }
    return Window(**values)  # type: ignore[arg-type] # a test's shorthand


def utc(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


def test_a_weekly_window_opens_on_the_wall_clock_of_its_zone() -> None:
    """Ten in the evening in Madrid is nine in winter and eight in summer, in UTC."""
    assert window().next_after(utc("2026-01-05")) == Occurrence(
        start=utc("2026-01-10T21:00"), end=utc("2026-01-11T01:00")
    )
    assert window().next_after(utc("2026-07-01")) == Occurrence(
        start=utc("2026-07-04T20:00"), end=utc("2026-07-05T00:00")
    )


def test_a_skipped_opening_time_is_read_with_the_offset_before_the_skip() -> None:
    """02:30 does not exist on the night of the change: it opens at 03:30, once."""
    night = window(start=dt.time(2, 30), weekdays=frozenset({Weekday.SUNDAY}))
    assert night.next_after(utc("2026-03-28T12:00")) == Occurrence(
        start=utc("2026-03-29T01:30"), end=utc("2026-03-29T05:30")
    )


def test_a_repeated_opening_time_means_its_first_pass() -> None:
    """02:30 comes twice on the night of the change: it opens at the first, and not again."""
    night = window(
        start=dt.time(2, 30), weekdays=frozenset({Weekday.SUNDAY}), duration=dt.timedelta(minutes=30)
    )
    found = night.next_after(utc("2026-10-24T12:00"))
    assert found == Occurrence(start=utc("2026-10-25T00:30"), end=utc("2026-10-25T01:00"))
    assert night.occurrence(utc("2026-10-25T01:35")) is None


def test_nothing_happens_on_a_blackout_date() -> None:
    """It does not open on one, and closes at the midnight that begins one."""
    dark = window(weekdays=frozenset(Weekday), blackouts=frozenset({dt.date(2026, 1, 10)}))
    assert dark.occurrence(utc("2026-01-09T22:00")) == Occurrence(
        start=utc("2026-01-09T21:00"), end=utc("2026-01-09T23:00")
    )
    found = dark.next_after(utc("2026-01-09T22:00"))
    assert found is not None
    assert found.start == utc("2026-01-11T21:00")


@pytest.mark.parametrize(
    ("selectors", "covered"),
    [
        ((ALL_MACHINES,), True),
        (("web-*",), True),
        (("WEB-1",), True),
        (("db-*", "web-2"), False),
    ],
)
def test_a_window_is_for_the_machines_it_names(selectors: tuple[str, ...], covered: bool) -> None:
    """By name or glob, whatever the case of letters."""
    assert window(machines=selectors).covers(MachineName.called("web-1")) is covered


def openings_by_walking(found: Window, first: dt.date, days: int) -> list[dt.datetime]:
    """Every opening, found by looking at every minute: the oracle."""
    zone = ZoneInfo(found.zone)
    openings: list[dt.datetime] = []
    at = dt.datetime.combine(first, dt.time(), tzinfo=dt.UTC) - dt.timedelta(days=1)
    opened: set[dt.date] = set()
    before = at.astimezone(zone).replace(tzinfo=None)
    late: list[tuple[dt.datetime, dt.date]] = []
    for _ in range((days + 2) * 1440):
        at += MINUTE
        wall = at.astimezone(zone).replace(tzinfo=None)
        for day in {before.date(), wall.date()}:
            due = dt.datetime.combine(day, found.start)
            if before < due < wall and wall - before > MINUTE:
                # The clocks have skipped it: as long after the skip as it was into it.
                late.append((at + (due - before - MINUTE), day))
        hits = [day for moment, day in late if moment == at]
        if wall.time() == found.start and wall.date() not in opened:
            hits.append(wall.date())
        for day in hits:
            opened.add(day)
            if day not in found.blackouts and (Weekday.of(day) in found.weekdays or day in found.dates):
                openings.append(at)
        before = wall
    return openings


@settings(max_examples=40)
@given(
    zone=st.sampled_from(ZONES),
    first=st.dates(dt.date(2025, 1, 1), dt.date(2027, 12, 31)),
    start=st.times().map(lambda t: t.replace(second=0, microsecond=0)),
    weekdays=st.frozensets(st.sampled_from(Weekday), min_size=1),
)
@example(
    zone="Australia/Lord_Howe", first=dt.date(2026, 10, 3), start=dt.time(2, 10), weekdays=frozenset(Weekday)
)
@example(zone="Europe/Madrid", first=dt.date(2026, 3, 28), start=dt.time(2, 30), weekdays=frozenset(Weekday))
@example(zone="Europe/Madrid", first=dt.date(2026, 10, 24), start=dt.time(2, 30), weekdays=frozenset(Weekday))
def test_the_openings_are_those_that_a_walk_over_every_minute_finds(
    zone: str, first: dt.date, start: dt.time, weekdays: frozenset[Weekday]
) -> None:
    """In zones with whole, half and odd hours of change, through gaps and folds."""
    found = window(zone=zone, start=start, weekdays=weekdays)
    walked = openings_by_walking(found, first, days=4)
    at = dt.datetime.combine(first, dt.time(), tzinfo=dt.UTC)
    listed: list[dt.datetime] = []
    last = at + dt.timedelta(days=4)
    at -= MINUTE
    while (opening := found.next_after(at)) is not None and opening.start < last:
        listed.append(opening.start)
        assert found.occurrence(opening.start) is not None
        at = opening.start
    assert listed == [moment for moment in walked if last - dt.timedelta(days=4) <= moment < last]
