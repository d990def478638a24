"""The one rule for a database that is away: what waiting cures is tried again until it is done."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import re
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, TypeVar

import psycopg
import sqlalchemy as sa
import structlog

from innkeeper.errors import ErrorCode, ServiceError, StoreAway
from innkeeper.tasks import patience

_log = structlog.get_logger(__name__)

#: The first pause after a failure, doubled at each further one …
_FIRST_PAUSE_SECONDS: Final = 0.05
#: … up to this, so that work goes on soon after the database is back.
_LONGEST_PAUSE_SECONDS: Final = 2.0

#: Classes of SQLSTATE (their first two characters) in which the same may succeed later: connection,
#: rolled back for another's sake, resources, intervention of an operator, system.
_PASSING_CLASSES: Final = frozenset({"08", "40", "53", "57", "58"})
#: Single ones of other classes.
_PASSING_STATES: Final = frozenset(
    {
        "55P03",  # lock_not_available: lock_timeout ran out
        "55006",  # object_in_use
        "25P03",  # idle_in_transaction_session_timeout
        "25P04",  # transaction_timeout
        "25006",  # read_only_sql_transaction: the server that fails over is still a standby, or is one now
        "XX000",  # internal_error, as PgBouncer says of a server that is away
    }
)
#: Of others, that say only that somebody else was first.
_CONTENTION: Final = frozenset({"40001", "40P01", "55P03"})
_PASSING_SQLITE: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    }
)
_SQLITE_CONTENTION: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})

#: What a server says to one it will not let in; libpq gives no SQLSTATE for it.
_REFUSED: Final = re.compile(
    r"authentication failed|no password supplied|no pg_hba\.conf entry|role \"[^\"]*\" does not exist"
    r"|database \"[^\"]*\" does not exist|not permitted to log in|no such (user|database)"
    r"|permission denied for database|certificate verify failed|invalid .*connection option"
)

T = TypeVar("T")


def passes(error: Exception) -> bool:
    """Whether the same call may succeed later without anybody's change of it."""
    if isinstance(error, sa.exc.TimeoutError):  # no connection of the pool became free
        return True
    if isinstance(error, sa.exc.IntegrityError) or not isinstance(error, sa.exc.DBAPIError):
        return False
    cause = error.orig
    if isinstance(cause, psycopg.Error):
        return _passes_on_postgresql(cause)
    return isinstance(cause, sqlite3.Error) and _sqlite_code(cause) in _PASSING_SQLITE


def is_refusal(error: Exception) -> bool:
    """Whether the database server answered, and does not let us in: at the start nobody waits for that."""
    return _REFUSED.search(str(error)) is not None


def _passes_on_postgresql(cause: psycopg.Error) -> bool:
    if cause.sqlstate is None:  # no server said it: the connection was lost, or none was made
        return isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError)
    return cause.sqlstate[:2] in _PASSING_CLASSES or cause.sqlstate in _PASSING_STATES


def _is_contention(error: Exception) -> bool:
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) else None
    if isinstance(cause, psycopg.Error):
        return cause.sqlstate in _CONTENTION
    return isinstance(cause, sqlite3.Error) and _sqlite_code(cause) in _SQLITE_CONTENTION


def _sqlite_code(cause: sqlite3.Error) -> int:
    """The primary result code: the extended ones hold it in their last byte."""
    return getattr(cause, "sqlite_errorcode", 0) & 0xFF


def pauses() -> Iterator[float]:
    """Seconds between tries, growing; by chance somewhat less, so that many do not come at once."""
    longest = _FIRST_PAUSE_SECONDS
    while True:
        yield longest * random.uniform(0.5, 1.0)  # noqa: S311  # no secret
        longest = min(2 * longest, _LONGEST_PAUSE_SECONDS)


