"""The tasks service, on memory."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.errors import (
    DiskError,
    ErrorCode,
    HypervisorError,
    InnkeeperError,
    InvalidArgument,
    MachineBusy,
    ServiceError,
    TaskNotCancelable,
    TaskNotFound,
)
from innkeeper.tasks.clock import FakeClock
from innkeeper.tasks.memory_engine import StepMoment
from innkeeper.tasks.running import RunningTask, TaskCancelled
from innkeeper.tasks.service import Retention
from innkeeper.tasks.task import CancelEffect, LogLevel, LogLine, NewTask, Progress, TaskFilter, TaskResult
from innkeeper.wire.events import EventKind, Json
from innkeeper.wire.json_fields import refuse_newer

from .house import House, until

Argument = Mapping[str, Json]


async def do_nothing(task: RunningTask, argument: Argument) -> None:
    """Work that is done at once."""


async def wait_for_cancel(task: RunningTask, argument: Argument) -> None:
    """Work that only a cancel ends."""
    await task.cancelled()
    raise TaskCancelled


async def test_a_task_that_succeeds_is_complete_at_100_percent() -> None:
    """A task whose work returns ends with success, no error, and all of it done."""
    house = House()
    house.tasks.register("nothing", do_nothing)
    await house.tasks.launch()
    task = await house.tasks.start("nothing", "Do nothing", {})
    assert task.result is None
    assert await house.tasks.wait(task.id)
    ended = await house.tasks.get(task.id)
    assert (ended.result, ended.error, ended.error_description) == (TaskResult.SUCCESS, 0, "")
    assert ended.percent_completed == 100
    assert house.kinds(task.id)[0] == EventKind.TASK_CREATED
    assert house.kinds(task.id)[-1] == EventKind.TASK_ENDED


async def test_work_gets_the_argument_it_was_started_with() -> None:
    """What ``start`` was given reaches the work as JSON."""
    house = House()
    seen: list[Argument] = []

    async def look(task: RunningTask, argument: Argument) -> None:
        seen.append(argument)

    house.tasks.register("look", look)
    await house.tasks.launch()
    task = await house.tasks.start("look", "Look", {"machine": "web-1", "disks": ["vda"]})
    await house.tasks.wait(task.id)
    assert seen == [{"machine": "web-1", "disks": ["vda"]}]


@pytest.mark.parametrize(
    ("error", "result", "code"),
    [
        (HypervisorError("no"), TaskResult.UNEXPECTED_ERROR, ErrorCode.E_FAIL),
        (DiskError("no", path="/a"), TaskResult.DISK_RELATED_ERROR, ErrorCode.VM_E_HD_IMAGE_ACCESS),
        (
            HypervisorError("no", code=ErrorCode.ERROR_DISK_FULL),
            TaskResult.DISK_RELATED_ERROR,
            ErrorCode.ERROR_DISK_FULL,
        ),
        (InvalidArgument("no"), TaskResult.ILLEGAL_VALUE_ERROR, ErrorCode.E_INVALIDARG),
        (
            InnkeeperError("no", code=ErrorCode.VM_E_TIMED_OUT),
            TaskResult.TIME_OUT_ERROR,
            ErrorCode.VM_E_TIMED_OUT,
        ),
        (
            InnkeeperError("no", code=ErrorCode.E_OUTOFMEMORY),
            TaskResult.OUT_OF_MEMORY_ERROR,
            ErrorCode.E_OUTOFMEMORY,
        ),
        (InnkeeperError("no", code=ErrorCode.E_ABORT), TaskResult.SHUTDOWN_ABORT, ErrorCode.E_ABORT),
        (
            InnkeeperError("no", code=ErrorCode.ERROR_REVISION_MISMATCH),
            TaskResult.INCOMPATIBLE_SAVED_STATE_ERROR,
            ErrorCode.ERROR_REVISION_MISMATCH,
        ),
        (TaskCancelled("no"), TaskResult.CANCELLED, ErrorCode.ERROR_CANCELLED),
        (MemoryError(), TaskResult.OUT_OF_MEMORY_ERROR, ErrorCode.E_OUTOFMEMORY),
    ],
)
async def test_a_late_error_ends_the_task_with_its_documented_identifier(
    error: Exception, result: TaskResult, code: ErrorCode
) -> None:
    """What the work raises is in result, error and description."""
    house = House()

    async def fail(task: RunningTask, argument: Argument) -> None:
        raise error

    house.tasks.register("fail", fail)
    await house.tasks.launch()
    task = await house.tasks.start("fail", "Fail", {})
    await house.tasks.wait(task.id)
    ended = await house.tasks.get(task.id)
    assert (ended.result, ended.error) == (result, int(code))
    assert ended.error_description


async def test_a_sentence_and_its_advice_are_the_description() -> None:
    """A person reads what was wrong and what to do next."""
    house = House()

    async def fail(task: RunningTask, argument: Argument) -> None:
        raise InnkeeperError("The disk is full.", advice="Make room.")

    house.tasks.register("fail", fail)
    await house.tasks.launch()
    task = await house.tasks.start("fail", "Fail", {})
    await house.tasks.wait(task.id)
    assert (await house.tasks.get(task.id)).error_description == "The disk is full. Make room."


async def test_an_error_that_a_task_group_wrapped_is_still_that_error() -> None:
    """Work may use task groups, and keep its sentence."""
    house = House()

    async def broken() -> None:
        raise HypervisorError("QEMU is gone.")

    async def fail(task: RunningTask, argument: Argument) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(broken())

    house.tasks.register("fail", fail)
    await house.tasks.launch()
    task = await house.tasks.start("fail", "Fail", {})
    await house.tasks.wait(task.id)
    assert (await house.tasks.get(task.id)).error_description == "QEMU is gone."


async def test_the_end_is_written_as_soon_as_the_store_can() -> None:
    """A database that fails for a while keeps a machine locked no longer than that."""
    house = House()
    end, failures = house.store.end, [ServiceError("full"), ServiceError("full"), ServiceError("full")]

    async def fail_at_first(task_id: int, **how: Any) -> Sequence[LogLine] | None:
        if failures:
            raise failures.pop()
        return await end(task_id, **how)

    house.store.end = fail_at_first  # type: ignore[method-assign]
    house.tasks.register("nothing", do_nothing)
    await house.tasks.launch()
    task = await house.tasks.start("nothing", "Do nothing", {}, lock="machine:web-1")
    await house.clock.advance(6)
    assert not (await house.tasks.get(task.id)).is_complete
    await house.clock.advance(1)
    assert (await house.tasks.get(task.id)).result is TaskResult.SUCCESS
    await house.tasks.close()


async def test_a_broken_work_shows_its_traceback_in_the_log_alone() -> None:
    """A bug ends the task as a crash; the message says nothing of Python, the log says all."""
    house = House()

    async def broken(task: RunningTask, argument: Argument) -> None:
        raise KeyError("secret_name")

    house.tasks.register("broken", broken)
    await house.tasks.launch()
    task = await house.tasks.start("broken", "Break", {})
    await house.tasks.wait(task.id)
    ended = await house.tasks.get(task.id)
    assert (ended.result, ended.error) == (TaskResult.THREAD_CRASH_ERROR, int(ErrorCode.E_UNEXPECTED))
    assert "secret_name" not in ended.error_description
    (line,) = await house.tasks.log(task.id)
    assert line.level is LogLevel.ERROR
    assert "KeyError: 'secret_name'" in line.text


async def test_a_held_lock_names_the_task_that_holds_it() -> None:
    """A second task on a busy machine is refused, and is told by whom."""
    house = House()
    house.tasks.register("cancelable", wait_for_cancel)
    await house.tasks.launch()
    first = await house.tasks.start("cancelable", "Save web-1", {}, lock="machine:web-1")
    with pytest.raises(MachineBusy) as refusal:
        await house.tasks.start("cancelable", "Start web-1", {}, lock="machine:web-1")
    assert (refusal.value.machine, refusal.value.task_id) == ("web-1", first.id)
    assert refusal.value.code is ErrorCode.ERROR_BUSY
    assert "Save web-1" in str(refusal.value)
    await house.tasks.start("cancelable", "Start web-2", {}, lock="machine:web-2")
    await house.tasks.cancel(first.id)
    await house.tasks.wait(first.id)
    await house.tasks.start("cancelable", "Start web-1", {}, lock="machine:web-1")
    await house.tasks.close()


async def test_cancel_ends_the_task_as_cancelled() -> None:
    """A cancel reaches the work, which says that its effect has taken place."""
    house = House()
    house.tasks.register("cancelable", wait_for_cancel)
    await house.tasks.launch()
    task = await house.tasks.start("cancelable", "Wait", {})
    await house.tasks.cancel(task.id)
    await house.tasks.wait(task.id)
    ended = await house.tasks.get(task.id)
    assert ended.cancel_requested
    assert ended.result is TaskResult.CANCELLED
    assert ended.error_description == "It was cancelled, and everything is as it was before."


async def test_a_cancel_asked_for_at_another_server_is_heard() -> None:
    """Where servers share a store, the work learns of it within a second or so."""
    house = House(shared=True)
    house.tasks.register("cancelable", wait_for_cancel)
    await house.tasks.launch()
    task = await house.tasks.start("cancelable", "Wait", {})
    await house.clock.advance(0)
    other = House(shared=True)
    other.store = house.store
    await other.restart().cancel(task.id)
    await house.clock.advance(2)
    assert (await house.tasks.get(task.id)).result is TaskResult.CANCELLED
    await house.tasks.close()


async def test_a_task_of_another_server_is_waited_for_by_its_event() -> None:
    """Its end is seen when it is told, and the store is not asked again and again."""
    house = House(shared=True)
    house.tasks.register("cancelable", wait_for_cancel)
    await house.tasks.launch()
    task = await house.tasks.start("cancelable", "Wait", {})
    other = House(shared=True)
    other.store = house.store
    waiter = other.restart()
    waiting = asyncio.create_task(waiter.wait(task.id))
    await other.clock.advance(0)
    await house.tasks.cancel(task.id)
    await until(lambda: EventKind.TASK_ENDED in house.kinds(task.id))
    assert not waiting.done()
    for event in house.events:
        waiter.on_event_elsewhere(event)
    async with asyncio.timeout(30):
        assert await waiting
    await house.tasks.close()


async def test_an_end_that_nobody_was_told_of_is_told_after_the_crash() -> None:
    """Who follows the task at another server does not wait for ever."""
    house = House()
    house.tasks.register("nothing", do_nothing)
    await house.tasks.launch()
    task = await house.tasks.start("nothing", "Do nothing", {})
    await house.tasks.wait(task.id)
    await house.tasks.close()
    house.events.clear()
    (run,) = house.journal.runs.values()
    run.ended_at = None  # the crash came before this was noted
    tasks = house.restart()
    tasks.register("nothing", do_nothing)
    await tasks.launch()
    await until(lambda: EventKind.TASK_ENDED in house.kinds(task.id))
    await tasks.close()


async def test_cancel_past_the_point_of_no_return_is_refused() -> None:
    """From the moment that the effect is none, a cancel is E_FAIL, and the work never sees it."""
    house = House()
    go_on = asyncio.Event()

    async def merge(task: RunningTask, argument: Argument) -> None:
        await task.set_cancel_effect(CancelEffect.NONE)
        await go_on.wait()
        assert not task.cancel_requested

    house.tasks.register("merge", merge)
    await house.tasks.launch()
    task = await house.tasks.start("merge", "Merge", {})
    assert task.is_cancelable
    await until(lambda: EventKind.TASK_CHANGED in house.kinds(task.id))
    assert not (await house.tasks.get(task.id)).is_cancelable
    with pytest.raises(TaskNotCancelable) as refusal:
        await house.tasks.cancel(task.id)
    assert refusal.value.hresult == 0x80004005
    go_on.set()
    await house.tasks.wait(task.id)
    assert (await house.tasks.get(task.id)).result is TaskResult.SUCCESS


async def test_cancel_of_an_ended_task_is_refused() -> None:
    """There is nothing left to cancel: E_FAIL."""
    house = House()
    house.tasks.register("nothing", do_nothing)
    await house.tasks.launch()
    task = await house.tasks.start("nothing", "Do nothing", {})
    await house.tasks.wait(task.id)
    with pytest.raises(TaskNotCancelable) as refusal:
        await house.tasks.cancel(task.id)
    assert refusal.value.hresult == 0x80004005


@pytest.mark.parametrize("call", ["get", "log", "cancel", "wait"])
async def test_an_unknown_task_is_not_found(call: str) -> None:
    """Every call on an id that was never given says so."""
    house = House()
    with pytest.raises(TaskNotFound):
        await getattr(house.tasks, call)(404)


@pytest.mark.parametrize("timeout_ms", [-2, -1000, 4_000_001, 2**40])
async def test_an_undocumented_time_out_is_an_invalid_argument(timeout_ms: int) -> None:
    """−1 and 0 to 4,000,000 are all that the documents allow."""
    house = House()
    with pytest.raises(InvalidArgument) as refusal:
        await house.tasks.wait_for_completion(1, timeout_ms)
    assert refusal.value.hresult == 0x80070057


@pytest.mark.parametrize("timeout_ms", [0, 1, 4_000_000])
async def test_running_out_of_time_is_no_error(timeout_ms: int) -> None:
    """The wait returns, and the task goes on."""
    house = House()
    house.tasks.register("cancelable", wait_for_cancel)
    await house.tasks.launch()
    task = await house.tasks.start("cancelable", "Wait", {})
    waiting = asyncio.create_task(house.tasks.wait_for_completion(task.id, timeout_ms))
    await house.clock.advance(timeout_ms / 1000)
    await until(waiting.done)
    assert not (await house.tasks.get(task.id)).is_complete
    await house.tasks.close()


async def test_an_infinite_wait_ends_with_the_task() -> None:
    """−1 waits as long as it takes."""
    house = House()
    house.tasks.register("cancelable", wait_for_cancel)
    await house.tasks.launch()
    task = await house.tasks.start("cancelable", "Wait", {})
    waiting = asyncio.create_task(house.tasks.wait_for_completion(task.id, -1))
    await house.clock.advance(10_000)
    assert not waiting.done()
    await house.tasks.cancel(task.id)
    await until(waiting.done)


async def test_a_wait_that_begins_while_the_task_ends_sees_its_end() -> None:
    """Its end is written, and its last write of its own still on the way."""
    house = House()
    written: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def work(task: RunningTask, argument: Argument) -> None:
        task.end_with(written)

    house.tasks.register("work", work)
    await house.tasks.launch()
    task = await house.tasks.start("work", "Work", {})
    assert await house.tasks.wait(task.id)
    again = asyncio.create_task(house.tasks.wait_for_completion(task.id, -1))
    await until(again.done)
    written.set_result(None)
    await house.tasks.close()


async def test_a_task_whose_run_could_not_begin_is_looked_for_in_the_store(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever ends it, its end is seen: here it is another server."""
    house = House()
    house.tasks.register("work", wait_for_cancel)
    await house.tasks.launch()

    async def fail(*_: object, **__: object) -> None:
        raise ServiceError("The store is away.")

    monkeypatch.setattr(house.engine, "start", fail)
    with pytest.raises(ServiceError):
        await house.tasks.start("work", "Work", {})
    [task] = await house.tasks.list()
    await house.store.end(
        task.id,
        result=TaskResult.SUCCESS,
        error=0,
        error_description="",
        at=house.clock.now(),
        server=house.engine.server,
    )
    assert await asyncio.wait_for(house.tasks.wait(task.id), 5)
    await house.tasks.close()


