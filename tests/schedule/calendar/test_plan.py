"""The runs of a task: its triggers together, as documented for run times."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest

from innkeeper.errors import InvalidArgument, ScheduleError
from innkeeper.schedule.boundary import Boundary
from innkeeper.schedule.calendar.named import NamedCalendar
from innkeeper.schedule.model.definition import TaskDefinition
from innkeeper.schedule.model.enumerations import DaysOfWeek, TriggerType

PARIS = ZoneInfo("Europe/Paris")


@pytest.fixture
def definition() -> TaskDefinition:
    made = TaskDefinition.new()
    daily = made.triggers.create(TriggerType.DAILY)
    daily.start_boundary = Boundary("2026-01-01T02:00:00")
    weekly = made.triggers.create(TriggerType.WEEKLY)
    weekly.start_boundary = Boundary("2026-01-01T02:00:00")
    weekly.days_of_week = DaysOfWeek.FRIDAY
    weekly.enabled = False
    made.triggers.create(TriggerType.BOOT)
    return made


def test_run_times_are_the_union_of_the_triggers(definition: TaskDefinition) -> None:
    """Two triggers at one moment are one run time, and each kind of trigger that no clock fires is none."""
    found = definition.run_times(dt.datetime(2026, 1, 1), dt.datetime(2026, 1, 4), zone=PARIS)
    assert [run.isoformat() for run in found] == [f"2026-01-0{day}T02:00:00+01:00" for day in (1, 2, 3)]


def test_run_times_include_the_start_and_not_the_end(definition: TaskDefinition) -> None:
    """The window is closed at its start and open at its end."""
    run = dt.datetime(2026, 1, 2, 2, tzinfo=PARIS)
    assert definition.run_times(run, run + dt.timedelta(days=1), zone=PARIS) == [run]
    assert definition.run_times(run, run, zone=PARIS) == []


def test_run_times_stop_at_the_count(definition: TaskDefinition) -> None:
    """Count bounds what would have no end; one of the two there must be."""
    assert len(definition.run_times(dt.datetime(2026, 1, 1), None, 1440, zone=PARIS)) == 1440
    assert definition.run_times(count=1, zone=PARIS) == [dt.datetime(2026, 1, 1, 2, tzinfo=PARIS)]
    assert definition.run_times(count=0) == []
    for count in (None, -1):
        with pytest.raises(InvalidArgument):
            definition.run_times(dt.datetime(2026, 1, 1), None, count)


def test_disabled_triggers_count_and_do_not_start(definition: TaskDefinition) -> None:
    """As documented, a disabled trigger shows in the run times; the effective plan leaves it out."""
    definition.triggers[1].enabled = False
    after = dt.datetime(2026, 1, 1, 12)
    assert definition.next_run_time(after, zone=PARIS) == dt.datetime(2026, 1, 2, 2, tzinfo=PARIS)
    plan = definition.plan(zone=PARIS, effective=True)
    assert plan.next_after(plan.aware(after)) is None


def test_the_schedules_own_zone_goes_before_the_hosts(definition: TaskDefinition) -> None:
    """A zone kept with the schedule holds on whatever host."""
    definition.extension.zone = "Asia/Tokyo"
    found = definition.next_run_time(dt.datetime(2026, 1, 1, tzinfo=dt.UTC), zone=PARIS)
    assert found.isoformat() == "2026-01-02T02:00:00+09:00"


def test_the_hosts_zone_is_asked_where_none_is_given(
    definition: TaskDefinition, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a word about zones, local means where this computer is."""
    monkeypatch.setenv("TZ", "America/New_York")
    found = definition.next_run_time(dt.datetime(2026, 7, 1))
    assert found.isoformat() == "2026-07-01T02:00:00-04:00"


def test_named_calendars_exclude_and_include(definition: TaskDefinition) -> None:
    """Freeze days take runs out; an included calendar leaves only its own."""
    calendars = {
        "freeze": NamedCalendar(days=((dt.date(2026, 1, 2), dt.date(2026, 1, 5)),)),
        "windows": NamedCalendar(times=((dt.datetime(2026, 1, 8), dt.datetime(2026, 1, 9)),)),
    }
    definition.extension.exclude = ("freeze",)
    found = definition.run_times(dt.datetime(2026, 1, 1), None, 3, zone=PARIS, calendars=calendars)
    assert [run.day for run in found] == [1, 5, 6]
    definition.extension.include = ("windows",)
    found = definition.run_times(dt.datetime(2026, 1, 1), None, 3, zone=PARIS, calendars=calendars)
    assert [run.day for run in found] == [8]


def test_a_calendar_that_is_not_known_is_refused(definition: TaskDefinition) -> None:
    """A typing error in a calendar's name must not mean that nothing is blacked out."""
    definition.extension.exclude = ("freze",)
    with pytest.raises(ScheduleError, match="freze"):
        definition.run_times(count=1)
