"""The runs of a trigger: boundaries, repetition, changes of the clock."""

from __future__ import annotations

import datetime as dt
import itertools
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.schedule.boundary import Boundary
from innkeeper.schedule.calendar import zone
from innkeeper.schedule.calendar.recurrence import Recurrence
from innkeeper.schedule.calendar.spans import Spans
from innkeeper.schedule.duration import Duration
from innkeeper.schedule.model import plan
from innkeeper.schedule.model import triggers as t
from innkeeper.schedule.model.enumerations import DaysOfMonth, DaysOfWeek, WeeksOfMonth
from innkeeper.schedule.model.triggers import DailyTrigger, MonthlyDOWTrigger, MonthlyTrigger, WeeklyTrigger
from tests.schedule.calendar.test_zone import ZONES

DAY = 86_400


def runs(trigger: t.Trigger, begin: str, count: int, key: str = "UTC") -> list[str]:
    """The first runs from a moment on, as text on the schedule's wall."""
    recurrence = plan.recurrence_of(trigger, zone.named(key))
    found, moment = (
        [],
        dt.datetime.fromisoformat(begin).replace(tzinfo=ZoneInfo(key)) - dt.timedelta(seconds=1),
    )
    while len(found) < count and (moment := recurrence.next_after(moment)) is not None:
        found.append(moment.isoformat())
    return found


def minutes(trigger: t.Trigger) -> list[str]:
    return [run[14:16] for run in runs(trigger, "2026-01-01", 9)]


def repeated(interval: str, duration: str | None = None) -> t.RepetitionPattern:
    lasting = None if duration is None else Duration(duration)
    return t.RepetitionPattern(interval=Duration(interval), duration=lasting)


def test_a_repetition_includes_the_end_of_its_duration() -> None:
    """Every minute for four minutes is five starts; every 25 minutes for an hour is three."""
    trigger = t.TimeTrigger(
        start_boundary=Boundary("2026-01-01T01:00:00"), repetition=repeated("PT1M", "PT4M")
    )
    assert [run[11:16] for run in runs(trigger, "2026-01-01", 9)] == [
        "01:00",
        "01:01",
        "01:02",
        "01:03",
        "01:04",
    ]
    trigger.repetition = repeated("PT25M", "PT60M")
    assert minutes(trigger) == ["00", "25", "50"]
    trigger.repetition = repeated("PT15M", "PT60M")
    assert [run[11:16] for run in runs(trigger, "2026-01-01", 9)] == [
        "01:00",
        "01:15",
        "01:30",
        "01:45",
        "02:00",
    ]


def test_a_repetition_without_duration_has_no_end() -> None:
    """Absent is indefinite; a calendar trigger's next run begins a new pattern."""
    once = t.TimeTrigger(start_boundary=Boundary("2026-01-01T00:00:00"), repetition=repeated("PT7H"))
    assert runs(once, "2031-07-01", 1) == ["2031-07-01T06:00:00+00:00"]
    daily = t.DailyTrigger(start_boundary=Boundary("2026-01-01T00:00:00"), repetition=repeated("PT7H"))
    assert [run[8:13] for run in runs(daily, "2026-01-02", 6)] == [
        "02T00", "02T07", "02T14", "02T21", "03T00", "03T07",
    ]  # fmt: skip


def test_a_repetition_counts_elapsed_time_through_a_change_of_the_clock() -> None:
    """An hourly repetition runs 25 times on the long day and 23 times on the short one."""
    trigger = t.DailyTrigger(
        start_boundary=Boundary("2026-01-01T00:00:00"), repetition=repeated("PT1H", "PT23H59M")
    )
    assert sum(run.startswith("2026-10-25") for run in runs(trigger, "2026-10-25", 60, "Europe/Berlin")) == 24
    trigger.repetition = repeated("PT1H")
    assert sum(run.startswith("2026-10-25") for run in runs(trigger, "2026-10-25", 60, "Europe/Berlin")) == 25
    assert sum(run.startswith("2026-03-29") for run in runs(trigger, "2026-03-29", 60, "Europe/Berlin")) == 23


def test_boundaries_are_included_and_nothing_is_outside_them() -> None:
    """The first run may be at the start boundary and the last at the end boundary, repetitions too."""
    trigger = t.DailyTrigger(
        start_boundary=Boundary("2026-01-01T02:00:00"), end_boundary=Boundary("2026-01-03T02:00:00")
    )
    assert [run[:10] for run in runs(trigger, "2020-01-01", 9)] == ["2026-01-01", "2026-01-02", "2026-01-03"]
    trigger.end_boundary = Boundary("2026-01-02T01:59:59")
    assert [run[:10] for run in runs(trigger, "2020-01-01", 9)] == ["2026-01-01"]
    trigger.repetition = repeated("PT1H")
    assert len(runs(trigger, "2020-01-01", 99)) == 24


