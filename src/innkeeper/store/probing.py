"""Looks whether the store can be written to now, for those who watch over the service."""

from __future__ import annotations

import asyncio
import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa

from innkeeper.store.sqlite import Synchronous, sqlite_engine
from innkeeper.store.waiting import Waiting


class Probed(Protocol):
    """A part of the store that can be looked at."""

    @property
    def away_since(self) -> dt.datetime | None:
        """Since when it is away; ``None`` while it answers."""

    async def probe(self) -> None:
        """Look whether it answers, and can be written to. Raises ``StoreAway``."""


def write_nothing_new(connection: sa.Connection) -> None:
    """Write to a SQLite file what it holds already: it takes the lock of a writer, and room in the log."""
    version = int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
    connection.exec_driver_sql(f"PRAGMA user_version = {version}")


class SqliteProbe:
    """Looks at a SQLite file that another part of the service writes to, by the rule of the database."""

    def __init__(self, path: Path) -> None:
        self._engine = sqlite_engine(path, connections=1, synchronous=Synchronous.NORMAL)
        self._waiting = Waiting(str(path))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="innkeeper-probe")

    @property
    def away_since(self) -> dt.datetime | None:
        """Since when it is away; ``None`` while it answers."""
        return self._waiting.since

    async def probe(self) -> None:
        """Write to it. Raises ``StoreAway``."""
        await self._waiting.until_done(
            lambda: asyncio.get_running_loop().run_in_executor(self._thread, self._write)
        )

    def close(self) -> None:
        """End the look that may be under way; waits for nothing."""
        self._waiting.close()
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._engine.dispose()

    def _write(self) -> None:
        with self._engine.begin() as connection:
            write_nothing_new(connection)


class WholeStore:
    """All parts of the store together: away where one of them is."""

    def __init__(self, *parts: Probed) -> None:
        self._parts = parts

    @property
    def away_since(self) -> dt.datetime | None:
        """Since when a part of it is away; ``None`` while all answer."""
        return min((part.away_since for part in self._parts if part.away_since is not None), default=None)

    async def probe(self) -> None:
        """Look at all parts, side by side. Raises ``StoreAway`` of the first that is away."""
        for result in await asyncio.gather(*(part.probe() for part in self._parts), return_exceptions=True):
            if result is not None:
                raise result
