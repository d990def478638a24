"""What every engine promises: the one in memory, and DBOS on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from pathlib import Path

import pytest
import sqlalchemy as sa

from innkeeper.errors import ErrorCode, MachineBusy, NewerVersion, WrongState
from innkeeper.store.engine import DbosEngine
from innkeeper.tasks.memory_engine import MemoryEngine, MemoryJournal
from innkeeper.tasks.outcome import JournalMismatch, StepFailed
from innkeeper.tasks.ports import Body, Engine, Steps
from innkeeper.tasks.running import TaskCancelled
from innkeeper.wire.events import Json

Argument = Mapping[str, Json]


class Process:
    """A service that is started and stopped again and again on one journal."""

    def __init__(self, make: Callable[[], Engine]) -> None:
        self._make = make
        self.engine: Engine | None = None
        #: The hosts that it may work on, where it may not on all.
        self.hosts: Collection[str] | None = None

    async def start(self, **bodies: Body) -> Engine:
        """A new process with these bodies."""
        await self.stop()
        self.engine = self._make()
        for kind, body in bodies.items():
            self.engine.register(kind, body)
        await self.engine.launch(lambda host: self.hosts is None or host in self.hosts)
        return self.engine

    async def stop(self) -> None:
        """An orderly end."""
        if self.engine is not None:
            await self.engine.close()
        self.engine = None


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def process(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Process]:
    """Each engine in turn."""
    journal = MemoryJournal()
    if request.param == "postgresql":
        url: sa.URL = request.getfixturevalue("postgres_database")
        process = Process(lambda: DbosEngine(url, server="one"))
    elif request.param == "sqlite":
        process = Process(lambda: DbosEngine(tmp_path / "runs.sqlite", server="one"))
    else:
        process = Process(lambda: MemoryEngine(journal))
    yield process
    await process.stop()


def returns(value: Json) -> Callable[[], Awaitable[Json]]:
    """A step's action that comes to ``value``."""

    async def action() -> Json:
        return value

    return action


def raises(error: Exception) -> Callable[[], Awaitable[Json]]:
    """A step's action that fails."""

    async def action() -> Json:
        raise error

    return action


async def eventually(event: asyncio.Event) -> None:
    """Wait for what must come."""
    await asyncio.wait_for(event.wait(), 20)


async def all_ended(engine: Engine) -> None:
    """Wait until no run is unfinished."""
    async with asyncio.timeout(20):
        while await engine.unfinished():
            await asyncio.sleep(0.01)


async def test_a_run_does_its_steps_and_ends(process: Process) -> None:
    """Its key and argument reach the body, and it is no longer unfinished."""
    seen: list[object] = []
    done = asyncio.Event()

    async def body(key: str, argument: Argument, steps: Steps) -> Json:
        seen.append((key, argument, await steps.run("one", returns(1)), await steps.run("two", returns([2]))))
        done.set()
        return None

    engine = await process.start(work=body)
    await engine.start("key", "work", {"machine": "web-1"})
    await eventually(done)
    assert seen == [("key", {"machine": "web-1"}, 1, [2])]
    await all_ended(engine)


async def test_a_key_starts_one_run(process: Process) -> None:
    """Also when it is started twice at once, again later, and by the next process."""
    begun: list[str] = []

    async def body(key: str, argument: Argument, steps: Steps) -> Json:
        begun.append(key)
        return None

    engine = await process.start(work=body)
    await asyncio.gather(*(engine.start("key", "work", {}) for _ in range(5)))
    await all_ended(engine)
    engine = await process.start(work=body)
    await engine.start("key", "work", {})
    await engine.start("last", "work", {})
    await all_ended(engine)
    assert sorted(begun) == ["key", "last"]


async def test_values_come_back_as_json_keeps_them(process: Process) -> None:
    """The first time as well, so that a replay can make no difference."""
    values: list[Json] = []
    done = asyncio.Event()

    async def body(key: str, argument: Argument, steps: Steps) -> Json:
        values.append(await steps.run("tuple", returns({"a": (1, 2)})))  # type: ignore[dict-item]
        done.set()
        return None

    engine = await process.start(work=body)
    await engine.start("key", "work", {})
    await eventually(done)
    assert values == [{"a": [1, 2]}]


