"""Boundaries keep their text and know their wall and offset."""

from __future__ import annotations

import datetime as dt
from datetime import datetime, timedelta

import pytest

from innkeeper.schedule.boundary import Boundary


@pytest.mark.parametrize(
    ("text", "wall", "offset"),
    [
        ("2022-03-13T02:30:00", dt.datetime(2022, 3, 13, 2, 30), None),
        ("2022-03-13T02:30:00Z", dt.datetime(2022, 3, 13, 2, 30), dt.timedelta(0)),
        ("2022-03-13T02:30:00-09:30", dt.datetime(2022, 3, 13, 2, 30), -dt.timedelta(hours=9.5)),
        ("2022-03-13T02:30:00.1234567", dt.datetime(2022, 3, 13, 2, 30, 0, 123456), None),
        ("2022-12-31T24:00:00", dt.datetime(2023, 1, 1), None),
    ],
)
def test_the_wall_and_the_offset_are_read(text: str, wall: datetime, offset: timedelta | None) -> None:
    """Local, absolute, seven digits and the end of a day are all understood, and the text is kept."""
    boundary = Boundary(text)
    assert (boundary.wall, boundary.offset) == (wall, offset)
    assert str(boundary) == text
    assert boundary.is_local == (offset is None)


@pytest.mark.parametrize(
    "text",
    [
        "2022-02-30T00:00:00",
        "2022-02-03",
        "2022-02-03T24:00:01",
        "2022-02-03T25:00:00",
        "2022-02-03T00:00:60",
        "2022-02-03T00:00:00+14:01",
        "2022-02-03T00:00:00+01:60",
        "2022-02-03 00:00:00",
        "0000-01-01T00:00:00",
        "9999-12-31T24:00:00",
        "٢022-02-03T00:00:00",
        "",
    ],
)
def test_what_is_no_moment_is_refused(text: str) -> None:
    """A date that does not exist, or a text of another shape, never becomes a boundary."""
    with pytest.raises(ValueError, match=r".+"):
        Boundary(text)


def test_a_datetime_becomes_text() -> None:
    """A naive datetime is local, one in UTC ends in Z, another keeps its offset."""
    assert Boundary.of(dt.datetime(2026, 1, 2, 3)) == "2026-01-02T03:00:00"
    assert Boundary.of(dt.datetime(2026, 1, 2, 3, tzinfo=dt.UTC)) == "2026-01-02T03:00:00Z"
    east = dt.timezone(dt.timedelta(hours=2))
    assert Boundary.of(dt.datetime(2026, 1, 2, 3, tzinfo=east)) == "2026-01-02T03:00:00+02:00"