async def test_progress_is_seen_at_once_and_written_seldom() -> None:
    """A thousand reports are a thousand events, and a handful of writes; the last one is written."""
    house = House()
    writes: list[int | None] = []
    write = house.store.progress

    async def counted(task_id: int, progress: Progress) -> None:
        writes.append(progress.percent)
        await write(task_id, progress)

    house.store.progress = counted  # type: ignore[method-assign]  # counts what is written

    async def copy(task: RunningTask, argument: Argument) -> None:
        for done in range(1, 1001):
            task.report("Copy", number=1, count=1, percent=done // 11, bytes_done=done, bytes_total=1000)
            if done == 500:
                seen.append((await house.tasks.get(task.id)).progress.bytes_done)
        raise HypervisorError("The copy failed.")

    seen: list[int | None] = []
    house.tasks.register("copy", copy)
    await house.tasks.launch()
    task = await house.tasks.start("copy", "Copy", {})
    await house.tasks.wait(task.id)
    assert seen == [500]
    assert house.kinds(task.id).count(EventKind.TASK_CHANGED) == 1000
    assert len(writes) <= 3
    assert (await house.store.get(task.id)).progress.bytes_done == 1000


async def test_progress_alone_is_written_each_half_minute_and_a_line_at_once() -> None:
    """A night of many runs costs the store by what is logged, and not by how often they report."""
    house = House()
    house.clock = FakeClock(speed=100.0)
    write, append = house.store.progress, house.store.append_log
    writes: list[int | None] = []
    lines: list[int] = []

    async def counted(task_id: int, progress: Progress) -> None:
        writes.append(progress.bytes_done)
        await write(task_id, progress)

    async def appended(task_id: int, *what: Any) -> Sequence[LogLine]:
        lines.append(len(said))
        return await append(task_id, *what)

    house.store.progress = counted  # type: ignore[method-assign]  # counts what is written
    house.store.append_log = appended  # type: ignore[method-assign,assignment]  # the same

    async def copy(task: RunningTask, argument: Argument) -> None:
        for done in range(1, 241):
            task.report("Copy", bytes_done=done, bytes_total=240)
            if done == 90:
                task.log("Half of it.")
            said.append(done)
            await house.clock.sleep(0.5)

    said: list[int] = []
    house.restart()
    house.tasks.register("copy", copy)
    await house.tasks.launch()
    task = await house.tasks.start("copy", "Copy", {})
    await house.tasks.wait(task.id)
    assert 2 <= len(writes) <= house.clock.monotonic() / 30 + 3
    heard = lines[0]  # the task's end asks for no lines, once more
    assert 90 <= heard < 100
    assert (await house.store.get(task.id)).progress.bytes_done == 240


Reports = st.lists(
    st.tuples(
        st.sampled_from([None, "Prepare", "Copy", "Check"]),
        st.one_of(st.none(), st.integers(0, 5)),
        st.one_of(st.none(), st.integers(-10, 200)),
        st.one_of(st.none(), st.integers(0, 100)),
    )
)


@given(Reports)
async def test_progress_never_goes_back(
    reports: list[tuple[str | None, int | None, int | None, int]],
) -> None:
    """Whatever the work reports, percent and phase number grow, and bytes grow within a phase."""
    house = House()

    async def work(task: RunningTask, argument: Argument) -> None:
        for phase, number, percent, bytes_done in reports:
            task.report(phase, number=number, percent=percent, bytes_done=bytes_done)

    house.tasks.register("work", work)
    await house.tasks.launch()
    task = await house.tasks.start("work", "Work", {})
    await house.tasks.wait(task.id)
    await house.tasks.close()
    changes = [event.data for event in house.events if event.kind == EventKind.TASK_CHANGED]
    for old, new in itertools.pairwise(changes):
        assert (old["percent"] or 0) <= (new["percent"] or 0) <= 100  # type: ignore[operator]
        assert old["percent"] is None or new["percent"] is not None
        assert old["phase_number"] <= new["phase_number"]  # type: ignore[operator]
        if (old["phase"], old["phase_number"]) == (new["phase"], new["phase_number"]):
            assert (old["bytes_done"] or 0) <= (new["bytes_done"] or 0)  # type: ignore[operator]


async def test_a_killed_task_goes_on_after_its_last_recorded_step() -> None:
    """After a kill in the middle of a step, that step alone is done again, and progress does not go back."""
    house = House()
    done: list[str] = []

    async def work(task: RunningTask, argument: Argument) -> None:
        for number, name in enumerate(["undo", "start", "merge"], 1):
            task.report(name, number=number, count=3, percent=number * 30)

            async def act(name: str = name) -> Json:
                done.append(name)
                return name

            assert await task.step(name, act) == name

    async def kill_after_start(moment: StepMoment) -> None:
        if (moment.name, moment.done) == ("start", True):
            house.engine.kill()

    house.tasks.register("work", work)
    house.engine.on_step = kill_after_start
    await house.tasks.launch()
    task = await house.tasks.start("work", "Work", {})
    await until(lambda: done == ["undo", "start"])
    await house.clock.advance(5)
    assert not (await house.tasks.get(task.id)).is_complete

    house.restart().register("work", work)
    await house.tasks.launch()
    assert await house.tasks.wait(task.id)
    assert done == ["undo", "start", "merge"]
    percents = [e.data["percent"] for e in house.events if e.kind == EventKind.TASK_CHANGED]
    assert percents == sorted(percents)  # type: ignore[type-var]


async def test_a_task_that_was_written_but_never_started_is_started_at_launch() -> None:
    """A crash between the task's row and its run leaves no task behind."""
    house = House()
    new = NewTask(kind="nothing", description="Do nothing", argument={}, lock="machine:web-1")
    task = await house.store.create(new, house.clock.now())
    house.tasks.register("nothing", do_nothing)
    await house.tasks.launch()
    assert await house.tasks.wait(task.id)


async def test_a_task_of_a_forgotten_kind_ends_with_a_sentence() -> None:
    """A version that no longer knows the work ends the task, and frees its lock."""
    house = House()
    await house.tasks.launch()
    task = await house.tasks.start("forgotten", "Do it", {}, lock="machine:web-1")
    await house.tasks.wait(task.id)
    ended = await house.tasks.get(task.id)
    assert ended.result is TaskResult.UNEXPECTED_ERROR
    assert "forgotten" in ended.error_description


async def test_a_task_that_a_newer_version_wrote_is_left_for_it() -> None:
    """It does not end, its lock stays held, and its log says why."""
    house = House()

    async def work(task: RunningTask, argument: Mapping[str, Json]) -> None:
        refuse_newer(argument, 1)

    house.tasks.register("work", work)
    await house.tasks.launch()
    task = await house.tasks.start("work", "Work", {"version": 2}, lock="machine:web-1")
    while not (log := await house.tasks.log(task.id)):
        await asyncio.sleep(0)
    assert "was written by a newer Innkeeper" in log[0].text
    assert not (await house.tasks.get(task.id)).is_complete
    with pytest.raises(MachineBusy):
        await house.tasks.refuse_held("machine:web-1")


async def test_close_leaves_the_task_for_the_next_launch() -> None:
    """An orderly stop ends no task: it goes on when the service is back."""
    house = House()
    house.tasks.register("cancelable", wait_for_cancel)
    await house.tasks.launch()
    task = await house.tasks.start("cancelable", "Wait", {})
    await house.clock.advance(0)
    await house.tasks.close()
    assert not (await house.tasks.get(task.id)).is_complete
    house.restart().register("cancelable", wait_for_cancel)
    await house.tasks.launch()
    await house.tasks.cancel(task.id)
    assert await house.tasks.wait(task.id)


async def test_sub_tasks_are_found_by_their_parent() -> None:
    """A task's children are listed under it."""
    house = House()
    house.tasks.register("nothing", do_nothing)
    await house.tasks.launch()
    parent = await house.tasks.start("nothing", "Parent", {})
    child = await house.tasks.start("nothing", "Child", {}, parent_id=parent.id)
    assert [t.id for t in await house.tasks.list(TaskFilter(parent_id=parent.id))] == [child.id]


async def test_the_history_is_kept_as_long_as_asked() -> None:
    """Ended tasks go by age and by count; live ones never."""
    house = House(Retention(age=dt.timedelta(days=2), count=3))
    house.tasks.register("nothing", do_nothing)
    house.tasks.register("cancelable", wait_for_cancel)
    await house.tasks.launch()
    live = await house.tasks.start("cancelable", "Live", {})
    old = await house.tasks.start("nothing", "Old", {})
    await house.tasks.wait(old.id)
    await house.clock.advance(3 * 86_400)
    young = [await house.tasks.start("nothing", f"Young {n}", {}) for n in range(5)]
    for task in young:
        await house.tasks.wait(task.id)
    await house.clock.advance(2 * 3600)
    kept = [task.id for task in await house.tasks.list()]
    assert kept == [*(task.id for task in reversed(young[2:])), live.id]
    await house.tasks.close()


async def test_a_flood_of_output_is_bounded() -> None:
    """A guest that prints for ever fills a log up to its limit, and the log says so."""
    house = House()

    async def flood(task: RunningTask, argument: Argument) -> None:
        for _ in range(30_000):
            task.log("x" * 20_000 if task.id < 0 else "x", LogLevel.OUTPUT)
        task.log("y" * 100_000)

    house.tasks.register("flood", flood)
    await house.tasks.launch()
    task = await house.tasks.start("flood", "Flood", {})
    await house.tasks.wait(task.id)
    lines = await house.tasks.log(task.id, limit=100_000)
    assert len(lines) == 20_000
    assert lines[-1].level is LogLevel.WARNING


async def test_stepless_work_is_begun_again_and_told_so() -> None:
    """It has no journal: after a kill it starts from the start, knows it, and ends once."""
    house = House()
    lives: list[bool] = []

    async def work(task: RunningTask, argument: Argument) -> None:
        lives.append(task.resumed)
        await asyncio.sleep(0)
        if not task.resumed:
            await task.cancelled()

    house.tasks.register("quick", work, stepless=True)
    await house.tasks.launch()
    task = await house.tasks.start("quick", "Be quick", {"a": 1}, lock="instance:1")
    await until(lambda: bool(lives))
    assert await house.engine.unfinished() == [], "no journal is kept"
    house.engine.kill()
    house.restart()
    house.tasks.register("quick", work, stepless=True)
    await house.tasks.launch()
    assert await house.tasks.wait(task.id)
    assert lives == [False, True]
    assert (await house.tasks.get(task.id)).result is TaskResult.SUCCESS
    await house.tasks.close()


async def test_a_write_of_the_work_is_waited_for_with_the_end() -> None:
    """What the work has under way is on the disk when its task has ended, and its last lines too."""
    house = House()
    written: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def work(task: RunningTask, argument: Argument) -> None:
        task.log("the last word")
        task.end_with(written)

    house.tasks.register("quick", work, stepless=True)
    await house.tasks.launch()
    task = await house.tasks.start("quick", "Be quick", {})
    await house.tasks.wait(task.id)
    assert [line.text for line in await house.tasks.log(task.id)] == ["the last word"]
    written.set_result(None)
    await house.tasks.close()


async def test_a_cancel_before_the_first_step_is_seen_by_it() -> None:
    """Asked for the moment that the task has started: the work begins cancelled."""
    house = House()
    told: list[str] = []

    async def work(task: RunningTask, argument: Argument) -> None:
        task.on_cancel(lambda: told.append("cancelled"))
        raise TaskCancelled

    house.tasks.register("quick", work, stepless=True)
    await house.tasks.launch()
    task = await house.tasks.start("quick", "Be quick", {})
    await house.tasks.cancel(task.id)
    await house.tasks.wait(task.id)
    assert told == ["cancelled"]
    assert (await house.tasks.get(task.id)).result is TaskResult.CANCELLED
    await house.tasks.close()


async def test_a_cancel_is_taken_although_who_is_told_of_it_fails() -> None:
    """The work sees that it is cancelled, and the one who asked gets no error of the work's."""
    house = House()

    def broken() -> None:
        raise RuntimeError("It broke.")

    async def work(task: RunningTask, argument: Argument) -> None:
        task.on_cancel(broken)
        await task.cancelled()
        raise TaskCancelled

    house.tasks.register("quick", work, stepless=True)
    await house.tasks.launch()
    task = await house.tasks.start("quick", "Be quick", {})
    await until(lambda: bool(house.tasks._contexts))
    await asyncio.sleep(0)
    await house.tasks.cancel(task.id)
    await house.tasks.wait(task.id)
    assert (await house.tasks.get(task.id)).result is TaskResult.CANCELLED
    await house.tasks.close()
