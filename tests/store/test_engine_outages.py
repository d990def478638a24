"""Runs whose journal is lost for a while, or whose process has lost them."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from dbos import DBOS

from innkeeper.store.engine import DbosEngine
from innkeeper.tasks.ports import Steps
from innkeeper.tasks.supervision import Loops
from innkeeper.wire.events import Json
from tests.store.clusters import Cluster

RUNS = 20
STEPS = 10


class Walks:
    """Runs of some steps each, and how often each step was done."""

    def __init__(self, steps: int = STEPS) -> None:
        self.done: Counter[tuple[str, int]] = Counter()
        self._steps = steps

    async def body(self, key: str, argument: Mapping[str, Json], steps: Steps) -> Json:
        """Take the steps."""
        for number in range(self._steps):

            async def act(number: int = number) -> Json:
                self.done[key, number] += 1
                await asyncio.sleep(0.05)
                return number

            await steps.run(f"step {number}", act)
        return None

    async def until(self, engine: DbosEngine) -> None:
        """Wait until all have ended."""
        async with asyncio.timeout(120):
            while await engine.unfinished():
                await asyncio.sleep(0.1)


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_a_database_that_restarts_costs_no_step(
    own_cluster: Cluster, own_database: sa.URL, mode: str
) -> None:
    """Under live runs: none is lost, and none does a step twice."""
    walks = Walks()
    engine = DbosEngine(own_database, server=str(uuid.uuid4()))
    engine.register("walk", walks.body)
    await engine.launch()
    await asyncio.gather(*(engine.start(f"run {number}", "walk", {}) for number in range(RUNS)))
    await asyncio.to_thread(own_cluster.stop, mode)
    await asyncio.sleep(1)
    await asyncio.to_thread(own_cluster.start)
    await walks.until(engine)
    await engine.close()
    assert len(walks.done) == RUNS * STEPS
    assert set(walks.done.values()) == {1}


async def test_a_run_that_its_process_has_lost_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its journal failed after a step: the watch finds the run, which goes on from that step's record."""
    walks = Walks(steps=3)
    loops = Loops()
    engine = DbosEngine(tmp_path / "runs.sqlite", server="one", watch=dt.timedelta(seconds=0.2), loops=loops)
    engine.register("walk", walks.body)
    await engine.launch()
    run_step, failures = DBOS.run_step_async, [OSError("No space left on device")]

    async def fail_once(options: Any, action: Any) -> Any:
        result = await run_step(options, action)
        if options["name"] == "step 1" and failures:
            raise failures.pop()
        return result

    monkeypatch.setattr(DBOS, "run_step_async", fail_once)
    monkeypatch.setattr(DBOS, "list_workflows", _fail_once_in(DBOS.list_workflows))
    await engine.start("run", "walk", {})
    while not loops.failing:  # it is shown that a look has failed, and the next ones are made
        await asyncio.sleep(0.01)
    await walks.until(engine)
    await engine.close()
    assert failures == []
    assert loops.health == []
    assert walks.done == {("run", 0): 1, ("run", 1): 1, ("run", 2): 1}


def _fail_once_in(look: Callable[..., Any]) -> Callable[..., Any]:
    errors = [OSError("disk I/O error")]

    def looked(**wanted: Any) -> Any:
        if errors:
            raise errors.pop()
        return look(**wanted)

    return looked
