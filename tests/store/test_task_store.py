"""What every task store promises: the one in memory, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import pytest

from innkeeper.errors import TaskNotFound
from innkeeper.store.database import Database
from innkeeper.store.task_store import SqlTaskStore
from innkeeper.tasks.memory_store import MemoryTaskStore
from innkeeper.tasks.ports import LastWords, LockHeld, TaskStore
from innkeeper.tasks.task import CancelEffect, LogLevel, NewTask, Progress, Task, TaskFilter, TaskResult

NIGHT = dt.datetime(2026, 1, 10, 22, 0, tzinfo=dt.UTC)


@pytest.fixture
def store(place: Database | None) -> TaskStore:
    """Each store in turn."""
    return MemoryTaskStore() if place is None else SqlTaskStore(place)


async def create(
    store: TaskStore,
    description: str = "Save web-1",
    *,
    lock: str | None = None,
    kind: str = "save",
    parent_id: int | None = None,
    at: dt.datetime = NIGHT,
) -> Task:
    """A task, written down."""
    new = NewTask(
        kind=kind,
        description=description,
        lock=lock,
        parent_id=parent_id,
        owner="ana",
        argument={"machine": "web-1", "disks": [1, None, {"a": 0.5}]},
    )
    return await store.create(new, at)


async def end(store: TaskStore, task: Task, at: dt.datetime = NIGHT) -> Task:
    """The task, ended well."""
    await store.end(task.id, result=TaskResult.SUCCESS, error=0, error_description="", at=at, server="one")
    return await store.get(task.id)


async def test_a_new_task_is_live_and_as_it_was_written(store: TaskStore) -> None:
    """What was written is what is read, argument included."""
    task = await create(store, "Save «wéb-1»\0", lock="machine:web-1")
    assert (task.kind, task.owner, task.lock) == ("save", "ana", "machine:web-1")
    assert (task.created_at, task.ended_at, task.result) == (NIGHT, None, None)
    assert task.progress == Progress()
    assert task.cancel_effect is CancelEffect.BACK_TO_START
    assert not task.cancel_requested
    again = await store.get(task.id)
    assert again.description.startswith("Save «wéb-1»")
    assert await store.argument(task.id) == {"machine": "web-1", "disks": [1, None, {"a": 0.5}]}


async def test_times_are_kept_as_moments(store: TaskStore) -> None:
    """A time in another zone is the same moment, and is read in UTC."""
    madrid = dt.timezone(dt.timedelta(hours=1))
    task = await create(store, at=dt.datetime(2026, 1, 10, 23, 0, 0, 123456, tzinfo=madrid))
    read = (await store.get(task.id)).created_at
    assert read == dt.datetime(2026, 1, 10, 22, 0, 0, 123456, tzinfo=dt.UTC)
    assert read.utcoffset() in (dt.timedelta(0), dt.timedelta(hours=1))


async def test_ids_grow_and_are_never_given_twice(store: TaskStore) -> None:
    """Also after the last task has been purged."""
    first = await create(store)
    second = await create(store)
    await end(store, second)
    await store.purge(before=NIGHT + dt.timedelta(days=1), keep=100)
    third = await create(store)
    assert first.id < second.id < third.id


async def test_one_live_task_holds_a_lock(store: TaskStore) -> None:
    """The second is refused with the holder's id, until the first has ended; no lock is no lock."""
    holder = await create(store, lock="machine:web-1")
    with pytest.raises(LockHeld) as refusal:
        await create(store, lock="machine:web-1")
    assert refusal.value.task_id == holder.id
    await create(store, lock="machine:db-1")
    await create(store)
    await create(store)
    await end(store, holder)
    await create(store, lock="machine:web-1")


async def test_of_many_at_once_one_gets_the_lock(store: TaskStore) -> None:
    """Twenty tasks that want one machine at the same moment: one lives, nineteen are refused."""
    results = await asyncio.gather(
        *(create(store, lock="machine:web-1") for _ in range(20)), return_exceptions=True
    )
    assert sum(isinstance(result, Task) for result in results) == 1
    assert sum(isinstance(result, LockHeld) for result in results) == 19