def test_an_absolute_boundary_ignores_the_zone() -> None:
    """A Z or an offset synchronises across zones: the run stays put while the wall moves."""
    trigger = t.DailyTrigger(start_boundary=Boundary("2026-01-01T02:00:00Z"))
    berlin = zone.named("Europe/Berlin")
    recurrence = plan.recurrence_of(trigger, berlin)
    for month in (1, 7):
        found = recurrence.next_after(dt.datetime(2026, month, 10, tzinfo=dt.UTC))
        assert found == dt.datetime(2026, month, 10, 2, tzinfo=dt.UTC)
    trigger = t.DailyTrigger(
        start_boundary=Boundary("2026-01-01T02:00:00"), end_boundary=Boundary("2026-01-03T00:00:00Z")
    )
    assert len(runs(trigger, "2026-01-01", 9, "Europe/Berlin")) == 2


def test_seven_digits_are_kept_as_far_as_a_datetime_goes() -> None:
    """A run is not a fraction of a second before its boundary."""
    trigger = t.DailyTrigger(
        start_boundary=Boundary("2026-01-01T02:00:00.1234567"), end_boundary=Boundary("2026-01-02T02:00:00.1")
    )
    assert runs(trigger, "2020-01-01", 5) == ["2026-01-01T02:00:00.123456+00:00"]
    recurrence = plan.recurrence_of(trigger, zone.named("UTC"))
    first = dt.datetime(2026, 1, 1, 2, 0, 0, 123456, dt.UTC)
    assert recurrence.next_after(first - dt.timedelta(microseconds=1)) == first
    assert recurrence.next_after(first) is None


@pytest.mark.parametrize(
    "trigger",
    [
        t.DailyTrigger(start_boundary=Boundary("2022-01-01T02:30:00")),
        t.WeeklyTrigger(start_boundary=Boundary("2022-01-01T02:30:00"), days_of_week=DaysOfWeek.SUNDAY),
        t.MonthlyTrigger(start_boundary=Boundary("2022-01-01T02:30:00"), days_of_month=DaysOfMonth.of(13)),
        t.MonthlyDOWTrigger(
            start_boundary=Boundary("2022-01-01T02:30:00"),
            days_of_week=DaysOfWeek.SUNDAY,
            weeks_of_month=WeeksOfMonth.SECOND,
        ),
    ],
    ids=lambda trigger: trigger.type.name,
)
def test_each_calendar_trigger_runs_at_the_end_of_the_gap(
    trigger: DailyTrigger | WeeklyTrigger | MonthlyTrigger | MonthlyDOWTrigger,
) -> None:
    """The documented case holds for every kind of calendar trigger, and the next run is at 02:30 again."""
    first, second = runs(trigger, "2022-03-13", 2, "America/Los_Angeles")
    assert first == "2022-03-13T03:00:00-07:00"
    assert second.endswith("T02:30:00-07:00")


def test_a_run_in_the_fold_happens_once() -> None:
    """01:30 comes twice on the night of the change, and the run only the first time."""
    trigger = t.DailyTrigger(start_boundary=Boundary("2022-01-01T01:30:00"))
    assert runs(trigger, "2022-11-06", 2, "America/Los_Angeles") == [
        "2022-11-06T01:30:00-07:00",
        "2022-11-07T01:30:00-08:00",
    ]
    second_pass = dt.datetime(2022, 11, 6, 1, 15, fold=1, tzinfo=ZoneInfo("America/Los_Angeles"))
    recurrence = plan.recurrence_of(trigger, zone.named("America/Los_Angeles"))
    assert recurrence.next_after(second_pass).day == 7


def test_a_date_that_does_not_exist_is_passed_over() -> None:
    """Samoa had no 30 December 2011."""
    trigger = t.DailyTrigger(start_boundary=Boundary("2011-12-01T09:00:00"))
    assert [run[8:10] for run in runs(trigger, "2011-12-29", 2, "Pacific/Apia")] == ["29", "31"]


triggers = st.one_of(
    st.builds(
        t.DailyTrigger, start_boundary=st.just("2025-01-01T02:30:00"), days_interval=st.integers(1, 40)
    ),
    st.builds(
        t.WeeklyTrigger,
        start_boundary=st.just("2025-01-01T00:00:00"),
        days_of_week=st.integers(1, 127),
        weeks_interval=st.integers(1, 5),
    ),
    st.builds(
        t.MonthlyTrigger, start_boundary=st.just("2025-01-01T23:59:59"), days_of_month=st.integers(1, 1 << 31)
    ),
)
instants = st.integers(
    int(dt.datetime(2024, 12, 1, tzinfo=dt.UTC).timestamp()),
    int(dt.datetime(2028, 1, 1, tzinfo=dt.UTC).timestamp()),
)


