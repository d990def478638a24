"""What belongs to a night, asked of the interface and of nobody else."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import cast
from zoneinfo import ZoneInfo

import pytest
from pydantic import BaseModel

from innkeeper.server.messages import window_message
from innkeeper.server.pages.door import Door
from innkeeper.server.pages.nights import Night, night_of
from innkeeper.updates.window import Window
from innkeeper.wire.messages import (
    MachineList,
    PlannedMessage,
    TaskList,
    TaskMessage,
    TonightMessage,
    UpdateList,
    WindowList,
)
from innkeeper.wire.states import CancelEffect, TaskResult, Weekday

_DAY = dt.date(2026, 11, 24)
#: Read here, so that no test reads their files on the loop.
_MADRID, _UTC = ZoneInfo("Europe/Madrid"), ZoneInfo("UTC")


class Interface:
    """The interface's answers, as a service would give them."""

    def __init__(
        self,
        now: dt.datetime,
        *,
        window: Window | None = None,
        plan: tuple[PlannedMessage, ...] = (),
        runs: tuple[TaskMessage, ...] = (),
    ) -> None:
        windows = (window_message(window, now),) if window else ()
        until = now + dt.timedelta(days=1)
        self._answers: Mapping[str, BaseModel] = {
            "/windows": WindowList(windows=windows),
            "/tonight": TonightMessage(at=now, until=until, fits=True, entries=plan),
            "/updates": UpdateList(updates=()),
            "/machines": MachineList(machines=()),
            "/tasks": TaskList(tasks=runs),
        }

    async def get(self, path: str, answer: type[BaseModel], **query: object) -> BaseModel:
        return self._answers[path]


async def _night(interface: Interface, now: dt.datetime, date: dt.date | None = None) -> Night:
    return await night_of(cast(Door, interface), now, date)


def _window(hour: int, hours: int, zone: str = _MADRID.key) -> Window:
    return Window(
        name="nights",
        zone=zone,
        start=dt.time(hour),
        duration=dt.timedelta(hours=hours),
        weekdays=frozenset(Weekday),
    )


def _at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


def _run(number: int, begin: str, end: str | None) -> TaskMessage:
    return TaskMessage(
        id=number,
        kind="update_run",
        description=f"Update web-{number}",
        lock=f"machine:web-{number}",
        parent_id=None,
        owner="ana",
        created_at=_at(begin),
        ended_at=_at(end) if end else None,
        phase="Updating",
        phase_number=9,
        phase_count=20,
        percent=None,
        percent_completed=0,
        bytes_done=None,
        bytes_total=None,
        seconds_left=None,
        cancel_effect=CancelEffect.NONE,
        cancel_requested=False,
        is_cancelable=False,
        is_complete=end is not None,
        result=TaskResult.SUCCESS if end else None,
        error=0,
        error_description="",
    )


@pytest.mark.parametrize(
    ("now", "date"),
    [
        ("2026-11-24T11:30", _DAY),  # half past twelve in Madrid
        ("2026-11-25T02:00", _DAY),
        ("2026-11-25T10:59", _DAY),
        ("2026-11-25T11:00", _DAY + dt.timedelta(days=1)),
    ],
)
async def test_a_night_goes_from_noon_to_noon_where_its_window_is(now: str, date: dt.date) -> None:
    """So that the morning after, the same page is the report."""
    night = await _night(Interface(_at(now), window=_window(2, 3)), _at(now))
    assert night.date == date
    assert night.zone == "Europe/Madrid"
    assert night.is_now
    assert [opening.start.hour for opening in night.openings] == [1]


async def test_a_window_over_noon_is_not_cut_in_two() -> None:
    """It belongs, whole, to the night in which it opened."""
    interface = Interface(_at("2026-11-25T12:30"), window=_window(10, 5, _UTC.key))
    night = await _night(interface, _at("2026-11-25T12:30"))
    assert (night.date, night.end) == (_DAY, _at("2026-11-25T15:00"))
    (opening,) = night.openings
    assert (opening.start, opening.end) == (_at("2026-11-25T10:00"), _at("2026-11-25T15:00"))
    following = await _night(interface, _at("2026-11-25T15:00"))
    assert following.date == _DAY + dt.timedelta(days=1)
    assert following.start == night.end


async def test_each_run_is_in_the_night_in_which_it_ran() -> None:
    """What was over before it, or began after it, is in another."""
    runs = (
        _run(3, "2026-11-25T22:00", "2026-11-25T22:10"),
        _run(2, "2026-11-25T01:00", "2026-11-25T01:20"),
        _run(1, "2026-11-24T01:00", "2026-11-24T01:20"),
    )
    interface = Interface(_at("2026-11-26T08:00"), window=_window(2, 3), runs=runs)
    night = await _night(interface, _at("2026-11-26T08:00"), _DAY)
    assert [stay.machine for stay in night.stays] == ["web-2"]
    assert night.summary == "1 kept."
    assert not night.is_now


async def test_what_runs_ends_when_it_is_predicted_to() -> None:
    """And never before it began."""
    now = _at("2026-11-25T01:30")
    night = await _night(Interface(now, window=_window(2, 3), runs=(_run(1, "2026-11-25T01:10", None),)), now)
    (stay,) = night.stays
    assert stay.is_running
    assert stay.end > stay.start
    assert night.summary == "1 running."


async def test_an_inn_without_windows_says_so() -> None:
    """In its first night."""
    night = await _night(Interface(_at("2026-11-25T01:30")), _at("2026-11-25T01:30"))
    assert (night.zone, night.has_windows, night.summary) == ("UTC", False, "Nothing is booked.")