async def test_progress_is_written_until_the_end(store: TaskStore) -> None:
    """Bytes beyond 32 bits are kept; what comes after the end is not."""
    task = await create(store)
    progress = Progress(
        phase="Copy", phase_number=2, phase_count=5, percent=41, bytes_done=2**40, bytes_total=2**41
    )
    await store.progress(task.id, progress)
    assert (await store.get(task.id)).progress == progress
    await end(store, task)
    await store.progress(task.id, Progress(phase="Late"))
    assert (await store.get(task.id)).progress == progress


async def test_a_cancel_is_taken_while_it_has_an_effect(store: TaskStore) -> None:
    """Not past the point of no return, and not after the end."""
    task = await create(store)
    await store.set_cancel_effect(task.id, CancelEffect.NONE)
    assert not await store.request_cancel(task.id)
    assert not (await store.get(task.id)).cancel_requested
    await store.set_cancel_effect(task.id, CancelEffect.STOPS_RESUMABLE)
    assert await store.request_cancel(task.id)
    assert await store.request_cancel(task.id)
    assert (await store.get(task.id)).cancel_requested
    await end(store, task)
    assert not await store.request_cancel(task.id)


async def test_a_task_ends_once(store: TaskStore) -> None:
    """The first end stands; its error is an unsigned HRESULT."""
    task = await create(store)
    await store.end(
        task.id,
        result=TaskResult.UNEXPECTED_ERROR,
        error=0x80004005,
        error_description="It failed.",
        at=NIGHT,
        server="one",
    )
    ended = await store.get(task.id)
    assert (ended.result, ended.error, ended.error_description, ended.ended_at) == (
        TaskResult.UNEXPECTED_ERROR,
        0x80004005,
        "It failed.",
        NIGHT,
    )
    assert await end(store, task, NIGHT + dt.timedelta(hours=1)) == ended
    assert await store.get(task.id) == ended


async def test_the_list_is_newest_first_and_filtered(store: TaskStore) -> None:
    """By life, kind, lock, parent, text in any case, and page."""
    first = await create(store, "Save web-1", lock="machine:web-1")
    second = await create(store, "Merge 100% of DB_1", kind="merge", parent_id=first.id)
    third = await create(store, "Start old-1")
    await store.end(
        third.id,
        result=TaskResult.UNEXPECTED_ERROR,
        error=1,
        error_description="No ROOM left",
        at=NIGHT,
        server="one",
    )

    async def ids(**filters: object) -> list[int]:
        return [task.id for task in await store.list(TaskFilter(**filters))]  # type: ignore[arg-type]

    assert await ids() == [third.id, second.id, first.id]
    assert await ids(live=True) == [second.id, first.id]
    assert await ids(live=False) == [third.id]
    assert await ids(kind="merge") == [second.id]
    assert await ids(lock="machine:web-1") == [first.id]
    assert await ids(parent_id=first.id) == [second.id]
    assert await ids(host="attic") == []
    assert await ids(cancel_requested=True) == []
    assert await store.request_cancel(second.id)
    assert await ids(cancel_requested=True, live=True) == [second.id]
    assert await ids(cancel_requested=False) == [third.id, first.id]
    assert await ids(text="room") == [third.id]
    assert await ids(text="100% of db_") == [second.id]
    assert await ids(text="1%") == []
    assert await ids(before_id=third.id, limit=1) == [second.id]


async def test_the_log_is_numbered_from_one(store: TaskStore) -> None:
    """Lines keep their order and level, and can be read from a place on."""
    task = await create(store)
    await store.append_log(task.id, [])
    first = await store.append_log(
        task.id, [(NIGHT, LogLevel.INFO, "one"), (NIGHT, LogLevel.OUTPUT, "two\nlines")]
    )
    second = await store.append_log(task.id, [(NIGHT, LogLevel.ERROR, "three")])
    assert [line.number for line in (*first, *second)] == [1, 2, 3]
    assert list(await store.log(task.id)) == [*first, *second]
    assert list(await store.log(task.id, after=1, limit=1)) == [first[1]]
    assert list(await store.log(task.id, after=3)) == []


async def test_lines_logged_at_once_get_different_numbers(store: TaskStore) -> None:
    """Fifty writers, fifty numbers."""
    task = await create(store)
    await asyncio.gather(*(store.append_log(task.id, [(NIGHT, LogLevel.INFO, str(n))]) for n in range(50)))
    assert [line.number for line in await store.log(task.id)] == list(range(1, 51))


