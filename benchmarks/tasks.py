"""Measure what durability costs: a step, a start, a live task, and the way back after kill -9.

Run ``make bench``, or ``python -m benchmarks.tasks`` for this one alone. The database is a file in the
temporary directory: set TMPDIR to measure another disk. With ``--postgresql`` it is a PostgreSQL of its own,
which writes to the disk as it ships. Each measure has a database that nobody has used: tasks that live there
since a former one would be taken up.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path

import sqlalchemy as sa
import structlog

from innkeeper.store.opening import Store, open_store
from innkeeper.tasks.clock import SystemClock
from innkeeper.tasks.running import RunningTask, Work
from innkeeper.tasks.service import Tasks
from innkeeper.tasks.task import TaskFilter
from innkeeper.wire.events import Json
from tests.store import clusters
from tests.store.clusters import Cluster, fresh_database

ROUNDS = 5
STEPS = 300
STARTS = 300
LIVE = 1000
ACTS = 50
IDLE_SECONDS = 10.0
RESULTS = Path("build/bench/tasks.json")


async def serve(address: str, works: Mapping[str, Work]) -> tuple[Store, Tasks]:
    """The tasks service on a database of its own."""
    store = await open_store(address, server="bench", home="bench")
    tasks = Tasks(store=store.tasks, engine=store.engine, clock=SystemClock(), publish=lambda event: None)
    for kind, work in works.items():
        tasks.register(kind, work)
    await tasks.launch()
    return store, tasks


async def take_steps(task: RunningTask, argument: Mapping[str, Json]) -> None:
    """As many steps as asked, each doing nothing."""
    count = argument["count"]
    assert isinstance(count, int)
    for number in range(count):
        await task.step(f"step {number}", nothing)


async def wait_for_ever(task: RunningTask, argument: Mapping[str, Json]) -> None:
    """Stay in one step."""
    await task.step("wait", for_ever)


async def say_and_wait(task: RunningTask, argument: Mapping[str, Json]) -> None:
    """Say when the step in flight begins."""

    async def action() -> Json:
        print(time.monotonic(), flush=True)
        return await for_ever()

    await task.step("one", nothing)
    await task.step("two", action)


async def act(task: RunningTask, argument: Mapping[str, Json]) -> None:
    """Note when the first act begins."""

    async def action() -> Json:
        begun[task.id] = time.perf_counter()
        return None

    await task.step("act", action)


#: When the first act of each task began.
begun: dict[int, float] = {}


async def nothing() -> Json:
    """The cheapest step."""
    return None


async def for_ever() -> Json:
    """The longest step."""
    await asyncio.Event().wait()
    return None


WORKS: Mapping[str, Work] = {
    "steps": take_steps,
    "wait": wait_for_ever,
    "say": say_and_wait,
    "act": act,
}


async def milliseconds_a_step(tasks: Tasks) -> float:
    """The time of a task of many steps, beyond that of a task of none."""
    times = []
    for count in (0, STEPS):
        before = time.perf_counter()
        task = await tasks.start("steps", "Take steps", {"count": count})
        await tasks.wait(task.id)
        times.append(time.perf_counter() - before)
    return 1000 * (times[1] - times[0]) / STEPS


async def starts_a_second(tasks: Tasks) -> float:
    """Tasks written down and begun, many asked for at once."""
    before = time.perf_counter()
    started = await asyncio.gather(*(tasks.start("steps", "Start", {"count": 0}) for _ in range(STARTS)))
    seconds = time.perf_counter() - before
    for task in started:
        await tasks.wait(task.id)
    return STARTS / seconds


async def three_step_tasks_a_second(tasks: Tasks) -> float:
    """Tasks of three steps from start to end, many in flight."""
    before = time.perf_counter()
    started = await asyncio.gather(*(tasks.start("steps", "Three", {"count": 3}) for _ in range(STARTS)))
    for task in started:
        await tasks.wait(task.id)
    return STARTS / (time.perf_counter() - before)


async def milliseconds_to_act(tasks: Tasks) -> Sequence[float]:
    """From asking for a task to its first act, one after the other; the shortest first."""
    times = []
    for _ in range(ACTS):
        before = time.perf_counter()
        task = await tasks.start("act", "Act", {})
        await tasks.wait(task.id)
        times.append(1000 * (begun[task.id] - before))
    return sorted(times)


async def cost_of_live_tasks(tasks: Tasks) -> tuple[float, float]:
    """Kilobytes of memory for each live task, and percent of one processor while all of them wait."""
    await tasks.wait((await tasks.start("steps", "Warm up", {"count": 1})).id)
    before = resident_kilobytes()
    await asyncio.gather(*(tasks.start("wait", "Wait", {}) for _ in range(LIVE)))
    await asyncio.sleep(1.0)
    each = (resident_kilobytes() - before) / LIVE
    busy = time.process_time()
    await asyncio.sleep(IDLE_SECONDS)
    return each, 100 * (time.process_time() - busy) / IDLE_SECONDS


async def seconds_to_close(store: Store, tasks: Tasks) -> float:
    """An orderly end, with all those tasks live."""
    before = time.perf_counter()
    await tasks.close()
    await store.close()
    return time.perf_counter() - before


def seconds_to_resume(cluster: Cluster | None) -> float:
    """From the start of a new process, after kill -9, until the step in flight begins again."""
    with database(cluster) as address:
        child(address)
        return child(address)


def child(address: str) -> float:
    """Run a service until it says that its step has begun, and kill it; the seconds it took to say so."""
    before = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.tasks", "--serve", address], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        message = float(process.stdout.readline())
        process.kill()
    return message - before


async def serve_for_ever(address: str) -> None:
    """The child: one task that says when it goes on."""
    _, tasks = await serve(address, WORKS)
    if not await tasks.list(TaskFilter(live=True)):
        await tasks.start("say", "Say", {})
    await for_ever()


def resident_kilobytes() -> int:
    """This process's memory."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


