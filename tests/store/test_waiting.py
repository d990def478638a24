"""A database that is away is waited for; nothing is lost, and nothing is made twice."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from innkeeper.errors import ErrorCode, ServiceError, StoreAway
from innkeeper.store.database import Database
from innkeeper.store.opening import open_store
from innkeeper.store.waiting import is_refusal, passes
from innkeeper.tasks import patience
from tests.store.clusters import Cluster
from tests.store.cut_wire import CutWire

metadata = sa.MetaData()
#: Without a key of its own: a row that is written twice is there twice.
notes = sa.Table("notes", metadata, sa.Column("text", sa.Text))


@contextlib.asynccontextmanager
async def opened(url: sa.URL) -> AsyncIterator[Database]:
    """A database with the table of notes."""
    database = await Database.connect(url)
    await database.migrate()
    await database.write(lambda c: metadata.create_all(c))
    try:
        yield database
    finally:
        await database.close()


@contextlib.asynccontextmanager
async def through_a_wire(url: sa.URL) -> AsyncIterator[tuple[CutWire, Database]]:
    """A database behind a wire that can be cut."""
    async with (
        CutWire(str(url.query["host"])) as wire,
        opened(url.set(query={"host": wire.directory})) as database,
    ):
        yield wire, database


async def note(database: Database, text: str) -> None:
    """Write one row."""
    await database.write(lambda c: c.execute(sa.insert(notes).values(text=text)).rowcount)


async def texts(database: Database) -> list[str]:
    """All rows, in the order of their letters."""
    return sorted(await database.read(lambda c: c.scalars(sa.select(notes.c.text)).all()))


async def write_much(database: Database, count: int) -> list[str]:
    """Write rows, some at a time; returns what must be there."""
    wanted = [f"{number:04}" for number in range(count)]
    left = iter(wanted)

    async def write() -> None:
        for text in left:
            await note(database, text)

    await asyncio.gather(*(write() for _ in range(6)))
    return wanted


async def begun(database: Database) -> None:
    """Wait until something has been written."""
    while not await texts(database):
        await asyncio.sleep(0.01)


def of_postgresql(state: str) -> sa.exc.DBAPIError:
    """The error that PostgreSQL gives by this SQLSTATE."""
    return sa.exc.DBAPIError("select", None, psycopg.errors.lookup(state)("no"))


def of_sqlite(code: int) -> sa.exc.DBAPIError:
    """The error that SQLite gives by this code."""
    error = sqlite3.OperationalError("no")
    error.sqlite_errorcode = code
    return sa.exc.OperationalError("select", None, error)


@pytest.mark.parametrize(
    "state",
    ["08006", "57P01", "57P02", "57P03", "53300", "53100", "40001", "40P01", "55P03", "25P03", "25006"],
)
def test_waiting_cures_what_postgresql_says_of_its_state(state: str) -> None:
    """Lost, stopping, starting, full, contended, read only while it fails over."""
    assert passes(of_postgresql(state))


@pytest.mark.parametrize("state", ["42601", "42P01", "42501", "22001", "22P02", "0A000"])
def test_waiting_cures_no_wrong_statement(state: str) -> None:
    """What is wrong with the statement or its values stays so."""
    assert not passes(of_postgresql(state))


def test_waiting_cures_no_broken_constraint() -> None:
    """It is for the caller, who set it off."""
    assert not passes(sa.exc.IntegrityError("insert", None, psycopg.errors.UniqueViolation("no")))


@pytest.mark.parametrize(
    ("code", "cured"),
    [
        (sqlite3.SQLITE_BUSY, True),
        (sqlite3.SQLITE_BUSY | 2 << 8, True),
        (sqlite3.SQLITE_FULL, True),
        (sqlite3.SQLITE_IOERR | 3 << 8, True),
        (sqlite3.SQLITE_CORRUPT, False),
        (sqlite3.SQLITE_ERROR, False),
        (sqlite3.SQLITE_NOTADB, False),
    ],
)
def test_waiting_cures_what_sqlite_says_of_its_disk(code: int, cured: bool) -> None:
    """A lock that is held and a disk that is full, and no damaged file."""
    assert passes(of_sqlite(code)) is cured


@pytest.mark.parametrize(
    "said",
    [
        'FATAL:  password authentication failed for user "innkeeper"',
        'FATAL:  database "none" does not exist',
        'FATAL:  role "nobody" does not exist',
        'FATAL:  no pg_hba.conf entry for host "192.0.2.1", user "a", database "b", no encryption',
        "fe_sendauth: no password supplied",
    ],
)
def test_a_server_that_does_not_let_us_in_is_told_from_one_that_is_away(said: str) -> None:
    """At the start, nobody waits for a password to come right."""
    assert is_refusal(sa.exc.OperationalError("connect", None, psycopg.OperationalError(said)))
    gone = "connection failed: No such file or directory"
    assert not is_refusal(sa.exc.OperationalError("connect", None, psycopg.OperationalError(gone)))


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_writes_outlive_a_restart_of_postgresql(
    own_cluster: Cluster, own_database: sa.URL, mode: str
) -> None:
    """Each row is there once, whenever in its making the server stopped; reads wait too."""
    async with opened(own_database) as database:
        writing = asyncio.create_task(write_much(database, 200))
        await begun(database)
        await asyncio.to_thread(own_cluster.stop, mode)
        reading = asyncio.create_task(texts(database))
        while not database.trouble:
            await asyncio.sleep(0.01)
        assert "does not answer since" in database.trouble
        await asyncio.to_thread(own_cluster.start)
        await reading
        wanted = await writing
        assert await texts(database) == wanted
        assert database.trouble == ""


async def test_writes_outlive_the_end_of_every_session(own_cluster: Cluster, own_database: sa.URL) -> None:
    """An administrator ends all sessions again and again; each row is there once."""
    killer = sa.create_engine(own_cluster.url, isolation_level="AUTOCOMMIT")
    kill = sa.text("select pg_terminate_backend(pid) from pg_stat_activity where application_name ~ '^innk'")
    async with opened(own_database) as database:
        writing = asyncio.create_task(write_much(database, 200))
        for _ in range(5):
            await asyncio.sleep(0.05)
            with killer.connect() as connection:
                connection.execute(kill)
        wanted = await writing
        assert await texts(database) == wanted
    killer.dispose()


async def test_a_commit_whose_answer_was_lost_is_not_made_again(own_database: sa.URL) -> None:
    """The commit reaches PostgreSQL and the wire is cut: the row is there, once."""
    async with through_a_wire(own_database) as (wire, database):
        await note(database, "before")
        wire.cut_after_next_commit()
        await note(database, "in doubt")
        assert wire.has_cut
        await note(database, "after")
        assert await texts(database) == ["after", "before", "in doubt"]


async def test_a_commit_that_never_arrived_is_made(own_database: sa.URL) -> None:
    """The wire is cut before the commit reaches PostgreSQL: the row is written again, once."""
    async with through_a_wire(own_database) as (wire, database):
        await note(database, "before")
        wire.cut_before_next_commit()
        await note(database, "in doubt")
        assert wire.has_cut
        assert await texts(database) == ["before", "in doubt"]


async def test_who_has_no_time_is_told_of_a_silent_postgresql(
    own_cluster: Cluster, own_database: sa.URL
) -> None:
    """PostgreSQL stands still: a request gets a sentence, work waits, and both go on with it."""
    async with opened(own_database) as database:
        with own_cluster.paused():
            working = asyncio.create_task(note(database, "work"))
            with patience.bounded(0.2), pytest.raises(StoreAway, match="does not answer") as told:
                await texts(database)
            assert told.value.code is ErrorCode.SCHED_E_SERVICE_NOT_AVAILABLE
            assert told.value.retry_after > 0
            assert not working.done()
        await working
        assert await texts(database) == ["work"]


async def test_work_that_a_request_sets_off_does_not_take_over_its_haste(
    own_cluster: Cluster, own_database: sa.URL
) -> None:
    """What is begun within ``endless`` waits as long as it takes."""
    async with opened(own_database) as database:
        with own_cluster.paused(), patience.bounded(0.1):
            with patience.endless():
                working = asyncio.create_task(note(database, "work"))
            with pytest.raises(StoreAway):
                await note(database, "request")
        await working
        assert "work" in await texts(database)


async def test_a_service_can_end_while_postgresql_is_away(own_cluster: Cluster, own_database: sa.URL) -> None:
    """Whoever waits is told, and nobody keeps the process from its end."""
    database = await Database.connect(own_database)
    await database.migrate()
    own_cluster.stop("immediate")
    try:
        waiting = asyncio.create_task(note(database, "late"))
        while not database.trouble:
            await asyncio.sleep(0.01)
        await database.close()
        with pytest.raises(StoreAway):
            await waiting
    finally:
        own_cluster.start()


async def test_a_silent_postgresql_does_not_keep_a_service_from_its_end(
    own_cluster: Cluster, own_database: sa.URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that waits for an answer is cut off."""
    monkeypatch.setattr("innkeeper.store.database._CLOSE_SECONDS", 0.2)
    database = await Database.connect(own_database)
    await database.migrate()
    await database.write(lambda c: metadata.create_all(c))
    with own_cluster.paused():
        waiting = asyncio.create_task(note(database, "late"))
        await asyncio.sleep(0.1)
        await database.close()
        with pytest.raises(StoreAway):
            await waiting


