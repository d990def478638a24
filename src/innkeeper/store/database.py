"""Run transactions on SQLite or PostgreSQL, off the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import fcntl
import logging
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Protocol, Self, TypeVar, cast

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy.dialects import postgresql, sqlite

from innkeeper.errors import ErrorCode, ServiceError
from innkeeper.servers.acting import acted_on
from innkeeper.store.commits import Commits
from innkeeper.store.former_servers import refuse_former_servers
from innkeeper.store.grouped import GroupedWrites, RowChange
from innkeeper.store.postgresql import OLDEST_VERSION, Busy, postgres_engine, shown
from innkeeper.store.probing import write_nothing_new
from innkeeper.store.sqlite import SameFile, Synchronous, prepare_file, sqlite_engine
from innkeeper.store.waiting import Waiting, is_refusal
from innkeeper.tasks import patience

_READERS: Final = 4
_POSTGRES_CONNECTIONS: Final = 8
#: How long what is under way may take to end when the service closes, before its connections are cut.
_CLOSE_SECONDS: Final = 5.0
#: Held while the tables are brought up to date, so that two servers do not do it at once.
#: A migration that finds a table in use lets go, and tries again: some ten minutes in all.
_MIGRATION_TRIES: Final = 200
_MIGRATION_PAUSE_SECONDS: Final = 1.0
#: PostgreSQL's name for a wait for a lock that took too long.
_LOCK_NOT_AVAILABLE: Final = "55P03"
_MIGRATION_LOCK: Final = 0x1_AA_CE_E9_E8

T = TypeVar("T")


class Guard(Protocol):
    """What stands before the writes for a host (``servers.acting.acting_on``)."""

    async def write(
        self,
        host_id: str,
        change: Callable[[sa.Connection], T],
        write: Callable[[Callable[[sa.Connection], T]], Awaitable[T]],
    ) -> T:
        """Write a change of a host as its owner."""


class Database:
    """A database and the threads that work on it.

    On SQLite all writes go through one thread: it admits one writer, and those who queue here do not poll
    for its lock; those who wait are committed together. On PostgreSQL reads and writes share one pool.

    A database that is away (stopped, failing over, its disk full, its file locked) is waited for by every
    call, and each write is made once, also where the answer to its commit was lost. Who has no time for
    that says so (``tasks.patience``), and gets ``StoreAway``.
    """

    def __init__(self, url: sa.URL, name: str = "") -> None:
        """``name`` is the server's, by which PostgreSQL shows its connections."""
        self.url = url
        #: Stands before what is written for a host; ``None`` where this server owns all.
        self.guard: Guard | None = None
        self._claims = contextlib.ExitStack()
        self._file: SameFile | None = None
        self._writes = Waiting(shown(url))
        self._reads = Waiting(shown(url), beside=self._writes)
        self._busy = Busy()
        if self.is_sqlite:
            path = Path(str(url.database))
            self._reading = sqlite_engine(path, connections=_READERS, synchronous=Synchronous.FULL)
            self._writing = sqlite_engine(path, connections=1, synchronous=Synchronous.FULL)
            self._lazily_writing = sqlite_engine(path, connections=1, synchronous=Synchronous.NORMAL)
            self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="innkeeper-read")
            self._writers = ThreadPoolExecutor(1, thread_name_prefix="innkeeper-write")
            self._grouped: GroupedWrites | None = GroupedWrites(
                thread=self._writers,
                durable=lambda: self._transaction(self._writing),
                lazy=lambda: self._transaction(self._lazily_writing),
                waiting=self._writes,
            )
        else:
            self._reading = self._writing = self._lazily_writing = postgres_engine(
                url, most=_POSTGRES_CONNECTIONS, name=f"innkeeper {name}".strip()
            )
            self._readers = self._writers = ThreadPoolExecutor(
                _POSTGRES_CONNECTIONS, thread_name_prefix="innkeeper-store"
            )
            self._grouped = None
        self._commits = Commits(lambda: self._transaction(self._writing), name or str(uuid.uuid4()))

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is a SQLite file, for one server."""
        return self.url.get_backend_name() == "sqlite"

    @property
    def directory(self) -> Path | None:
        """The folder of a SQLite file; ``None`` on PostgreSQL."""
        return Path(str(self.url.database)).parent if self.is_sqlite else None

    @property
    def trouble(self) -> str:
        """What is wrong with the database, in one sentence; empty while it answers."""
        return self._writes.trouble or self._reads.trouble

    @property
    def away_since(self) -> dt.datetime | None:
        """Since when the database is away; ``None`` while it answers."""
        return self._writes.since or self._reads.since

    @classmethod
    async def connect(cls, url: sa.URL, name: str = "") -> Self:
        """A database, off the event loop: even naming a file blocks."""
        return await asyncio.to_thread(cls, url, name)

    async def look(self) -> None:
        """Wait until the database answers. Raises ``ServiceError`` where it refuses us, or is too old."""
        if not self.is_sqlite:
            await self._reads.until_done(lambda: self._in(self._readers, self._look))

    async def probe(self) -> None:
        """Ask the database something, and whether it can be written to. Raises ``StoreAway``.

        A file that somebody holds is still read. Of a server a write is tried where writing failed last.
        """
        if self.is_sqlite:
            await self.write(write_nothing_new, lazily=True)
        elif self._writes.trouble:
            await self.write(_nothing)
        await self.read(_nothing)

    async def migrate(self) -> None:
        """Make the tables, or bring them up to date."""
        await self._writes.until_done(lambda: self._in(self._writers, self._migrate))

    async def read(self, query: Callable[[sa.Connection], T]) -> T:
        """What ``query`` finds, in one transaction that changes nothing. It may be asked again."""
        return await self._reads.until_done(
            lambda: self._in(self._readers, lambda: self._transact(self._reading, query))
        )

    def read_here(self, query: Callable[[sa.Connection], T]) -> T:
        """As ``read``, in the calling thread. Raises ``StoreAway`` at once where the database is away."""
        try:
            return self._transact(self._reading, query)
        except (sa.exc.DBAPIError, sa.exc.TimeoutError) as exc:
            raise self._reads.told(exc) from exc

    async def write(self, change: Callable[[sa.Connection], T], *, lazily: bool = False) -> T:
        """Do ``change`` in a transaction, which is on the disk when this returns.

        ``lazily``, a power cut may take it back (kill -9 never does): for what is cheap to lose and
        written often. It is made once, and may be called more often, after others that shared its
        transaction have failed or the database was away: it works on nothing but the connection.
        """
        if self.guard is not None and (host_id := acted_on()):
            return await self.guard.write(
                host_id, change, lambda guarded: self._write(guarded, lazily=lazily)
            )
        return await self._write(change, lazily=lazily)

    async def _write(self, change: Callable[[sa.Connection], T], *, lazily: bool) -> T:
        if (grouped := self._grouped) is not None:
            return cast(T, await self._writes.until_done(lambda: grouped.submit(change, lazily=lazily)))
        attempt = self._commits.once(change).attempt
        return await self._writes.until_done(lambda: self._in(self._writers, attempt))

    async def write_again(self, statement: sa.UpdateBase, row: Mapping[str, object]) -> object:
        """Execute one cheap statement that may be made twice, lazily; returns the value that it returns."""
        if self._grouped is not None:
            return await self.write(lambda connection: connection.scalar(statement, row), lazily=True)

        def execute() -> object:
            with self._writing.connect() as connection:
                alone = connection.execution_options(isolation_level="AUTOCOMMIT")
                return alone.scalar(statement, row)

        return await self._writes.until_done(lambda: self._in(self._writers, execute))

    async def write_alone(self, statement: sa.Executable, row: Mapping[str, object]) -> None:
        """Execute one statement as a transaction of its own, in a single message to the database.

        What it locks is free again when it is done, even where this process is stopped meanwhile. Where an
        answer was lost it is executed again: it must be one that then does nothing, or breaks a constraint.
        """

        def execute() -> None:
            with self._writing.connect() as connection:
                connection.execution_options(isolation_level="AUTOCOMMIT").execute(statement, row)

        await self._writes.until_done(lambda: self._in(self._writers, execute))

    def write_rows(self, *rows: RowChange, lazily: bool = False) -> Awaitable[object]:
        """As ``write``, for a row or some that go to statements made once, and under way when this returns.

        The cheapest write there is: those of many callers go to the database in one call a statement. What
        is awaited is the number that the last statement returned, where it returns one.
        """
        if self._grouped is not None:
            submitted = self._grouped.submit(rows=rows, lazily=lazily)
            if patience.limit_seconds() is None:
                return submitted
            return asyncio.ensure_future(self._writes.until_done(lambda: submitted))

        def change(connection: sa.Connection) -> object:
            results = [connection.execute(statement, row) for statement, row in rows]
            return results[-1].scalar() if results[-1].returns_rows else None

        return asyncio.ensure_future(self.write(change, lazily=lazily))

    async def claim(self) -> None:
        """Claim a SQLite file for this process; raises ``ServiceError`` where another has it.

        Two processes would carry the same runs, and work on one machine at once. On PostgreSQL a server's
        name is claimed by its row (``Servers.enrol``).
        """
        if self.is_sqlite:
            await self._writes.until_done(lambda: self._in(self._writers, self._claim))

    async def close(self) -> None:
        """End the threads, once they have done what they were given, or the database is away."""
        self._reads.close()
        self._writes.close()
        await asyncio.to_thread(self._close)

    async def _in(self, threads: ThreadPoolExecutor, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(threads, call)

    def _close(self) -> None:
        cutting = threading.Timer(_CLOSE_SECONDS, self._busy.cut)
        cutting.daemon = True
        cutting.start()
        self._writers.shutdown()
        self._readers.shutdown()
        cutting.cancel()
        self._claims.close()
        for engine in (self._reading, self._writing, self._lazily_writing):
            engine.dispose()

    def _make_directory(self) -> None:
        if self.is_sqlite:
            Path(str(self.url.database)).parent.mkdir(parents=True, exist_ok=True)

    def _transact(self, engine: sa.Engine, work: Callable[[sa.Connection], T]) -> T:
        with self._transaction(engine) as connection:
            return work(connection)

    @contextlib.contextmanager
    def _transaction(self, engine: sa.Engine) -> Iterator[sa.Connection]:
        if self._file is not None:
            self._file.check()
        with engine.begin() as connection:
            self._busy.begin(connection)
            yield connection

    def _look(self) -> None:
        try:
            with self._transaction(self._reading) as connection:
                version = int(connection.scalar(sa.text("show server_version_num")) or 0)
        except sa.exc.OperationalError as exc:
            if not is_refusal(exc):
                raise
            raise _refused(self.url, exc) from exc
        if version < OLDEST_VERSION:
            raise _too_old(self.url, version)

    def _claim(self) -> None:
        self._make_directory()
        path = Path(str(self.url.database))
        if not _lock_file(self._claims, path.with_name(f"{path.name}.lock")):
            raise ServiceError(
                f"Another Innkeeper serves on the database {path}.",
                code=ErrorCode.ERROR_ALREADY_EXISTS,
                advice="Stop it first, or give this one another state directory.",
            )
        prepare_file(path)
        self._file = SameFile(path)

    def _migrate(self) -> None:
        self._make_directory()
        # Alembic tells of every step at INFO; the service's log is for its users.
        logging.getLogger("alembic").setLevel(logging.WARNING)
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        for left in reversed(range(_MIGRATION_TRIES)):
            try:
                self._upgrade(config)
                return
            except sa.exc.OperationalError as error:
                # Somebody reads a table for long, as a dump does. To wait in line would hold up all servers.
                if not left or getattr(error.orig, "sqlstate", "") != _LOCK_NOT_AVAILABLE:
                    raise
            time.sleep(_MIGRATION_PAUSE_SECONDS)

    def _upgrade(self, config: Config) -> None:
        with self._writing.begin() as connection:
            if connection.dialect.name == "postgresql":
                # Another server may be at it, and take its time.
                connection.execute(sa.text("set local lock_timeout = 0"))
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
                connection.execute(sa.text("set local lock_timeout = '2s'"))
                refuse_former_servers(connection)
            else:
                # Python's sqlite3 begins a transaction before an INSERT, not before a CREATE: a kill in
                # the middle would leave half of the tables, and no note of them.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            config.attributes["connection"] = connection
            with _refusing_newer_tables():
                command.upgrade(config, "head")


def _nothing(connection: sa.Connection) -> None:
    connection.execute(sa.select(1))


def upsert(connection: sa.Connection, table: sa.Table, row: Mapping[str, object]) -> None:
    """Add the row, or replace the one with the same primary key."""
    upsert_where(connection, table, row, None)


def upsert_where(
    connection: sa.Connection,
    table: sa.Table,
    row: Mapping[str, object],
    condition: sa.ColumnElement[bool] | None,
) -> bool:
    """Add the row, or replace the one with its primary key where the condition holds; whether it stands."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    keys = list(table.primary_key.columns)
    others = {name: value for name, value in row.items() if name not in table.primary_key.columns}
    insert = dialect.insert(table).values(dict(row))
    upserting = insert.on_conflict_do_update(index_elements=keys, set_=others, where=condition)
    return connection.execute(upserting.returning(keys[0])).first() is not None


