"""What every schedule store promises: the one in memory, on SQLite and on PostgreSQL."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

import pytest
import sqlalchemy as sa

from innkeeper.errors import ErrorCode, ScheduleError
from innkeeper.schedule.memory_store import MemoryScheduleStore
from innkeeper.schedule.path import SchedulePath
from innkeeper.schedule.ports import Claim, ScheduleStore
from innkeeper.schedule.registered import Folder, Registered, Run, RunFilter, RunState, Series, Watch
from innkeeper.store.database import Database
from innkeeper.store.schedule_store import SqlScheduleStore
from innkeeper.store.tables import scheduled_tasks

NIGHT = dt.datetime(2026, 1, 10, 22, 0, 0, 250, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)

TASK = Registered(
    path=SchedulePath.parse("\\Nightly\\Größe"),
    xml="<Task/>",
    enabled=True,
    hidden=False,
    sddl="D:",
    owner="ana",
    registered_at=NIGHT,
    seed=2**31 - 1,
    handled_until=NIGHT,
    next_due=NIGHT + HOUR,
    watches=Watch.BOOT | Watch.WAKE,
    series=(Series(trigger=2, since=NIGHT),),
    machines=(("db-1", "a/b"), ("ü", "c/d")),
)
RUN = Run(
    id="{A}",
    task_id=1,
    occurrence="1@2026",
    trigger=1,
    due=NIGHT,
    state=RunState.CLAIMED,
    arguments=("a", "ü"),
    given={"who": "ä\n"},
    run_as="ana",
    ends_by=NIGHT + HOUR,
)


@pytest.fixture
def store(place: Database | None) -> ScheduleStore:
    """Each store in turn."""
    return MemoryScheduleStore() if place is None else SqlScheduleStore(place)


def named(name: str, **changes: Any) -> Registered:
    return dataclasses.replace(TASK, path=SchedulePath.parse(name), **changes)


async def test_a_task_is_read_as_it_was_put(store: ScheduleStore) -> None:
    """Every field, by id and by path, whatever the path's case."""
    (stored,) = await store.put([TASK])
    assert stored.id
    assert dataclasses.replace(stored, id=0) == TASK
    assert await store.get(stored.id) == stored
    assert await store.find(SchedulePath.parse("\\NIGHTLY\\GRÖSSE")) == stored
    assert await store.find(SchedulePath.parse("\\Nightly")) is None


async def test_tasks_whose_machines_were_never_looked_for_are_listed(store: ScheduleStore) -> None:
    """Until their machines are written, by a change too; one that names none is looked for no more."""
    await store.put([named("\\a"), named("\\b", machines=()), named("\\c", machines=None)])
    (task,) = await store.unsettled()
    assert (str(task.path), task.machines) == ("\\c", None)
    assert await store.change(task, dataclasses.replace(task, enabled=False))
    (task,) = await store.unsettled()
    assert await store.change(task, settled := dataclasses.replace(task, machines=(("x", "y/z"),)))
    assert await store.unsettled() == []
    assert await store.get(task.id) == settled


async def test_what_a_former_release_replaces_is_looked_for_again(place: Database | None) -> None:
    """It writes every column that it knows, and leaves the machines of the former definition."""
    if place is None:
        pytest.skip("no other release writes to memory")
    store = SqlScheduleStore(place)
    (stored,) = await store.put([TASK])
    replaced = sa.update(scheduled_tasks).values(registered_at=NIGHT + HOUR, xml="<Task>2</Task>")
    await place.write(lambda c: c.execute(replaced))
    assert await store.unsettled() == [
        dataclasses.replace(stored, registered_at=NIGHT + HOUR, xml="<Task>2</Task>", machines=None)
    ]


async def test_a_path_is_taken_once_and_nothing_is_half_stored(store: ScheduleStore) -> None:
    """Of several tasks put at once, one with a taken path keeps all out."""
    (stored,) = await store.put([TASK])
    with pytest.raises(ScheduleError) as refused:
        await store.put([named("\\a"), named("\\nightly\\größe")])
    assert refused.value.code is ErrorCode.ERROR_ALREADY_EXISTS
    assert await store.tasks() == [stored]


async def test_tasks_are_listed_by_folder_in_the_order_of_their_paths(store: ScheduleStore) -> None:
    """A folder's tasks are those directly in it."""
    await store.put([named("\\b"), named("\\a"), named("\\f\\c")])
    assert [str(task.path) for task in await store.tasks()] == ["\\a", "\\b", "\\f\\c"]
    assert [str(task.path) for task in await store.tasks(SchedulePath.parse("\\F"))] == ["\\f\\c"]
    assert [str(task.path) for task in await store.tasks(SchedulePath(()))] == ["\\a", "\\b"]