async def median(measure: Callable[[], Awaitable[float]]) -> float:
    """The middle of several rounds: other work on the machine disturbs single ones."""
    return statistics.median([await measure() for _ in range(ROUNDS)])


async def measure_waiting(address: str) -> dict[str, float]:
    """What live tasks cost; in a fresh process, or threads of earlier rounds would be there already."""
    store, tasks = await serve(address, WORKS)
    idle = time.process_time()
    await asyncio.sleep(IDLE_SECONDS)
    idle = 100 * (time.process_time() - idle) / IDLE_SECONDS
    memory, processor = await cost_of_live_tasks(tasks)
    return {
        "KB for each live task": memory,
        f"threads, {LIVE} tasks live": threading.active_count(),
        "connections to PostgreSQL": await connections(store),
        "% of a processor, idle": idle,
        f"% of a processor, {LIVE} tasks waiting": processor,
        f"s to close, {LIVE} tasks live": await seconds_to_close(store, tasks),
    }


async def connections(store: Store) -> float:
    """How many this process has to PostgreSQL."""
    if not store.is_shared:
        return 0
    count = sa.text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
    return float(await store.database.read(lambda c: c.scalar(count) or 0))


async def measure_working(address: str) -> dict[str, float]:
    """What starts and steps cost."""
    store, tasks = await serve(address, WORKS)
    acts = await milliseconds_to_act(tasks)
    results = {
        "ms from asking for a task to its first act": statistics.median(acts),
        "ms of the slowest of them": acts[-1],
        "ms a step": await median(lambda: milliseconds_a_step(tasks)),
        "tasks started a second": await median(lambda: starts_a_second(tasks)),
        "tasks of three steps a second": await median(lambda: three_step_tasks_a_second(tasks)),
    }
    await seconds_to_close(store, tasks)
    return results


@contextlib.contextmanager
def database(cluster: Cluster | None) -> Iterator[str]:
    """The address of a new database: a file, or one of the PostgreSQL."""
    if cluster is not None:
        with fresh_database(cluster.url, f"bench_{uuid.uuid4().hex}") as url:
            yield url.render_as_string(hide_password=False)
        return
    with tempfile.TemporaryDirectory() as directory:
        yield f"sqlite:///{directory}/innkeeper.sqlite"


def measured(cluster: Cluster | None) -> dict[str, float]:
    """Measure all, each on a new database."""
    with database(cluster) as address:
        working = asyncio.run(measure_working(address))
    resumed = statistics.median(seconds_to_resume(cluster) for _ in range(ROUNDS))
    with database(cluster) as address:
        waiting = asyncio.run(measure_waiting(address))
    return working | {"s from a new process to the step resumed": resumed} | waiting


def main() -> None:
    """Measure, print the table, and keep the numbers."""
    on_postgresql = sys.argv[1:2] == ["--postgresql"]
    with clusters.cluster("") if on_postgresql else contextlib.nullcontext() as cluster:
        results = measured(cluster)
    for name, value in results.items():
        print(f"{value:10.2f}  {name}")
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
        asyncio.run(serve_for_ever(sys.argv[2]))
    else:
        main()
