"""Databases for the tests: SQLite always, PostgreSQL where its server is installed."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from innkeeper.store.database import Database
from tests.store import clusters
from tests.store.clusters import Cluster


@pytest.fixture(scope="session")
def postgres() -> Iterator[sa.URL]:
    """A private PostgreSQL cluster, reached through a Unix socket alone."""
    with clusters.cluster() as cluster:
        yield cluster.url


@pytest.fixture(scope="module")
def own_cluster() -> Iterator[Cluster]:
    """A cluster that the tests of one module stop and start as they like."""
    with clusters.cluster() as cluster:
        yield cluster


@pytest.fixture
def postgres_database(postgres: sa.URL) -> Iterator[sa.URL]:
    """A fresh database in the private cluster."""
    with clusters.fresh_database(postgres, f"test_{uuid.uuid4().hex}") as url:
        yield url


@pytest.fixture
def own_database(own_cluster: Cluster) -> Iterator[sa.URL]:
    """A fresh database in the cluster of its own."""
    with clusters.fresh_database(own_cluster.url, f"test_{uuid.uuid4().hex}") as url:
        yield url


def _url(kind: str, request: pytest.FixtureRequest, directory: Path) -> sa.URL:
    if kind == "sqlite":
        return sa.make_url(f"sqlite:///{directory}/innkeeper.sqlite")
    url: sa.URL = request.getfixturevalue("postgres_database")
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> sa.URL:
    """The address of an empty database, of either kind."""
    return _url(request.param, request, tmp_path)


@pytest.fixture
async def database(database_url: sa.URL) -> AsyncIterator[Database]:
    """An open database, of either kind."""
    database = await Database.connect(database_url)
    await database.migrate()
    yield database
    await database.close()


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database | None]:
    """Where a contract's store keeps its things: an open database, or ``None`` for memory."""
    if request.param == "memory":
        yield None
        return
    database = await Database.connect(_url(request.param, request, tmp_path))
    await database.migrate()
    yield database
    await database.close()