async def test_folders_are_kept_changed_and_removed(store: ScheduleStore) -> None:
    """A folder of the same path, in whatever case, is the same folder."""
    deep, top = Folder(path=SchedulePath.parse("\\a\\b")), Folder(path=SchedulePath.parse("\\a"))
    await store.put_folders([deep, top])
    assert list(await store.folders()) == [top, deep]
    changed = Folder(path=SchedulePath.parse("\\A"), sddl="D:")
    await store.put_folders([changed])
    assert list(await store.folders()) == [changed, deep]
    await store.remove_folder(top.path)
    assert list(await store.folders()) == [deep]


async def test_what_is_due_comes_soonest_first(store: ScheduleStore) -> None:
    """Disabled tasks and those without a next run are not due."""
    await store.put(
        [
            named("\\late", next_due=NIGHT + 2 * HOUR),
            named("\\soon", next_due=NIGHT),
            named("\\never", next_due=None),
            named("\\off", next_due=NIGHT, enabled=False),
        ]
    )
    assert [task.path.name for task in await store.due(NIGHT + 3 * HOUR, 9)] == ["soon", "late"]
    assert [task.path.name for task in await store.due(NIGHT + 3 * HOUR, 1)] == ["soon"]
    assert [task.path.name for task in await store.due(NIGHT, 9)] == ["soon"]


async def test_a_start_is_claimed_once(store: ScheduleStore) -> None:
    """Of two that saw the same task due, the first makes the start; the second finds it moved on."""
    (task,) = await store.put([TASK])
    run = dataclasses.replace(RUN, task_id=task.id)
    claim = Claim(seen=task, handled_until=NIGHT + HOUR, next_due=None, missed_runs=3, runs=(run,))
    assert await store.claim([claim]) == [run]
    assert await store.claim([dataclasses.replace(claim, runs=(dataclasses.replace(run, id="{B}"),))]) == []
    moved = await store.get(task.id)
    assert moved is not None
    assert (moved.handled_until, moved.next_due, moved.missed_runs) == (NIGHT + HOUR, None, 3)
    again = dataclasses.replace(claim, seen=moved, runs=(dataclasses.replace(run, id="{C}"),))
    assert await store.claim([again]) == []
    assert list(await store.runs(task.id)) == [run]


async def test_a_run_is_changed_and_ended_with_its_task(store: ScheduleStore) -> None:
    """The end of a run and the task's last result are one write."""
    (task,) = await store.put([TASK])
    run = dataclasses.replace(RUN, task_id=task.id)
    assert await store.put_run(run)
    assert not await store.put_run(dataclasses.replace(run, id="{B}"))
    running = dataclasses.replace(run, state=RunState.RUNNING, operation=7, started_at=NIGHT)
    assert await store.put_run(running)
    assert await store.run("{A}") == running
    assert list(await store.runs(live=True)) == [running]
    ended = dataclasses.replace(running, state=RunState.FINISHED, ended_at=NIGHT + HOUR, result=0x80041324)
    await store.end_run(ended, dataclasses.replace(task, last_run=NIGHT, last_result=5, missed_runs=0))
    assert list(await store.runs(live=True)) == []
    assert list(await store.runs(live=False)) == [ended]
    kept = await store.get(task.id)
    assert kept is not None
    assert kept.last_result == 5


async def test_an_operation_is_named_without_touching_the_rest(store: ScheduleStore) -> None:
    """Whoever names the operation late does not take back that the run has ended."""
    (task,) = await store.put([TASK])
    run = dataclasses.replace(RUN, task_id=task.id)
    await store.put_run(run)
    ended = dataclasses.replace(run, state=RunState.FINISHED, ended_at=NIGHT)
    await store.end_run(ended, None)
    await store.set_operation(run.id, 7)
    await store.set_operation("{none}", 7)
    assert await store.run(run.id) == dataclasses.replace(ended, operation=7)


async def test_a_task_is_forgotten_with_its_history(store: ScheduleStore) -> None:
    """Nothing is left of it, and its id is not given again."""
    (task,) = await store.put([TASK])
    await store.put_run(dataclasses.replace(RUN, task_id=task.id))
    await store.remove(task.id)
    assert await store.run("{A}") is None
    assert await store.get(task.id) is None
    (again,) = await store.put([TASK])
    assert again.id > task.id


async def test_a_task_and_its_folders_are_one_write(store: ScheduleStore) -> None:
    """The folders around it are made; where its path is taken, nothing of it is stored."""
    path = SchedulePath.parse("\\New\\Deep\\t")
    around = [SchedulePath.parse("\\New"), SchedulePath.parse("\\New\\Deep")]
    stored = await store.register(named("\\New\\Deep\\t"), around)
    assert await store.find(path) == stored
    assert [str(folder.path) for folder in await store.folders()] == ["\\New", "\\New\\Deep"]
    changed = await store.register(dataclasses.replace(stored, owner="bo"), around)
    assert await store.get(stored.id) == changed
    for taken in ("\\NEW\\deep\\T", "\\new"):
        with pytest.raises(ScheduleError) as refused:
            await store.register(named(taken), [SchedulePath.parse("\\Half")])
        assert refused.value.code is ErrorCode.ERROR_ALREADY_EXISTS
    assert len(await store.folders()) == 2


