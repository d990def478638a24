"""A server holds few connections to PostgreSQL, and opens none anew that it has just had."""

from __future__ import annotations

import contextlib

import pytest
import sqlalchemy as sa

from innkeeper.errors import ServiceError
from innkeeper.store import postgresql
from innkeeper.store.database import Database
from innkeeper.store.postgresql import postgres_engine, shown
from innkeeper.tasks import patience

_MOST = 4


def _use_at_once(engine: sa.Engine, count: int) -> set[int]:
    """Use so many connections at one moment; the numbers of their processes."""
    with contextlib.ExitStack() as used:
        connections = [used.enter_context(engine.connect()) for _ in range(count)]
        return {int(each.scalar(sa.text("select pg_backend_pid()")) or 0) for each in connections}


def test_connections_of_a_moment_ago_are_used_again(postgres_database: sa.URL) -> None:
    """To open one costs PostgreSQL a process: more than a hundred statements."""
    engine = postgres_engine(postgres_database, most=_MOST, name="test")
    before = _use_at_once(engine, _MOST)
    assert len(before) == _MOST
    assert _use_at_once(engine, _MOST) == before
    engine.dispose()


def test_connections_that_nobody_needs_are_closed(
    postgres_database: sa.URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a burst, one is left to rest on."""
    engine = postgres_engine(postgres_database, most=_MOST, name="burst")
    _use_at_once(engine, _MOST)
    monkeypatch.setattr(postgresql, "_IDLE_SECONDS", 0.0)
    _use_at_once(engine, 1)
    assert engine.pool.checkedin() == 1  # type: ignore[attr-defined]  # of the queue that it is here
    engine.dispose()


async def test_no_sentence_shows_a_secret_of_the_databases_url() -> None:
    """Neither one before the host nor one among the parameters; the rest is told."""
    url = sa.make_url(
        "postgresql://inn:hush@127.0.0.1:1/night?password=hush&sslpassword=hush&sslmode=disable"
    )
    assert "hush" not in shown(url)
    database = await Database.connect(url)
    with patience.bounded(0.1), pytest.raises(ServiceError) as told:
        await database.look()
    await database.close()
    assert "hush" not in str(told.value)
    assert "127.0.0.1:1/night?sslmode=disable" in str(told.value)
