"""Measure what durability costs: a step, a start, a live task, and the way back after kill -9.

Run ``make bench``, or ``python benchmarks/tasks.py`` for this one alone. The database is a file in the
temporary directory: set TMPDIR to measure another disk.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from innkeeper.store.opening import Store, open_store
from innkeeper.tasks.clock import SystemClock
from innkeeper.tasks.running import RunningTask, Work
from innkeeper.tasks.service import Tasks
from innkeeper.wire.events import Json

ROUNDS = 5
STEPS = 300
STARTS = 300
LIVE = 300
IDLE_SECONDS = 10.0
RESULTS = Path("build/bench/tasks.json")


async def serve(directory: Path, works: Mapping[str, Work]) -> tuple[Store, Tasks]:
    """The tasks service on a database of its own."""
    store = await open_store(f"sqlite:///{directory}/innkeeper.sqlite", server="bench")
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


async def nothing() -> Json:
    """The cheapest step."""
    return None


async def for_ever() -> Json:
    """The longest step."""
    await asyncio.Event().wait()
    return None


WORKS: Mapping[str, Work] = {"steps": take_steps, "wait": wait_for_ever, "say": say_and_wait}


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


async def cost_of_live_tasks(tasks: Tasks) -> tuple[float, float]:
    """Kilobytes of memory for each live task, and percent of one processor while all of them wait."""
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


def seconds_to_resume() -> float:
    """From the start of a new process, after kill -9, until the step in flight begins again."""
    with tempfile.TemporaryDirectory() as directory:
        child(directory)
        return child(directory)


def child(directory: str) -> float:
    """Run a service until it says that its step has begun, and kill it; the seconds it took to say so."""
    before = time.monotonic()
    with subprocess.Popen(
        [sys.executable, __file__, "--serve", directory], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        message = float(process.stdout.readline())
        process.kill()
    return message - before


async def serve_for_ever(directory: Path) -> None:
    """The child: one task that says when it goes on."""
    _, tasks = await serve(directory, WORKS)
    if not await tasks.list():
        await tasks.start("say", "Say", {})
    await for_ever()


def resident_kilobytes() -> int:
    """This process's memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


async def median(measure: Callable[[], Awaitable[float]]) -> float:
    """The middle of several rounds: other work on the machine disturbs single ones."""
    return statistics.median([await measure() for _ in range(ROUNDS)])


async def measure_waiting(directory: Path) -> dict[str, float]:
    """What live tasks cost; in a fresh process, or threads of earlier rounds would be there already."""
    store, tasks = await serve(directory, WORKS)
    memory, processor = await cost_of_live_tasks(tasks)
    return {
        "KB for each live task": memory,
        f"% of a processor, {LIVE} tasks waiting": processor,
        f"s to close, {LIVE} tasks live": await seconds_to_close(store, tasks),
    }


async def measure_working(directory: Path) -> dict[str, float]:
    """What starts and steps cost."""
    store, tasks = await serve(directory, WORKS)
    results = {
        "ms a step": await median(lambda: milliseconds_a_step(tasks)),
        "tasks started a second": await median(lambda: starts_a_second(tasks)),
        "tasks of three steps a second": await median(lambda: three_step_tasks_a_second(tasks)),
    }
    await seconds_to_close(store, tasks)
    return results


def main() -> None:
    """Measure, print the table, and keep the numbers."""
    results: dict[str, float] = {}
    for part in (measure_waiting, measure_working):
        with tempfile.TemporaryDirectory() as directory:
            results |= asyncio.run(part(Path(directory)))
    results["s from a new process to the step resumed"] = statistics.median(
        seconds_to_resume() for _ in range(ROUNDS)
    )
    for name, value in results.items():
        print(f"{value:10.2f}  {name}")
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        asyncio.run(serve_for_ever(Path(sys.argv[2])))
    else:
        main()