async def test_after_a_stop_only_the_step_in_flight_is_done_again(process: Process) -> None:
    """What was recorded is returned, the rest is done."""
    done: list[str] = []
    in_flight = asyncio.Event()
    ended = asyncio.Event()
    hold = True

    async def body(key: str, argument: Argument, steps: Steps) -> Json:
        async def wait() -> Json:
            done.append("two")
            in_flight.set()
            if hold:
                await asyncio.Event().wait()
            return None

        async def note(name: str) -> Json:
            done.append(name)
            return name

        assert await steps.run("one", lambda: note("one")) == "one"
        await steps.run("two", wait)
        await steps.run("three", lambda: note("three"))
        ended.set()
        return None

    engine = await process.start(work=body)
    await engine.start("key", "work", {})
    await eventually(in_flight)
    assert list(await engine.unfinished()) == ["key"]
    await process.stop()
    hold = False
    await process.start(work=body)
    await eventually(ended)
    assert done == ["one", "two", "two", "three"]


async def test_a_run_that_a_killed_life_had_taken_up_and_not_begun_goes_on(tmp_path: Path) -> None:
    """It is on the server's queue when the next life comes, which finds what was recorded."""
    journal = tmp_path / "runs.sqlite"
    process = Process(lambda: DbosEngine(journal, server="one"))
    begun, done = asyncio.Event(), asyncio.Event()
    times: list[str] = []

    async def body(key: str, argument: Argument, steps: Steps) -> Json:
        async def first() -> Json:
            times.append("first")
            return None

        async def second() -> Json:
            begun.set()
            if len(lives) < 2:
                await asyncio.Event().wait()
            return None

        await steps.run("first", first)
        await steps.run("second", second)
        done.set()
        return None

    lives = ["one"]
    engine = await process.start(work=body)
    await engine.start("key", "work", {}, host="attic")
    await eventually(begun)
    await process.stop()
    with contextlib.closing(sqlite3.connect(journal)) as connection, connection:
        # As ``DBOS.resume_workflows`` leaves it.
        row = "status = 'ENQUEUED', queue_name = 'srv-one', started_at_epoch_ms = NULL"
        assert connection.execute(f"UPDATE workflow_status SET {row}").rowcount == 1
    lives.append("two")
    engine = await process.start(work=body)
    await eventually(done)
    await all_ended(engine)
    assert times == ["first"]
    await process.stop()


async def test_an_error_of_a_step_is_raised_again_after_a_restart(process: Process) -> None:
    """With its class, its sentence and its fields; a foreign error keeps its text."""
    caught: list[Exception] = []
    ready = asyncio.Event()
    busy = MachineBusy("web-1 is busy.", machine="web-1", task_id=7, advice="Wait.")
    wrong = WrongState(
        "web-1 is off.", machine="web-1", state="off", command="save", code=ErrorCode.VM_E_VM_RUNNING
    )

    async def body(key: str, argument: Argument, steps: Steps) -> Json:
        for error in (busy, wrong, TaskCancelled("stop"), KeyError("x")):
            try:
                await steps.run("fail", raises(error))
            except Exception as exc:
                caught.append(exc)
        ready.set()
        await asyncio.Event().wait()
        return None

    engine = await process.start(work=body)
    await engine.start("key", "work", {})
    await eventually(ready)
    assert caught == [busy, wrong, caught[2], caught[3]]
    assert isinstance(caught[3], KeyError)
    caught.clear()
    ready.clear()
    await process.start(work=body)
    await eventually(ready)
    first, second, third, fourth = caught
    assert isinstance(first, MachineBusy)
    assert (str(first), first.machine, first.task_id, first.advice, first.code) == (
        "web-1 is busy.",
        "web-1",
        7,
        "Wait.",
        ErrorCode.ERROR_BUSY,
    )
    assert isinstance(second, WrongState)
    assert (second.state, second.command, second.code) == ("off", "save", ErrorCode.VM_E_VM_RUNNING)
    assert isinstance(third, TaskCancelled)
    assert isinstance(fourth, StepFailed)
    assert "KeyError" in str(fourth)


async def test_a_body_that_raises_has_ended(process: Process) -> None:
    """It is not taken up again."""
    begun: list[str] = []
    last = asyncio.Event()

    async def body(key: str, argument: Argument, steps: Steps) -> Json:
        begun.append(key)
        if key == "last":
            last.set()
            return None
        raise RuntimeError("broken")

    engine = await process.start(work=body)
    await engine.start("key", "work", {})
    await all_ended(engine)
    engine = await process.start(work=body)
    await engine.start("last", "work", {})
    await eventually(last)
    assert begun == ["key", "last"]


