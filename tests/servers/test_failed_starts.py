"""A server whose start fails is told with the reason, and can be ended for good."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from innkeeper.errors import InvalidArgument
from innkeeper.server.compose import open_house
from innkeeper.server.compose_base import Overrides
from innkeeper.server.settings import FakeSettings, Settings
from innkeeper.store.database import Database
from innkeeper.store.servers import Servers
from innkeeper.tasks.clock import FakeClock
from tests.servers.test_fleet import fleet
from tests.store.conftest import postgres, postgres_database

__all__ = ["postgres", "postgres_database"]

_CLOCK = Overrides(clock=FakeClock())


def _settings(directory: Path, url: sa.URL, stand_in_for: tuple[str, ...] = ()) -> Settings:
    return Settings(
        state_dir=directory / "north",
        socket=directory / "s.sock",
        database=url.render_as_string(hide_password=False),
        server_name="north",
        stand_in_for=stand_in_for,
        fake=FakeSettings(machines=1),
    )


async def test_a_start_that_fails_is_told_until_one_succeeds_or_it_is_retired(
    postgres_database: sa.URL, tmp_path: Path
) -> None:
    """Any server of the inn says why it is away."""
    database = await Database.connect(postgres_database)
    await database.migrate()
    servers = Servers(database)
    south = await servers.enrol("south")

    async def trouble() -> str:
        (north,) = [each for each in await servers.list() if each.id != south.id]
        assert not north.alive
        return north.trouble

    with pytest.raises(InvalidArgument, match="barn"):
        async with open_house(_settings(tmp_path, postgres_database, ("barn",)), _CLOCK):
            raise AssertionError("it has started")
    assert "stand_in_for names barn" in await trouble()
    async with open_house(_settings(tmp_path, postgres_database), _CLOCK):
        pass
    assert await trouble() == ""
    with pytest.raises(RuntimeError):
        async with open_house(_settings(tmp_path, postgres_database), _CLOCK):
            raise RuntimeError("a secret")
    assert "RuntimeError" in await trouble()
    assert "secret" not in await trouble()
    await (await fleet(database, south)).retire("north")
    assert [each.name for each in await servers.list()] == ["south"]
    await database.close()