def add_if_free(connection: sa.Connection, table: sa.Table, row: Mapping[str, object]) -> bool:
    """Add the row where no other has its key; whether it was added."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    adding = dialect.insert(table).values(dict(row)).on_conflict_do_nothing()
    return connection.execute(adding.returning(next(iter(table.primary_key.columns)))).first() is not None


def _lock_file(claims: contextlib.ExitStack, path: Path) -> bool:
    try:
        file = claims.enter_context(path.open("w"))
    except OSError as error:
        raise ServiceError(
            f"The database cannot be claimed by {path}: {error.strerror}.",
            code=ErrorCode.ERROR_FILE_NOT_FOUND,
            advice="Name a file that the service's user may write, in a directory of its own.",
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _refusing_newer_tables() -> Iterator[None]:
    """Refuse a database whose tables a newer Innkeeper has made: they migrate forward only."""
    try:
        yield
    except CommandError as exc:
        raise ServiceError(
            "Innkeeper's database was made or migrated by a newer release than this one.",
            code=ErrorCode.ERROR_REVISION_MISMATCH,
            advice="Start the newer release, or put back the backup that was made before the upgrade.",
        ) from exc


def _refused(url: sa.URL, error: sa.exc.OperationalError) -> ServiceError:
    said = str(error.orig).strip().splitlines()[0]
    return ServiceError(
        f"The database {shown(url)} refuses Innkeeper: {said.rstrip('.')}.",
        code=ErrorCode.E_ACCESSDENIED,
        advice="See user, password and name in the setting “database”, and the server's pg_hba.conf.",
    )


def _too_old(url: sa.URL, version: int) -> ServiceError:
    return ServiceError(
        f"The database {shown(url)} runs on PostgreSQL {version // 10_000}; "
        f"Innkeeper needs {OLDEST_VERSION // 10_000} or newer.",
        code=ErrorCode.ERROR_REVISION_MISMATCH,
        advice="Upgrade PostgreSQL, or name another database in the setting “database”.",
    )
