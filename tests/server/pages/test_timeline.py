"""The night's layout: whatever is in it, each bar is on the axis, and no slot holds two at once."""

from __future__ import annotations

import datetime as dt
import itertools

from hypothesis import given
from hypothesis import strategies as st

from innkeeper.server.pages import words
from innkeeper.server.pages.nights import Night, Opening, Stay
from innkeeper.server.pages.timeline import Bar, Timeline, laid_out

_NOON = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)


def _stay(
    machine: str, begin: float, minutes: float, *, host: str = "one", deadline: float | None = None
) -> Stay:
    start = _NOON + dt.timedelta(hours=begin)
    return Stay(
        machine=machine,
        identifier="2026-11",
        label="Security",
        host=host,
        window="nights",
        start=start,
        end=start + dt.timedelta(minutes=minutes),
        deadline=None if deadline is None else _NOON + dt.timedelta(hours=deadline),
        sign=words.PLANNED,
        task=None,
        reason="",
    )


def _night(*stays: Stay, openings: tuple[tuple[float, float], ...] = ()) -> Night:
    return Night(
        date=_NOON.date(),
        zone="UTC",
        now=_NOON + dt.timedelta(hours=15),
        start=_NOON,
        end=_NOON + dt.timedelta(days=1),
        openings=tuple(
            Opening(
                window="nights",
                zone="UTC",
                start=_NOON + dt.timedelta(hours=start),
                end=_NOON + dt.timedelta(hours=end),
            )
            for start, end in openings
        ),
        stays=tuple(sorted(stays, key=lambda stay: stay.start)),
        left_out=(),
        has_windows=True,
    )


def _bars(timeline: Timeline) -> list[Bar]:
    return [bar for lane in timeline.lanes for slot in lane.slots for bar in slot]


def _number(percent: str) -> float:
    return float(percent.removesuffix("%"))


_STAYS = st.lists(
    st.builds(
        _stay,
        st.sampled_from(("web-1", "db-1", "a-machine-with-a-long-name")),
        st.floats(0, 23),
        st.floats(0.1, 500),
        host=st.sampled_from(("one", "two")),
    ),
    max_size=30,
)


@given(_STAYS)
def test_every_update_has_one_bar_on_the_axis(stays: list[Stay]) -> None:
    """None is lost, none twice, and each begins on the axis."""
    timeline = laid_out(_night(*stays, openings=((14, 17),)))
    bars = _bars(timeline)
    assert sorted(id(bar.stay) for bar in bars) == sorted(id(stay) for stay in stays)
    assert all(0 <= _number(bar.x) <= 100 and _number(bar.width) > 0 for bar in bars)


@given(_STAYS)
def test_no_slot_holds_two_updates_at_once(stays: list[Stay]) -> None:
    """And no host has more slots than it had updates at one moment."""
    for lane in laid_out(_night(*stays)).lanes:
        for slot in lane.slots:
            assert all(one.stay.end <= two.stay.start for one, two in itertools.pairwise(slot))
        mine = [stay for stay in stays if stay.host == lane.host]
        most = max(sum(o.start <= s.start < o.end for o in mine) for s in mine)
        assert len(lane.slots) == most


def test_the_axis_is_as_long_as_what_happens_and_not_as_the_day() -> None:
    """An hour of work in a night of three is an hour to look at, with its window near it."""
    timeline = laid_out(
        _night(_stay("web-1", 14, 30), _stay("db-1", 14.5, 45), openings=((14, 17), (38, 41)))
    )
    assert timeline.end - timeline.start < dt.timedelta(hours=2)
    assert len(timeline.bands) == 1


def test_an_empty_night_is_shown_from_evening_to_morning() -> None:
    """There is an axis even where nothing is on it."""
    timeline = laid_out(_night())
    assert (timeline.start.hour, timeline.end.hour) == (20, 8)
    assert timeline.lanes == ()
    assert len(timeline.marks) > 5


def test_a_deadline_on_the_axis_is_marked() -> None:
    """One after it is not."""
    near, far = _stay("web-1", 14, 60, deadline=14.9), _stay("db-1", 14, 60, deadline=40)
    dues = {bar.stay.machine: bar.due for bar in _bars(laid_out(_night(near, far)))}
    assert dues["web-1"] != ""
    assert dues["db-1"] == ""


def test_the_line_of_this_moment_is_there_while_the_night_is() -> None:
    """It stands where the clock is."""
    assert _number(laid_out(_night(_stay("web-1", 14.5, 60))).now) == 50
    assert laid_out(_night(_stay("web-1", 18, 60))).now == ""
