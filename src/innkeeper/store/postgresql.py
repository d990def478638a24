"""Connections to PostgreSQL: few, and none that a server which stands still could hold locks with."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import weakref
from typing import Any, Final, cast

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

#: The oldest release of PostgreSQL that Innkeeper is tried on: 13.0, as the server counts.
OLDEST_VERSION: Final = 130_000

#: Set for each session, in milliseconds. A server that is paused inside a transaction loses it long before
#: a lease runs out; whoever waits for a lock is told, and waits again without holding anything.
_SESSION: Final = {"idle_in_transaction_session_timeout": "5000", "lock_timeout": "5000"}
_ALL_SET: Final = sa.text(
    "select " + ", ".join(f"set_config('{name}', '{value}', true)" for name, value in _SESSION.items())
)
#: libpq's own limits: how long to connect, and after how long without an answer from its computer a
#: connection is lost. Over a Unix socket only the first has a meaning.
_LIMITS: Final = {
    "connect_timeout": 5,
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
}
#: A connection beside the resting one is closed after so long without work.
_IDLE_SECONDS: Final = 30.0
#: How long a thread waits for a connection of its pool before it says so.
_POOL_TIMEOUT_SECONDS: Final = 10.0
#: Of a connection: its sessions have our settings by themselves, also from one transaction to the next.
_IS_SETTLED: Final = "innkeeper settings"
_IDLE_SINCE: Final = "innkeeper idle since"
#: What is a secret among the parameters of a URL.
_SECRET_PARAMETERS: Final = ("password", "sslpassword")


def shown(url: sa.URL) -> str:
    """Return a database's URL as people may read it, without its secrets."""
    return url.difference_update_query(_SECRET_PARAMETERS).render_as_string(hide_password=True)


class RestingPool(QueuePool):
    """A pool that opens connections on demand, and goes back to one when they are not needed.

    The one that was used last is used next, so that those too many lie idle, and are closed.
    """

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        _info(record)[_IDLE_SINCE] = time.monotonic()
        super()._do_return_conn(record)
        while (idle := self._too_many()) is not None:
            try:
                idle.close()
            finally:
                self._dec_overflow()

    def _too_many(self) -> ConnectionPoolEntry | None:
        """Take out the connection that lies idle the longest, where it is not needed to rest on."""
        with self._pool.mutex:  # type: ignore[attr-defined]  # of the queue that it is here
            waiting = self._pool.queue  # type: ignore[attr-defined]
            if len(waiting) < 2 or time.monotonic() - _idle_since(waiting[0]) < _IDLE_SECONDS:
                return None
            return cast(ConnectionPoolEntry, waiting.popleft())


def _idle_since(record: ConnectionPoolEntry) -> float:
    return cast(float, _info(record).get(_IDLE_SINCE, 0.0))


def _info(record: ConnectionPoolEntry) -> dict[Any, Any]:
    """What is noted of a place in the pool."""
    info = record.record_info
    assert info is not None, "only a connection without a pool has none"
    return info


def postgres_engine(url: sa.URL, *, most: int, name: str) -> sa.Engine:
    """An engine that rests on one connection and opens up to ``most``; ``name`` is what PostgreSQL calls it.

    It works through PgBouncer in transaction mode too: nothing is prepared on the server, and where the
    pooler hands on no settings of a session, each transaction makes them.
    """
    engine = sa.create_engine(
        url.set(drivername="postgresql+psycopg"),
        poolclass=RestingPool,
        pool_size=most,
        max_overflow=0,
        pool_timeout=_POOL_TIMEOUT_SECONDS,
        pool_use_lifo=True,
        connect_args={
            **_LIMITS,
            "application_name": name,
            "prepare_threshold": None,
            "options": _options(url),
        },
    )
    sa.event.listen(engine, "do_connect", _connect)
    sa.event.listen(engine, "connect", _look_at_settings)
    sa.event.listen(engine, "begin", _settle)
    return engine


def _options(url: sa.URL) -> str:
    given = url.query.get("options", "")
    ours = " ".join(f"-c {name}={value}" for name, value in _SESSION.items())
    return f"{given if isinstance(given, str) else ' '.join(given)} {ours}".strip()


def _connect(
    dialect: sa.Dialect, record: ConnectionPoolEntry, args: tuple[Any, ...], options: dict[str, Any]
) -> DBAPIConnection:
    """Connect with the settings of a session, or without them where a pooler refuses to hand them on."""
    try:
        return dialect.connect(*args, **options)
    except psycopg.OperationalError as exc:
        if "startup parameter" not in str(exc):
            raise
    return dialect.connect(*args, **{name: value for name, value in options.items() if name != "options"})


def _look_at_settings(connection: psycopg.Connection[Any], record: ConnectionPoolEntry) -> None:
    """Note whether the settings of the session have come through."""
    row = connection.execute("select current_setting('idle_in_transaction_session_timeout')").fetchone()
    connection.rollback()
    record.info[_IS_SETTLED] = row is not None and row[0] == "5s"


def _settle(connection: sa.Connection) -> None:
    if not connection.info.get(_IS_SETTLED, True):
        connection.execute(_ALL_SET)


class Busy:
    """The connections at work, to be cut off when the service closes and the server no longer answers."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._connections: weakref.WeakSet[psycopg.Connection[Any]] = weakref.WeakSet()

    def begin(self, connection: sa.Connection) -> None:
        """Note a connection at work."""
        driver = connection.connection.driver_connection
        if isinstance(driver, psycopg.Connection):
            with self._guard:
                self._connections.add(driver)

    def cut(self) -> None:
        """End what waits for an answer: the transaction is rolled back, as if the process had died."""
        with self._guard:
            connections = list(self._connections)
        for connection in connections:
            with contextlib.suppress(OSError, psycopg.Error):
                handle = socket.socket(fileno=_own_copy(connection))
                with handle:
                    handle.shutdown(socket.SHUT_RDWR)


def _own_copy(connection: psycopg.Connection[Any]) -> int:
    return os.dup(connection.fileno())