class Waiting:
    """Tries again what waiting cures, and remembers since when the database is away.

    Used on the event loop (``until_done``) and by the thread that writes to a SQLite file (``pause``).
    """

    def __init__(self, name: str, beside: Waiting | None = None) -> None:
        """``name`` is what people call the database, without a password.

        While ``beside`` knows that it is away, nobody is told so again.
        """
        self._name = name
        self._beside = beside
        self._guard = threading.Lock()
        self._since: dt.datetime | None = None
        self._error = ""
        self._closing = threading.Event()

    @property
    def trouble(self) -> str:
        """What is wrong with the database now, in one sentence; empty while it answers."""
        with self._guard:
            return self._sentence() if self._since is not None else ""

    @property
    def since(self) -> dt.datetime | None:
        """Since when the database is away; ``None`` while it answers."""
        return self._since

    def close(self) -> None:
        """End all waiting."""
        self._closing.set()

    async def until_done(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Return what ``attempt`` does, tried as often as it takes.

        Raises ``StoreAway`` where the caller's patience is over (``tasks.patience``), and what waiting does
        not cure at once.
        """
        limit_seconds = patience.limit_seconds()
        deadline = asyncio.timeout(limit_seconds)
        try:
            async with deadline:
                return await self._until_done(attempt)
        except TimeoutError as exc:
            if not deadline.expired():
                raise
            raise self._away(f"no answer within {limit_seconds:.0f} seconds") from exc

    async def _until_done(self, attempt: Callable[[], Awaitable[T]]) -> T:
        tries = pauses()
        while True:
            if self._closing.is_set():
                raise self._away("it is being closed")
            try:
                done = await attempt()
            except (sa.exc.DBAPIError, sa.exc.TimeoutError) as exc:
                self.judge(exc)
                await asyncio.sleep(next(tries))
            else:
                self.is_back()
                return done

    def pause(self, seconds: float) -> None:
        """Wait in a thread; ends at once where the database is being closed."""
        self._closing.wait(seconds)

    def judge(self, error: sa.exc.SQLAlchemyError) -> None:
        """Note an error that waiting cures; raise every other one, and each where nobody waits any longer.

        A broken constraint is raised as it is: it is for the caller, who set it off.
        """
        if isinstance(error, sa.exc.IntegrityError):
            raise error
        if not passes(error):
            raise failed(error) from error
        if self._closing.is_set():
            raise self._away(_words(error)) from error
        if not _is_contention(error):
            self._is_away(_words(error))

    def told(self, error: sa.exc.SQLAlchemyError) -> ServiceError:
        """The error for one who does not wait at all."""
        return self._away(_words(error)) if passes(error) else failed(error)

    def is_back(self) -> None:
        """Note that the database answers."""
        if self._since is None:
            return
        with self._guard:
            since, self._since = self._since, None
        if since is not None:
            _log.info("database_back", database=self._name, since=since.isoformat(timespec="seconds"))

    def _is_away(self, words: str) -> None:
        with self._guard:
            is_news = self._since is None and (self._beside is None or not self._beside.trouble)
            self._error = words
            self._since = self._since or dt.datetime.now(dt.UTC)
        if is_news:
            _log.warning("database_away", database=self._name, error=words, advice="It is waited for.")

    def _sentence(self) -> str:
        since = "" if self._since is None else f" since {self._since:%H:%M:%S} UTC"
        return f"Innkeeper's database {self._name} does not answer{since}: {self._error}."

    def _away(self, words: str) -> StoreAway:
        with self._guard:
            self._error = self._error if self._since is not None else words
            return StoreAway(
                self._sentence(),
                advice="The service waits for it, and its work goes on then. Ask again in a while; "
                "look first whether what you asked for was done.",
            )


def failed(error: sa.exc.SQLAlchemyError) -> ServiceError:
    """The error of a call that waiting does not cure."""
    return ServiceError(
        f"Innkeeper's database failed: {error.args[0] if error.args else error}",
        code=ErrorCode.E_FAIL,
        advice="See that the database runs, and that its disk has room.",
    )


def _words(error: Exception) -> str:
    """What the database or its driver said, in one line."""
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) and error.orig is not None else error
    lines = str(cause).strip().splitlines() or [type(cause).__name__]
    return " ".join(lines[0].split()).rstrip(".")
