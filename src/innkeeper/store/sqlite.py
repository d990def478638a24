"""SQLite files, opened the way a service needs them."""

from __future__ import annotations

import contextlib
import enum
import os
import sqlite3
import stat
from pathlib import Path
from typing import Final

import sqlalchemy as sa
import structlog
from sqlalchemy.pool import ConnectionPoolEntry

from innkeeper.errors import ErrorCode, ServiceError

_log = structlog.get_logger(__name__)

#: Longer than any of our transactions, also on a slow disk.
_BUSY_TIMEOUT_MS: Final = 30_000
_POOL_TIMEOUT_SECONDS: Final = 300.0


class Synchronous(enum.StrEnum):
    """When a commit is on the disk."""

    #: At the next checkpoint: safe from kill -9, while a power cut may take the last commits.
    NORMAL = "NORMAL"
    #: When it returns: safe from a power cut too.
    FULL = "FULL"


def prepare_file(path: Path) -> None:
    """Make the file where there is none, for its owner's eyes alone, and look whether it is whole.

    Its write-ahead log takes its mode. Raises ``ServiceError`` (SCHED_E_ACCOUNT_DBASE_CORRUPT)
    for a file that is damaged or no database.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        for each in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))):
            _close_to_others(each)
    except OSError as error:
        raise ServiceError(
            f"The database {path} cannot be opened: {error.strerror}.",
            code=ErrorCode.ERROR_FILE_NOT_FOUND,
            advice="Name a file that the service's user may write, in a directory of its own.",
        ) from error
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=_BUSY_TIMEOUT_MS / 1000)) as connection:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError:
        return  # locked, say: whoever uses it next is told
    except sqlite3.DatabaseError as error:
        found = str(error)
    if found != "ok":
        raise damaged(path, found)


def damaged(path: Path, how: str) -> ServiceError:
    """The error of a database that is not whole."""
    return ServiceError(
        f"The database {path} is damaged: {how}.",
        code=ErrorCode.SCHED_E_ACCOUNT_DBASE_CORRUPT,
        advice="Put back a backup of the state directory, with the service stopped; keep the damaged files.",
    )


class SameFile:
    """Refuses work on a database whose file was deleted or exchanged: what is written there is lost."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._identity = self._look()

    def check(self) -> None:
        """Raises ``ServiceError`` (ERROR_FILE_NOT_FOUND) where the file is not the one that was opened."""
        if self._look() != self._identity:
            raise ServiceError(
                f"The database {self._path} was deleted or exchanged while the service runs.",
                code=ErrorCode.ERROR_FILE_NOT_FOUND,
                advice="Put the file back as it was, or stop the service and put back a backup.",
            )

    def _look(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino


def _close_to_others(path: Path) -> None:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return
    if mode & 0o077:
        path.chmod(mode & 0o700)
        _log.warning("database_closed_to_others", path=str(path), mode=f"{mode:o}")


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
