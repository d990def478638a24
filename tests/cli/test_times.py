"""Times as people write and read them."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest

from innkeeper.cli import times
from innkeeper.errors import InvalidArgument

_PARIS = ZoneInfo("Europe/Paris")
#: A Saturday, 21:30 in Paris.
_NOW = dt.datetime(2026, 11, 21, 20, 30, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", "2026-11-21T21:30:00+01:00"),
        ("in 10m", "2026-11-21T21:40:00+01:00"),
        ("+1h30m", "2026-11-21T23:00:00+01:00"),
        ("22:00", "2026-11-21T22:00:00+01:00"),
        ("21:30", "2026-11-22T21:30:00+01:00"),
        ("02:00", "2026-11-22T02:00:00+01:00"),
        ("tomorrow 02:00", "2026-11-22T02:00:00+01:00"),
        ("today 02:00", "2026-11-21T02:00:00+01:00"),
        ("sat 22:00", "2026-11-21T22:00:00+01:00"),
        ("sat 20:00", "2026-11-28T20:00:00+01:00"),
        ("Monday 02:00", "2026-11-23T02:00:00+01:00"),
        ("2026-11-30", "2026-11-30T00:00:00+01:00"),
        ("2026-11-30 02:00", "2026-11-30T02:00:00+01:00"),
        ("2026-11-30T02:00", "2026-11-30T02:00:00+01:00"),
        ("2026-11-30T02:00+05:00", "2026-11-30T02:00:00+05:00"),
        ("2026-11-30T02:00Z", "2026-11-30T02:00:00+00:00"),
        ("2026-07-01 02:00", "2026-07-01T02:00:00+02:00"),
    ],
)
def test_a_moment_is_read_as_it_is_meant(text: str, expected: str) -> None:
    """In the person's zone where they name no other, and never in the past where they mean the next."""
    assert times.parse_moment(text, _NOW, _PARIS).isoformat() == expected


@pytest.mark.parametrize("text", ["", "soon", "25:00", "tomorrow", "2026-13-01", "in a while", "mon", "22"])
def test_what_is_no_moment_is_refused_with_examples(text: str) -> None:
    """The message names the text and shows how to write it."""
    with pytest.raises(InvalidArgument, match="is not a time") as refused:
        times.parse_moment(text, _NOW, _PARIS)
    assert "22:00" in refused.value.advice


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("4h", 14400), ("90m", 5400), ("1h30m", 5400), ("45 s", 45), ("2d", 172800), ("0.5h", 1800)],
)
def test_a_length_of_time_is_read_in_its_units(text: str, seconds: int) -> None:
    """Units may be put together."""
    assert times.parse_duration(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "4", "h", "4 hours", "-4h", "4h!"])
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    """A number alone has no unit, so nobody guesses one."""
    with pytest.raises(InvalidArgument):
        times.parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "message"),
    [
        (0.42, "0.4 s"),
        (3, "3 s"),
        (59.7, "1 min"),
        (75, "1 min 15 s"),
        (1200, "20 min"),
        (3600, "1 h"),
        (4800, "1 h 20 min"),
        (2 * 86400 + 3 * 3600, "2 d 3 h"),
    ],
)
def test_a_length_of_time_is_said_in_at_most_two_units(seconds: float, message: str) -> None:
    """Precise where it is short, calm where it is long."""
    assert times.say_duration(seconds) == message


@pytest.mark.parametrize(
    ("moment", "message"),
    [
        ("2026-11-21T21:00Z", "22:00 CET (in 30 min)"),
        ("2026-11-21T20:18Z", "21:18 CET (12 min ago)"),
        ("2026-11-22T01:00Z", "Sun 02:00 CET (in 4 h 30 min)"),
        ("2027-07-01T00:00Z", "2027-07-01 02:00 CEST (in 221 d 4 h)"),
    ],
)
def test_a_moment_is_said_in_the_zone_with_its_distance(moment: str, message: str) -> None:
    """The day is named only where it is not today."""
    assert times.say_both(dt.datetime.fromisoformat(moment), _NOW, _PARIS) == message


def test_an_unknown_zone_is_refused() -> None:
    """Also one that tries to leave the zone database."""
    for name in ("Mars/Olympus", "../../etc/passwd", ""):
        with pytest.raises(InvalidArgument):
            times.parse_zone(name)
