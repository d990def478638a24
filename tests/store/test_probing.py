"""A file of the store that cannot be written to is away, whatever is in the way."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from innkeeper.errors import StoreAway
from innkeeper.store.probing import SqliteProbe, WholeStore
from innkeeper.tasks import patience


@contextlib.contextmanager
def _full() -> Iterator[None]:
    """As on a full disk: no file of this process takes a byte, that of captured output neither."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with capture_logs():
            yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def _held(path: Path) -> Iterator[None]:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@pytest.mark.parametrize("trouble", ["full", "held"])
async def test_a_file_that_takes_no_writes_is_away(tmp_path: Path, trouble: str) -> None:
    """Each look finds it so, and the first after that finds it well."""
    path = tmp_path / "runs.sqlite"
    made = await asyncio.to_thread(SqliteProbe, path)
    store = WholeStore(made)
    await store.probe()
    with _full() if trouble == "full" else _held(path):
        for _ in range(2):
            with patience.bounded(0.5), pytest.raises(StoreAway, match=r"runs\.sqlite"):
                await store.probe()
        assert (store.away_since is not None) == (trouble == "full")
    await store.probe()
    assert store.away_since is None
    await asyncio.to_thread(made.close)


async def test_a_look_changes_nothing(tmp_path: Path) -> None:
    """The number that it writes is the one that was there."""
    path = tmp_path / "runs.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA user_version = 7")
    made = await asyncio.to_thread(SqliteProbe, path)
    await made.probe()
    await asyncio.to_thread(made.close)
    with contextlib.closing(sqlite3.connect(path)) as other:
        assert other.execute("PRAGMA user_version").fetchone() == (7,)
