"""Databases for the tests: SQLite always, PostgreSQL where its server is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from innkeeper.store.database import Database


def _postgres_programs() -> Path | None:
    """Where the newest PostgreSQL server is installed, if one is."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return found[-1].parent if found else None


def _unprivileged() -> list[str]:
    """PostgreSQL refuses to run as root."""
    return ["runuser", "-u", "innkeeper", "--"] if os.geteuid() == 0 else []


@pytest.fixture(scope="session")
def postgres() -> Iterator[sa.URL]:
    """A private PostgreSQL cluster, reached through a Unix socket alone."""
    programs = _postgres_programs()
    if programs is None:
        pytest.skip("PostgreSQL's server is not installed")
    base = Path(tempfile.mkdtemp(prefix="innkeeper-postgres-"))
    base.chmod(0o777)
    data = base / "data"
    run = _unprivileged()
    subprocess.run(
        [*run, programs / "initdb", "-D", data, "-A", "trust", "-U", "innkeeper", "-N", "-E", "UTF8"],
        check=True,
        capture_output=True,
        cwd="/",
    )
    options = f"-c listen_addresses='' -c unix_socket_directories={base} -c fsync=off -c max_connections=200"
    control: list[str | Path] = [*run, programs / "pg_ctl", "-D", data, "-w", "-l", base / "log"]
    subprocess.run([*control, "-o", options, "start"], check=True, capture_output=True, cwd="/")
    try:
        yield sa.URL.create(
            "postgresql+psycopg", username="innkeeper", database="postgres", query={"host": str(base)}
        )
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=True, capture_output=True, cwd="/")
        shutil.rmtree(base, ignore_errors=True)


@pytest.fixture
def postgres_database(postgres: sa.URL) -> Iterator[sa.URL]:
    """A fresh database in the private cluster."""
    name = f"test_{uuid.uuid4().hex}"
    # A test may restart the cluster: connections are tried before they are used again.
    engine = sa.create_engine(postgres, isolation_level="AUTOCOMMIT", pool_pre_ping=True)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    yield postgres.set(database=name)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    engine.dispose()


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