async def test_purge_forgets_by_age_and_by_count(store: TaskStore) -> None:
    """Ended tasks go with their logs; live ones stay, however old."""
    live = await create(store)
    ended = [await create(store) for _ in range(6)]
    for number, task in enumerate(ended):
        await store.append_log(task.id, [(NIGHT, LogLevel.INFO, "line")])
        await end(store, task, NIGHT + dt.timedelta(hours=number))
    assert await store.purge(before=NIGHT + dt.timedelta(hours=2), keep=3) == 3
    assert await store.purge(before=NIGHT, keep=3) == 0
    assert [t.id for t in await store.list()] == [*(t.id for t in reversed(ended[3:])), live.id]
    with pytest.raises(TaskNotFound):
        await store.log(ended[0].id)
    assert await store.purge(before=NIGHT, keep=0) == 3
    assert [t.id for t in await store.list()] == [live.id]


@pytest.mark.parametrize("call", ["get", "argument", "request_cancel", "log"])
async def test_an_unknown_task_is_not_found(store: TaskStore, call: str) -> None:
    """Every call with an id that was never given says so."""
    with pytest.raises(TaskNotFound):
        await getattr(store, call)(404)


async def test_what_is_written_outlives_the_process(database: Database) -> None:
    """Another connection to the same database reads the same task."""
    task = await create(SqlTaskStore(database), lock="machine:web-1")
    other = await Database.connect(database.url)
    await other.migrate()
    try:
        assert await SqlTaskStore(other).get(task.id) == task
        with pytest.raises(LockHeld):
            await create(SqlTaskStore(other), lock="machine:web-1")
    finally:
        await other.close()


async def test_tasks_of_a_lost_memory_are_given_once(store: TaskStore) -> None:
    """Who asks again, with the same name, gets none; those that ended stay where they were."""
    one = NewTask(kind="run", description="Run", argument={}, server="one", carrier="one/1")
    live, ended, other = [await store.create(one, NIGHT) for _ in range(3)]
    await end(store, ended)
    ids = [live.id, ended.id]
    adopted = await store.adopt(ids, server="two", carrier="two/1")
    assert [(task.id, task.server, task.carrier) for task in adopted] == [(live.id, "two", "two/1")]
    assert list(await store.adopt(ids, server="two", carrier="two/1")) == []
    assert (await store.get(other.id)).carrier == "one/1"


async def test_a_task_is_ended_by_the_server_that_carries_it(store: TaskStore) -> None:
    """A server that was paused comes too late with its verdict: another one goes on with the task."""
    new = NewTask(kind="run", description="Run", argument={}, host="attic", server="one")
    task = await store.create(new, NIGHT)
    (given,) = await store.adopt([task.id], server="two", carrier=None)
    assert (given.host, given.server) == ("attic", "two")
    ending: dict[str, Any] = {"error": 0, "error_description": "", "at": NIGHT}
    words = LastWords(lines=[(NIGHT, LogLevel.OUTPUT, "bye")])
    assert await store.end(task.id, result=TaskResult.CANCELLED, server="one", **ending) is None
    assert await store.end(task.id, result=TaskResult.CANCELLED, server="one", words=words, **ending) is None
    assert not (await store.get(task.id)).is_complete
    assert list(await store.log(task.id)) == []
    assert await store.end(task.id, result=TaskResult.SUCCESS, server="two", **ending) is not None
    assert (await store.get(task.id)).result is TaskResult.SUCCESS


async def test_the_last_words_go_with_the_end(store: TaskStore) -> None:
    """Progress and lines that were not written yet are written with it, and not after it."""
    task = await create(store)
    words = LastWords(progress=Progress(phase="done", percent=100), lines=[(NIGHT, LogLevel.OUTPUT, "bye")])
    ending: dict[str, Any] = {
        "result": TaskResult.SUCCESS,
        "error": 0,
        "error_description": "",
        "at": NIGHT,
        "server": "one",
    }
    (line,) = await store.end(task.id, **ending, words=words) or ()
    assert (line.number, line.text) == (1, "bye")
    assert list(await store.log(task.id)) == [line]
    assert (await store.get(task.id)).progress == words.progress
    assert await store.end(task.id, **ending, words=words) is None
    assert len(await store.log(task.id)) == 1
