"""Maintenance runs in its window: what is eligible, exclusive tasks alone, and no longer than it may."""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest

from innkeeper.schedule.duration import Duration
from innkeeper.schedule.model.definition import TaskDefinition
from innkeeper.schedule.model.enumerations import ActionType
from innkeeper.schedule.registered import RunState
from innkeeper.schedule.running.maintenance import Maintenance, MaintenanceWindow
from innkeeper.schedule.running.waker import Waker
from tests.schedule.house import NIGHT, House, daily, running

HANDLER = "{3F2504E0-4F89-11D3-9A0C-0305E82C3301}"
THREE = dt.datetime(2026, 1, 11, 3, 0, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
DAY = dt.timedelta(days=1)


class Work:
    """A handler that works until it is let go, and counts who works at once."""

    def __init__(self, house: House) -> None:
        self.let_go = asyncio.Event()
        self.at_work: list[str] = []
        house.handlers.register(HANDLER, "work", self._work)

    async def _work(self, status, data) -> None:
        self.at_work.append(data)
        try:
            await self.let_go.wait()
        finally:
            self.at_work.remove(data)


@pytest.fixture
async def house():
    house = House()
    house.maintenance = Maintenance(
        store=house.store, scheduler=house.scheduler, clock=house.clock, home=lambda: dt.UTC
    )
    await house.tasks.launch()
    yield house
    await house.tasks.close()


def maintained(
    name: str, period: str = "P1D", deadline: str | None = None, *, exclusive: bool = False
) -> TaskDefinition:
    made = TaskDefinition.new()
    action = made.actions.create(ActionType.COM_HANDLER)
    action.class_id, action.data = HANDLER, name
    settings = made.settings.create_maintenance_settings()
    settings.period, settings.exclusive = Duration(period), exclusive
    settings.deadline = None if deadline is None else Duration(deadline)
    return made


async def at(house: House, moment: dt.datetime) -> None:
    await house.clock.advance((moment - house.clock.now()).total_seconds())
    await house.maintenance.look()
    await house.scheduler.look()
    await house.clock.advance(0)


async def states(house: House, name: str):
    task = await house.registry.task(name)
    return [run.state for run in await house.store.runs(task.id)]


async def test_a_task_runs_once_a_period_in_the_window(house: House) -> None:
    """Registered on Saturday evening with a period of a day: not on Sunday at three, but on Monday."""
    work = Work(house)
    await house.registry.register("\\a", maintained("a"), owner="ana")
    await at(house, THREE)
    assert await states(house, "\\a") == []
    await at(house, THREE + DAY - HOUR)
    assert await states(house, "\\a") == []
    await at(house, THREE + DAY)
    await at(house, THREE + DAY + HOUR / 2)
    assert work.at_work == ["a"]
    work.let_go.set()
    await house.clock.advance(0)
    await at(house, THREE + DAY + HOUR * 0.9)
    assert await states(house, "\\a") == [RunState.FINISHED]
    # It ended half an hour after three: a whole day has not passed at the next window's start.
    await at(house, THREE + 2 * DAY)
    assert len(await states(house, "\\a")) == 1
    await at(house, THREE + 2 * DAY + HOUR * 0.6)
    assert len(await states(house, "\\a")) == 2


async def test_the_windows_end_stops_what_is_not_overdue(house: House) -> None:
    """With a deadline passed, it is let finish; without one, it is stopped and says why."""
    work = Work(house)
    await house.registry.register("\\a", maintained("a"), owner="ana")
    await house.registry.register("\\late", maintained("late", "P1D", "P2D"), owner="ana")
    await at(house, THREE + 2 * DAY)
    assert sorted(work.at_work) == ["a", "late"]
    await at(house, THREE + 2 * DAY + HOUR)
    assert work.at_work == ["late"]
    task = await house.registry.task("\\a")
    (run,) = await house.store.runs(task.id)
    assert (run.state, run.reason) == (RunState.TERMINATED, "the maintenance window has ended")
    # A task that was stopped has not come to its end: the next window starts it again.
    await at(house, THREE + 3 * DAY)
    assert sorted(work.at_work) == ["a", "late"]


async def test_exclusive_tasks_run_alone_and_last(house: House) -> None:
    """One after another, when all others have ended."""
    work = Work(house)
    for name, exclusive in (("x", True), ("a", False), ("y", True), ("b", False)):
        await house.registry.register(f"\\{name}", maintained(name, exclusive=exclusive), owner="ana")
    await at(house, THREE + DAY)
    assert sorted(work.at_work) == ["a", "b"]
    for minutes, expected in ((10, ["x"]), (20, ["y"]), (30, [])):
        work.let_go.set()
        await house.clock.advance(0)
        work.let_go.clear()
        await at(house, THREE + DAY + dt.timedelta(minutes=minutes))
        assert work.at_work == expected


def test_a_window_may_go_over_midnight() -> None:
    """It belongs to the day that it begins on."""
    window = MaintenanceWindow(start=dt.time(23, 30), length=HOUR)
    begin = dt.datetime(2026, 1, 10, 23, 30, tzinfo=dt.UTC)
    assert window.at(begin) == window.at(begin + HOUR * 0.9) == (begin, begin + HOUR)
    assert window.at(begin + HOUR) is None
    assert window.at(begin - HOUR) is None


class Alarm:
    """What the alarm is set to."""

    def __init__(self, missing: str = "") -> None:
        self.moments: list[dt.datetime | None] = []
        self._missing = missing

    def missing(self) -> str:
        return self._missing

    def set(self, moment: dt.datetime | None) -> None:
        self.moments.append(moment)


async def test_the_computer_is_woken_for_the_first_task_that_asks_for_it(house: House) -> None:
    """A little before it is due; never for one that does not ask, and not at all where it cannot be."""
    alarm = Alarm()
    waker = Waker(store=house.store, clock=house.clock, alarm=alarm)
    await house.registry.register("\\early", daily(running("true"), "2026-01-10T21:00:00"), owner="ana")
    await waker.look()
    waking = daily(running("true"))
    waking.settings.wake_to_run = True
    await house.register(waking)
    await waker.look()
    assert alarm.moments == [None, NIGHT + 2 * HOUR - dt.timedelta(seconds=15)]
    cannot = Alarm("no clock")
    await Waker(store=house.store, clock=house.clock, alarm=cannot).run()
    assert cannot.moments == []