async def test_a_service_waits_for_its_database_at_the_start(
    own_cluster: Cluster, own_database: sa.URL
) -> None:
    """It goes on when the database comes."""
    own_cluster.stop("fast")
    opening = asyncio.create_task(open_store(own_database.render_as_string(hide_password=False), server="a"))
    try:
        await asyncio.sleep(0.3)
        assert not opening.done()
    finally:
        await asyncio.to_thread(own_cluster.start)
    await (await opening).close()


async def test_a_database_that_is_not_there_is_a_sentence(own_database: sa.URL) -> None:
    """The server answers, and refuses: the service says so and ends."""
    url = own_database.set(database="none").render_as_string(hide_password=False)
    with pytest.raises(ServiceError, match='database "none" does not exist') as refused:
        await open_store(url, server="a")
    assert refused.value.code is ErrorCode.E_ACCESSDENIED


async def test_a_postgresql_that_is_too_old_is_a_sentence(
    own_database: sa.URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Innkeeper names the release it needs."""
    monkeypatch.setattr("innkeeper.store.database.OLDEST_VERSION", 990_000)
    with pytest.raises(ServiceError, match="needs 99 or newer"):
        await open_store(own_database.render_as_string(hide_password=False), server="a")


async def test_writes_outlive_a_full_disk(tmp_path: Path) -> None:
    """SQLite has no room: work waits, reads go on, requests are told, and nothing is written twice."""
    async with opened(sa.make_url(f"sqlite:///{tmp_path}/full.sqlite")) as database:
        await note(database, "before")
        await database.write(lambda c: c.exec_driver_sql("PRAGMA max_page_count = 1"))
        working = [asyncio.create_task(note(database, f"{n}" * 9000)) for n in range(3)]
        while not database.trouble:
            await asyncio.sleep(0.01)
        assert "full" in database.trouble
        assert await texts(database) == ["before"]
        with patience.bounded(0.2), pytest.raises(StoreAway):
            await note(database, "request" * 2000)
        assert database.trouble
        sync = database._writing  # its one connection is where the limit stands
        with contextlib.suppress(sa.exc.TimeoutError):
            await asyncio.to_thread(_lift_limit, sync)
        await asyncio.gather(*working)
        assert [text[0] for text in await texts(database)] == ["0", "1", "2", "b"]
        assert database.trouble == ""


def _lift_limit(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 100000")


async def test_writes_outlive_a_lock_on_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody holds the file for longer than SQLite waits by itself."""
    monkeypatch.setattr("innkeeper.store.sqlite._BUSY_TIMEOUT_MS", 50)
    path = tmp_path / "held.sqlite"
    async with opened(sa.make_url(f"sqlite:///{path}")) as database:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            working = asyncio.gather(*(note(database, f"{n}") for n in range(3)))
            with patience.bounded(0.3), pytest.raises(StoreAway):
                await note(database, "request")
            assert not working.done()
            holder.execute("ROLLBACK")
        await working
        assert await texts(database) == ["0", "1", "2"]
