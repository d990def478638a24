"""Walls and instants agree with a walk over every minute, in zones from all over the world."""

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.schedule.calendar import zone
from innkeeper.schedule.calendar.zone import Zone

#: Forty zones: with and without summer time, half hours, quarter hours, night and noon, both hemispheres,
#: and every kind of leap that the database knows.
ZONES = [
    "Africa/Cairo",
    "Africa/Casablanca",
    "Africa/Lagos",
    "America/Anchorage",
    "America/Argentina/Buenos_Aires",
    "America/Asuncion",
    "America/Caracas",
    "America/Chicago",
    "America/Denver",
    "America/Halifax",
    "America/Havana",
    "America/Los_Angeles",
    "America/Mexico_City",
    "America/New_York",
    "America/Nuuk",
    "America/Phoenix",
    "America/Santiago",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Antarctica/Troll",
    "Asia/Amman",
    "Asia/Beirut",
    "Asia/Gaza",
    "Asia/Jerusalem",
    "Asia/Kathmandu",
    "Asia/Kolkata",
    "Asia/Pyongyang",
    "Asia/Tehran",
    "Asia/Tokyo",
    "Atlantic/Azores",
    "Australia/Adelaide",
    "Australia/Lord_Howe",
    "Europe/Berlin",
    "Europe/Dublin",
    "Europe/Istanbul",
    "Europe/London",
    "Europe/Moscow",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Pacific/Norfolk",
]

MINUTE, DAY = 60, 86_400
YEARS = (2011, 2024, 2026)


def offsets(key: str, year: int) -> list[tuple[int, int]]:
    """Every instant of a year at which the offset changes, by asking the library each quarter of an hour."""
    tz = ZoneInfo(key)
    found = []
    begin = int(dt.datetime(year, 1, 1, tzinfo=dt.UTC).timestamp())
    before = None
    for instant in range(begin, begin + 366 * DAY, 15 * MINUTE):
        offset = int(dt.datetime.fromtimestamp(instant, tz).utcoffset().total_seconds())
        if before is not None and offset != before:
            found.append((instant, offset - before))
        before = offset
    return found


def walk(key: str, begin: int, end: int) -> dict[int, int]:
    """The first instant at which the wall shows each minute, by looking at it every minute."""
    tz = ZoneInfo(key)
    seen: dict[int, int] = {}
    for instant in range(begin, end, MINUTE):
        moment = dt.datetime.fromtimestamp(instant, tz).replace(tzinfo=dt.UTC)
        seen.setdefault(int(moment.timestamp()), instant)
    return seen


def by_rule(seen: dict[int, int], wall: int) -> int | None:
    """The first time it is shown; else the first instant after; nothing where the date is missing."""
    if wall in seen:
        return seen[wall]
    midnight = wall - wall % DAY
    if not any(midnight <= shown < midnight + DAY for shown in seen):
        return None
    return min(instant for shown, instant in seen.items() if shown > wall)


def test_there_are_forty_zones() -> None:
    """The walk below is over at least forty zones."""
    assert len(set(ZONES)) == 40


@pytest.mark.parametrize("key", ZONES)
def test_every_wall_minute_around_every_change_happens_when_a_walk_says(key: str) -> None:
    """Gaps run at the first instant after them, folds once and early, missing dates not at all."""
    subject = zone.named(key)
    for year in YEARS:
        for change, _ in offsets(key, year):
            seen = walk(key, change - 3 * DAY, change + 3 * DAY)
            base = change - change % DAY
            for wall in range(base - DAY, base + DAY, 5 * MINUTE):
                assert subject.instant(wall) == by_rule(seen, wall), (change, wall)


@pytest.mark.parametrize("key", ZONES)
def test_offsets_are_the_librarys(key: str) -> None:
    """The offset at an instant is what the time zone library says, whatever was asked before."""
    tz, subject = ZoneInfo(key), Zone(ZoneInfo(key))
    begin = int(dt.datetime(2025, 1, 1, tzinfo=dt.UTC).timestamp())
    for step in range(700):
        instant = begin + (step * 7_919_333) % (3 * 366 * DAY)
        assert subject.offset(instant) == dt.datetime.fromtimestamp(instant, tz).utcoffset().total_seconds()


@given(st.integers(-62_000_000_000, 253_000_000_000), st.sampled_from(ZONES))
def test_the_wall_leads_back_to_the_instant(instant, key) -> None:
    """From year 5 to year 9987: what the wall shows at an instant happens then, or happened once before."""
    subject = zone.named(key)
    found = subject.instant(instant + subject.offset(instant))
    assert found is not None
    assert found == instant or 0 < instant - found <= DAY


VECTORS = [
    ("America/Los_Angeles", "2022-03-13T02:30", "2022-03-13T03:00-07:00"),
    ("America/Los_Angeles", "2022-11-06T01:30", "2022-11-06T01:30-07:00"),
    ("Europe/London", "2026-03-29T01:30", "2026-03-29T02:00+01:00"),
    ("Europe/London", "2026-10-25T01:30", "2026-10-25T01:30+01:00"),
    ("Australia/Lord_Howe", "2026-10-04T02:15", "2026-10-04T02:30+11:00"),
    ("Africa/Cairo", "2026-04-24T00:30", "2026-04-24T01:00+03:00"),
    ("America/Sao_Paulo", "2018-11-04T00:00", "2018-11-04T01:00-02:00"),
    ("Pacific/Apia", "2011-12-30T09:00", None),
]


@pytest.mark.parametrize(("key", "wall", "happens"), VECTORS)
def test_the_documented_case_and_its_kin(key: str, wall: str, happens: str | None) -> None:
    """02:30 on the night of the change runs at 03:00, as documented, and so it is in every zone."""
    shown = int(dt.datetime.fromisoformat(wall + "+00:00").timestamp())
    expected = happens and int(dt.datetime.fromisoformat(happens).timestamp())
    assert zone.named(key).instant(shown) == expected


def test_a_boundary_on_a_missing_date_is_the_end_of_that_date() -> None:
    """A boundary gates; it does not vanish with its date."""
    shown = int(dt.datetime(2011, 12, 30, 9, tzinfo=dt.UTC).timestamp())
    midnight = dt.datetime(2011, 12, 31, tzinfo=ZoneInfo("Pacific/Apia"))
    assert zone.named("Pacific/Apia").boundary(shown) == midnight.timestamp()


def test_any_tzinfo_will_do() -> None:
    """Fixed offsets and foreign classes work as named zones do."""
    east = dt.timezone(dt.timedelta(hours=5, minutes=45))
    assert zone.of(east).instant(0) == -20_700
    assert zone.of(dt.UTC) is zone.of(dt.UTC)
    assert zone.of(ZoneInfo("Asia/Kathmandu")) is zone.named("Asia/Kathmandu")