@given(triggers, st.sampled_from(ZONES), instants, st.integers(1, 90), st.none() | st.integers(1, 90 * 24))
def test_repetition_is_the_runs_without_it_each_repeated(trigger, key, instant, hours, lasting) -> None:
    """The closed form is what comes of writing every base run and every repetition down."""
    here = zone.named(key)
    base = plan.recurrence_of(trigger, here)
    lasting = None if lasting is None else max(lasting, hours)
    trigger.repetition = repeated(f"PT{hours}H", None if lasting is None else f"PT{lasting}H")
    recurrence = plan.recurrence_of(trigger, here)
    written = []
    firsts = list(base.between(instant - 400 * DAY, instant + 400 * DAY))
    for first, following in itertools.pairwise(firsts):
        upto = following if lasting is None else min(following, first + lasting * 3600 + 1)
        written += range(first, upto, hours * 3600)
    if firsts and firsts[0] <= instant < firsts[-1]:
        assert recurrence.next_instant(instant) == next((run for run in written if run > instant), firsts[-1])
        assert recurrence.latest(instant) == max(run for run in written if run <= instant)


@given(triggers, st.sampled_from(ZONES), instants)
def test_the_next_run_is_the_first_after(trigger, key, instant) -> None:
    """Nothing runs between an instant and its next run, and from the run before it leads to the same."""
    recurrence = plan.recurrence_of(trigger, zone.named(key))
    found = recurrence.next_instant(instant)
    if found is None:  # a rule without days
        return
    assert found > instant
    before = recurrence.latest(found - 1)
    assert before is None or before <= instant
    assert recurrence.next_instant(found - 1) == found
    assert recurrence.latest(found) == found


@given(triggers, instants, st.lists(st.tuples(st.integers(0, 300), st.integers(1, 40)), max_size=12))
def test_a_blackout_takes_out_the_runs_it_covers_and_no_others(trigger, instant, stretches) -> None:
    """The runs are those without the blackout, less those inside it."""
    spans = Spans((instant + begin * DAY, instant + (begin + length) * DAY) for begin, length in stretches)
    here = zone.named("Europe/Paris")
    clear = plan.recurrence_of(trigger, here)
    blacked = plan.recurrence_of(trigger, here, spans)
    end = instant + 400 * DAY
    covered = {run for run in clear.between(instant, end) for begin, upto in spans if begin <= run < upto}
    assert list(blacked.between(instant, end)) == [
        run for run in clear.between(instant, end) if run not in covered
    ]


def test_a_blackout_without_end_leaves_nothing() -> None:
    """Outside the only included days, for ever, there is no run, and no endless search."""
    trigger = t.DailyTrigger(start_boundary=Boundary("2026-01-01T02:00:00"))
    begin = int(dt.datetime(2026, 2, 1, tzinfo=dt.UTC).timestamp())
    outside = Spans([(begin, begin + DAY)]).gaps()
    recurrence = plan.recurrence_of(trigger, zone.named("UTC"), outside)
    assert recurrence.next_instant(0) == begin + 2 * 3600
    assert recurrence.next_instant(begin + DAY) is None


def test_a_long_blackout_costs_one_step_for_each_stretch() -> None:
    """Ten thousand stretches in a row neither recurse nor take long."""
    trigger = t.DailyTrigger(start_boundary=Boundary("2026-01-01T02:00:00"))
    begin = int(dt.datetime(2026, 1, 1, tzinfo=dt.UTC).timestamp())
    spans = Spans((begin + day * DAY + 3600, begin + day * DAY + 3 * 3600) for day in range(10_000))
    recurrence = plan.recurrence_of(trigger, zone.named("UTC"), spans)
    assert recurrence.next_instant(begin) == begin + 10_000 * DAY + 2 * 3600


@given(st.integers(-62_135_000_000, 253_402_000_000))
def test_no_moment_of_the_calendar_breaks_it(instant) -> None:
    """From year 1 to year 9999 there is an answer, and it lies ahead."""
    for trigger in (
        t.DailyTrigger(start_boundary=Boundary("2026-01-01T02:00:00"), repetition=repeated("PT1H")),
        t.MonthlyTrigger(start_boundary=Boundary("2026-01-01T02:00:00"), days_of_month=DaysOfMonth.LAST),
    ):
        found: Recurrence = plan.recurrence_of(trigger, zone.named("Pacific/Apia"))
        run = found.next_instant(instant)
        assert run is None or run > instant
