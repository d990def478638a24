"""A service process for crash tests: some tasks of many small steps, on the real store and engine.

Its arguments: the database's address, a file that takes a line for every side effect, how many tasks there
shall be, how many steps each, how long a step takes, and the server's name. It ends by itself when all tasks
have ended.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping

from innkeeper.store.opening import open_store
from innkeeper.tasks.clock import SystemClock
from innkeeper.tasks.running import RunningTask
from innkeeper.tasks.service import Tasks
from innkeeper.wire.events import Json


async def serve(
    url: str, effects: int, tasks_wanted: int, steps: int, step_seconds: float, server: str
) -> None:
    """Take up what is unfinished, start what is missing, and wait for the end of all."""
    clock = SystemClock()
    store = await open_store(url, server=server, home=f"home of {server}")
    tasks = Tasks(
        store=store.tasks,
        engine=store.engine,
        clock=clock,
        publish=lambda event: None,
        shared=store.is_shared,
    )

    async def work(task: RunningTask, argument: Mapping[str, Json]) -> None:
        for number in range(steps):

            async def act(number: int = number) -> Json:
                os.write(effects, f"{task.id} {number}\n".encode())
                await asyncio.sleep(step_seconds)
                return number

            assert await task.step(f"step {number}", act) == number
            task.report(number=number + 1, count=steps, percent=100 * (number + 1) // steps)

    tasks.register("work", work)
    await tasks.launch()
    for number in range(len(await tasks.list()), tasks_wanted):
        await tasks.start("work", f"Work {number}", {}, lock=f"machine:{number}")
    for task in await tasks.list():
        await tasks.wait(task.id)
    await tasks.close()
    await store.close()


if __name__ == "__main__":
    _, address, path, wanted, step_count, seconds, name = sys.argv
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    asyncio.run(serve(address, descriptor, int(wanted), int(step_count), float(seconds), name))