async def test_a_step_that_the_body_timed_out_is_interrupted_again(process: Process) -> None:
    """The body goes on without it, and does so again when it goes over its journal."""
    path: list[str] = []
    ready = asyncio.Event()

    async def body(key: str, argument: Argument, steps: Steps) -> Json:
        try:
            async with asyncio.timeout(0.05):
                await steps.run("slow", asyncio.Event().wait)
        except TimeoutError:
            path.append("timed out")
        path.append(str(await steps.run("roll back", returns("rolled back"))))
        ready.set()
        await asyncio.Event().wait()
        return None

    engine = await process.start(work=body)
    await engine.start("key", "work", {})
    await eventually(ready)
    ready.clear()
    await process.start(work=body)
    await eventually(ready)
    assert path == ["timed out", "rolled back"] * 2


async def test_changed_code_is_found_out(process: Process) -> None:
    """A body that asks for another step than was recorded is told so, and ends."""
    ready = asyncio.Event()
    caught: list[Exception] = []
    names = ["old"]

    async def body(key: str, argument: Argument, steps: Steps) -> Json:
        try:
            await steps.run(names[0], returns(None))
        except JournalMismatch as exc:
            caught.append(exc)
        ready.set()
        await asyncio.Event().wait()
        return None

    engine = await process.start(work=body)
    await engine.start("key", "work", {})
    await eventually(ready)
    names[0] = "new"
    ready.clear()
    await process.start(work=body)
    await eventually(ready)
    assert len(caught) == 1


@pytest.mark.parametrize("inside_a_step", [True, False])
async def test_a_run_that_needs_what_a_newer_version_wrote_is_left_unfinished(
    process: Process, inside_a_step: bool
) -> None:
    """It is no outcome of the step or of the run: the newer version, once installed again, ends it."""
    refused, read = asyncio.Event(), asyncio.Event()

    async def refuse() -> Json:
        refused.set()
        raise NewerVersion(version=2, newest=1)

    async def old(key: str, argument: Argument, steps: Steps) -> Json:
        if inside_a_step:
            await steps.run("read", refuse)
        return await refuse()

    async def new(key: str, argument: Argument, steps: Steps) -> Json:
        await steps.run("read", returns(None))
        read.set()
        return None

    engine = await process.start(work=old)
    await engine.start("key", "work", {})
    await eventually(refused)
    assert await engine.unfinished() == ["key"]
    await process.start(work=new)
    await eventually(read)


async def test_a_step_inside_a_step_is_refused(process: Process) -> None:
    """Instead of waiting for itself for ever."""
    caught: list[Exception] = []
    done = asyncio.Event()

    async def body(key: str, argument: Argument, steps: Steps) -> Json:
        async def outer() -> Json:
            return await steps.run("inner", returns(1))

        try:
            await steps.run("outer", outer)
        except RuntimeError as exc:
            caught.append(exc)
        done.set()
        return None

    engine = await process.start(work=body)
    await engine.start("key", "work", {})
    await eventually(done)
    assert "inside another step" in str(caught[0])


async def test_bodies_run_on_the_service_s_loop(process: Process) -> None:
    """So do the actions of their steps, in the body's own task."""
    loops: list[object] = []
    done = asyncio.Event()

    async def where() -> Json:
        loops.append((asyncio.get_running_loop(), asyncio.current_task()))
        return None

    async def body(key: str, argument: Argument, steps: Steps) -> Json:
        await where()
        await steps.run("where", where)
        done.set()
        return None

    engine = await process.start(work=body)
    await engine.start("key", "work", {})
    await eventually(done)
    assert loops[0] == loops[1]
    assert loops[0][0] is asyncio.get_running_loop()  # type: ignore[index]


async def test_purge_forgets_ended_runs_alone(process: Process) -> None:
    """Live runs stay, and go on after a restart."""
    running = asyncio.Event()

    async def quick(key: str, argument: Argument, steps: Steps) -> Json:
        return await steps.run("one", returns(1))

    async def endless(key: str, argument: Argument, steps: Steps) -> Json:
        await steps.run("one", returns(1))
        running.set()
        await asyncio.Event().wait()
        return None

    engine = await process.start(quick=quick, endless=endless)
    await engine.start("endless", "endless", {})
    for number in range(5):
        await engine.start(f"quick-{number}", "quick", {})
    async with asyncio.timeout(20):
        while list(await engine.unfinished()) != ["endless"]:
            await asyncio.sleep(0.01)
    assert await engine.purge(dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)) == 0
    assert await engine.purge(dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)) == 5
    assert list(await engine.unfinished()) == ["endless"]
    running.clear()
    await process.start(quick=quick, endless=endless)
    await eventually(running)