async def test_runs_are_searched_by_path_reason_and_state(store: ScheduleStore) -> None:
    """In any case, newest first; what no operation carries is told apart."""
    (night, day) = await store.put([named("\\Nightly\\Größe"), named("\\Day")])
    runs = [
        dataclasses.replace(RUN, id="{1}", task_id=night.id, occurrence="1", reason="missed"),
        dataclasses.replace(RUN, id="{2}", task_id=day.id, occurrence="2", state=RunState.QUEUED),
        dataclasses.replace(RUN, id="{3}", task_id=day.id, occurrence="3", reason="Missed 100%"),
    ]
    for run in runs:
        await store.put_run(run)

    async def found(text: str, *states: RunState) -> list[str]:
        wanted = RunFilter(text=text, states=states)
        return [run.id for _, run in await store.search(wanted, limit=9)]

    assert await found("") == ["{3}", "{2}", "{1}"]
    assert await found("NIGHTLY") == ["{1}"]
    assert await found("missed") == ["{3}", "{1}"]
    assert await found("100%") == ["{3}"]
    assert await found("", RunState.QUEUED) == ["{2}"]
    assert [run.id for run in await store.waiting()] == ["{1}", "{2}", "{3}"]
    await store.begin_run(dataclasses.replace(runs[0], state=RunState.RUNNING, operation=4))
    assert [run.id for run in await store.waiting()] == ["{2}", "{3}"]


async def test_runs_are_read_page_by_page_whatever_is_added(store: ScheduleStore) -> None:
    """Each page goes on behind the number of the last one's last run."""
    (task,) = await store.put([named("\\Nightly")])
    runs = [dataclasses.replace(RUN, id=f"{{{n}}}", task_id=task.id, occurrence=str(n)) for n in range(6)]
    for run in runs[:5]:
        await store.put_run(run)
    first = await store.search(RunFilter(task_id=task.id), limit=3)
    await store.put_run(runs[5])
    second = await store.search(RunFilter(task_id=task.id), before=first[-1][0], limit=3)
    assert [run.id for _, run in [*first, *second]] == ["{4}", "{3}", "{2}", "{1}", "{0}"]


async def test_tasks_are_found_by_what_concerns_them(store: ScheduleStore) -> None:
    """Any of several kinds; not those that are disabled."""
    stored = await store.put(
        [
            named("\\boot", watches=Watch.BOOT),
            named("\\both", watches=Watch.BOOT | Watch.EVENT),
            named("\\clock", watches=Watch.NOTHING),
            named("\\off", watches=Watch.BOOT, enabled=False),
        ]
    )
    assert list(await store.watching(Watch.BOOT)) == list(stored[:2])
    assert list(await store.watching(Watch.EVENT | Watch.IDLE)) == [stored[1]]
    assert list(await store.watching(Watch.MAINTENANCE)) == []


async def test_repetitions_are_written_and_nothing_else(store: ScheduleStore) -> None:
    """What else of the task has changed meanwhile stays."""
    (stored,) = await store.put([TASK])
    (newer,) = await store.put([dataclasses.replace(stored, missed_runs=3)])
    series = (Series(trigger=1, since=NIGHT + HOUR),)
    await store.set_series(dataclasses.replace(stored, series=series, next_due=None))
    assert await store.get(stored.id) == dataclasses.replace(newer, series=series, next_due=None)


async def test_a_boot_is_remembered_by_computer(store: ScheduleStore) -> None:
    """Of one that was never seen nothing is known."""
    assert await store.boot_id("host-1") == ""
    for boot in ("b1", "b2"):
        await store.set_boot_id("host-1", boot)
    assert (await store.boot_id("host-1"), await store.boot_id("host-2")) == ("b2", "")


async def test_what_is_due_follows_a_place_too(store: ScheduleStore) -> None:
    """A moment and an id: of one moment the larger ids follow."""
    await store.put(
        [named("\\a", next_due=NIGHT), named("\\b", next_due=NIGHT), named("\\c", next_due=NIGHT + HOUR)]
    )
    first, *_ = await store.due(NIGHT + 3 * HOUR, 9)
    behind = await store.due(NIGHT + 3 * HOUR, 9, after=(NIGHT, first.id))
    assert [task.path.name for task in behind] == ["b", "c"]
    assert [task.path.name for task in await store.due(NIGHT + 3 * HOUR, 9, after=(NIGHT, 2**62))] == ["c"]
