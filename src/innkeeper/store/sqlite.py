"""SQLite files, opened the way a service needs them."""

from __future__ import annotations

import enum
import sqlite3
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy.pool import ConnectionPoolEntry

#: Longer than any of our transactions, also on a slow disk.
_BUSY_TIMEOUT_MS: Final = 30_000
_POOL_TIMEOUT_SECONDS: Final = 300.0


class Synchronous(enum.StrEnum):
    """When a commit is on the disk."""

    #: At the next checkpoint: safe from kill -9, while a power cut may take the last commits.
    NORMAL = "NORMAL"
    #: When it returns: safe from a power cut too.
    FULL = "FULL"


def sqlite_engine(path: Path, *, connections: int, synchronous: Synchronous) -> sa.Engine:
    """An engine for the file at ``path``: write-ahead log, waiting for locks, foreign keys kept."""
    engine = sa.create_engine(
        f"sqlite:///{path}", pool_size=connections, max_overflow=0, pool_timeout=_POOL_TIMEOUT_SECONDS
    )

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
        # IMMEDIATE: a transaction that will write takes its lock first, and waits for it instead of failing.
        connection.isolation_level = "IMMEDIATE"
        connection.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={synchronous.value}")
        connection.execute("PRAGMA foreign_keys=ON")

    return engine
