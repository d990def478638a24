"""An inn of two servers."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa

from tests.server.relay.two_servers import Server, server
from tests.store.conftest import postgres, postgres_database

__all__ = ["postgres", "postgres_database"]


@pytest.fixture(scope="session")
async def inn_database(postgres: sa.URL) -> AsyncIterator[sa.URL]:
    """A database of one inn."""
    name = f"inn_{uuid.uuid4().hex}"
    engine = sa.create_engine(postgres, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    yield postgres.set(database=name)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    engine.dispose()


@pytest.fixture(scope="session")
async def inn(
    inn_database: sa.URL, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Server, Server]]:
    """Servers ``north``, which looks after ``attic``, and ``south``, which looks after ``cellar``.

    All tests share them, and leave them as they were.
    """
    directory = tmp_path_factory.mktemp("inn")
    async with (
        server("north", "attic", inn_database, directory, ["web-1", "mail", "twin"]) as north,
        server("south", "cellar", inn_database, directory, ["db-1", "db-2", "db-3", "twin"]) as south,
    ):
        for each in (north, south):
            assert each.house.neighbours is not None
            each.house.neighbours.look_again()
        yield north, south
