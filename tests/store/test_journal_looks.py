"""A run that began here is not asked about before each step; one that was taken up is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from innkeeper.store.engine import DbosEngine
from innkeeper.tasks.ports import Body, Steps
from innkeeper.wire.events import Json


@contextlib.contextmanager
def looks() -> Iterator[list[str]]:
    """The questions for recorded steps that are put to any database meanwhile."""
    asked: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if statement.lstrip().startswith("SELECT") and "operation_outputs.output" in statement:
            asked.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)


async def test_only_a_run_that_was_taken_up_is_looked_up(tmp_path: Path) -> None:
    """Half of what a step costs; after a restart each recorded step is found, and none is done again."""
    done: list[str] = []
    waits, goes_on, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def body(key: str, argument: Mapping[str, Json], steps: Steps) -> Json:
        for name in ("one", "two", "three"):

            async def act(name: str = name) -> Json:
                if name == "three" and not goes_on.is_set():
                    waits.set()
                    await goes_on.wait()
                done.append(name)
                return name

            assert await steps.run(name, act) == name
        ended.set()
        return None

    first = await _engine(tmp_path, body)
    with looks() as asked:
        await first.start("key", "work", {})
        await asyncio.wait_for(waits.wait(), 20)
    assert asked == []
    await first.close()
    goes_on.set()
    with looks() as asked:
        second = await _engine(tmp_path, body)
        await asyncio.wait_for(ended.wait(), 20)
    assert len(asked) == 3
    assert done == ["one", "two", "three"]
    await second.close()


async def _engine(directory: Path, body: Body) -> DbosEngine:
    engine = DbosEngine(directory / "runs.sqlite", server="one")
    engine.register("work", body)
    await engine.launch()
    return engine