async def test_close_does_not_wait_for_hundreds_of_live_runs(process: Process) -> None:
    """They wait for what never comes, and it ends all the same; none is lost."""
    begun: set[str] = set()
    all_begun = asyncio.Event()

    async def body(key: str, argument: Argument, steps: Steps) -> Json:
        begun.add(key)
        if len(begun) == 300:
            all_begun.set()
        await steps.run("wait", asyncio.Event().wait)
        return None

    engine = await process.start(work=body)
    await asyncio.gather(*(engine.start(f"run-{n}", "work", {}) for n in range(300)))
    await eventually(all_begun)
    async with asyncio.timeout(120):
        await process.stop()
    engine = await process.start(work=body)
    assert len(await engine.unfinished()) == 300


class Walk:
    """A body of two steps, which waits in the second until it may go on."""

    def __init__(self) -> None:
        #: Each step that was begun, as ``run step``.
        self.done: list[str] = []
        self.may_go_on = asyncio.Event()

    async def body(self, key: str, argument: Argument, steps: Steps) -> Json:
        """Take the steps."""

        async def first() -> Json:
            self.done.append(f"{key} first")
            return None

        async def second() -> Json:
            self.done.append(f"{key} second")
            await self.may_go_on.wait()
            return None

        await steps.run("first", first)
        await steps.run("second", second)
        return None

    async def until(self, *expected: str) -> None:
        """Wait until exactly these steps were begun, in any order."""
        async with asyncio.timeout(20):
            while sorted(self.done) != sorted(expected):
                await asyncio.sleep(0.01)


async def test_a_run_goes_where_its_host_goes(process: Process) -> None:
    """At a start without the host it is left alone; once the host is there, it goes on where it was."""
    walk = Walk()
    engine = await process.start(walk=walk.body)
    await engine.start("far", "walk", {}, host="attic")
    await engine.start("near", "walk", {})
    begun = ["far first", "far second", "near first", "near second"]
    await walk.until(*begun)
    process.hosts = {"cellar"}
    engine = await process.start(walk=walk.body)
    await walk.until(*begun, "near second")
    assert sorted(await engine.unfinished()) == ["far", "near"]
    await engine.take_over({"attic"})
    walk.may_go_on.set()
    process.hosts = {"attic"}
    await all_ended(engine)
    assert sorted(walk.done) == sorted([*begun, "near second", "far second"])


async def test_what_is_let_go_stops_and_goes_on_when_it_is_taken_over(process: Process) -> None:
    """With a journal from the step in flight; what has none is over. Other hosts' runs notice nothing."""
    walk = Walk()
    engine = await process.start(walk=walk.body)
    await engine.start("far", "walk", {}, host="attic")
    await engine.start("near", "walk", {}, host="cellar")
    engine.carry("bare", "walk", {}, host="attic")
    begun = [f"{key} {step}" for key in ("far", "near", "bare") for step in ("first", "second")]
    await walk.until(*begun)
    await engine.let_go({"attic"})
    assert sorted(await engine.unfinished()) == ["far", "near"]
    await engine.take_over({"attic"})
    await walk.until(*begun, "far second")
    walk.may_go_on.set()
    await all_ended(engine)
    assert sorted(walk.done) == sorted([*begun, "far second"])


async def test_each_life_of_a_server_has_a_name_of_its_own(process: Process) -> None:
    """Its id stays: runs are found by it."""
    one = await process.start()
    names = one.server, one.incarnation
    two = await process.start()
    assert two.server == names[0]
    assert two.incarnation != names[1]


async def test_a_run_begun_by_a_run_stands_alone(process: Process) -> None:
    """It is no step of the one that began it, which goes over its journal without it."""
    begun: list[str] = []
    waiting = asyncio.Event()

    async def child(key: str, argument: Argument, steps: Steps) -> Json:
        begun.append(key)
        return None

    async def parent(key: str, argument: Argument, steps: Steps) -> Json:
        await steps.run("one", returns(1))
        assert process.engine is not None
        await process.engine.start(f"child of {process.engine.incarnation}", "child", {})
        await steps.run("two", returns(2))
        waiting.set()
        await steps.run("three", asyncio.Event().wait)
        return None

    engine = await process.start(parent=parent, child=child)
    await engine.start("parent", "parent", {})
    await eventually(waiting)
    lives = [engine.incarnation]
    waiting.clear()
    engine = await process.start(parent=parent, child=child)
    await eventually(waiting)
    lives.append(engine.incarnation)
    async with asyncio.timeout(20):
        while set(begun) != {f"child of {life}" for life in lives}:
            await asyncio.sleep(0.01)
