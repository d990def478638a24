"""Durations keep their text and count on the calendar."""

from __future__ import annotations

import datetime as dt
from datetime import timedelta

import pytest

from innkeeper.schedule.duration import Duration


@pytest.mark.parametrize(
    "text", ["PT7D", "P", "PT", "P1DT", "-P1D", "PT1.S", "1H", "", "P1H", "PT1H30", "P٣D", "P1D "]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    """A text outside xs:duration, or a negative one, never becomes a length of time."""
    with pytest.raises(ValueError, match="duration"):
        Duration(text)


@pytest.mark.parametrize(
    "text", ["P99999999DT23H59M59S", "P101Y", "PT9999999999999999999999S", "P" + "9" * 5000 + "D"]
)
def test_what_is_longer_than_a_century_is_refused(text: str) -> None:
    """The largest TimeSpan of PowerShell, and worse, is refused before anything overflows."""
    with pytest.raises(ValueError, match="duration"):
        Duration(text)


def test_equal_lengths_keep_their_own_text() -> None:
    """P3D and PT72H are as long, and each is written as it was read."""
    assert Duration("P3D").nominal == Duration("PT72H").nominal
    assert str(Duration("P3D")) == "P3D"


def test_months_are_counted_on_the_calendar() -> None:
    """A month after the last of January is the last of February."""
    assert Duration("P1M").after(dt.datetime(2024, 1, 31, 2)) == dt.datetime(2024, 2, 29, 2)
    assert Duration("P1M4DT2H5M").after(dt.datetime(2023, 12, 31)) == dt.datetime(2024, 2, 4, 2, 5)


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (dt.timedelta(hours=72), "P3D"),
        (dt.timedelta(0), "PT0S"),
        (dt.timedelta(minutes=90), "PT1H30M"),
        (dt.timedelta(days=1, seconds=1.5), "P1DT1.5S"),
    ],
)
def test_a_timedelta_becomes_text(length: timedelta, text: str) -> None:
    """What scripts have at hand becomes the duration that Windows reads."""
    assert Duration.of(length) == text
    assert Duration.of(length).nominal == length


def test_a_negative_timedelta_is_refused() -> None:
    """Time does not run backwards."""
    with pytest.raises(ValueError, match="negative"):
        Duration.of(dt.timedelta(-1))
