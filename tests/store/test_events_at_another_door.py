"""Live at any door: what a task on one server does is followed at another."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from innkeeper.server.compose import open_house
from innkeeper.server.compose_base import Overrides
from innkeeper.server.house import House
from innkeeper.server.settings import FakeSettings, Settings
from innkeeper.tasks.clock import FakeClock
from innkeeper.tasks.memory_engine import MemoryEngine
from innkeeper.wire.commands import Command
from innkeeper.wire.events import EventGroup, EventKind


@contextlib.asynccontextmanager
async def _house(name: str, database: sa.URL, directory: Path) -> AsyncIterator[House]:
    settings = Settings(
        state_dir=directory / name,
        socket=directory / name / "s",
        database=database.render_as_string(hide_password=False),
        server_name=name,
        fake=FakeSettings(machines=2),
    )
    # The durable engine is one a process.
    parts = Overrides(clock=FakeClock(speed=200), engine=MemoryEngine())
    async with open_house(settings, parts) as house:
        yield house


@pytest.fixture
async def two(postgres_database: sa.URL, tmp_path: Path) -> AsyncIterator[tuple[House, House]]:
    """Two servers on one PostgreSQL."""
    async with (
        _house("attic", postgres_database, tmp_path) as attic,
        _house("cellar", postgres_database, tmp_path) as cellar,
    ):
        yield attic, cellar


async def test_a_task_of_one_server_is_followed_at_the_door_of_another(two: tuple[House, House]) -> None:
    """Progress and end arrive there as events, and who waits for it there returns."""
    attic, cellar = two
    (machine, *_) = await attic.machines.list()
    since = await cellar.events.newest_id()
    task = await attic.machines.command(machine.name, Command.SAVE, owner="ana")
    assert await cellar.tasks.wait(task.id, 60)
    told = []
    async with (
        asyncio.timeout(60),
        contextlib.aclosing(cellar.events.listen(since, (EventGroup.TASK.pattern,))) as events,
    ):
        async for numbered in events:
            if numbered.event.subject == str(task.id):
                told.append(numbered.event.kind)
            if told and told[-1] is EventKind.TASK_ENDED:
                break
    assert told[0] is EventKind.TASK_CREATED
    assert EventKind.TASK_CHANGED in told
