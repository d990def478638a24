"""The store works through PgBouncer in transaction mode, whatever it hands on of a session."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import sqlalchemy as sa

from innkeeper.store.database import Database
from innkeeper.store.opening import open_store
from innkeeper.store.outbox import SqlOutbox
from innkeeper.tasks.ports import Steps
from innkeeper.wire.events import Event, EventKind, Json
from tests.store.clusters import unprivileged

_EVENT = Event(kind=EventKind.TASK_ENDED, subject="7", at=dt.datetime(2026, 11, 21, 22, tzinfo=dt.UTC))
_CONFIG = """
[databases]
* = host={server}
[pgbouncer]
listen_addr =
listen_port = 6432
unix_socket_dir = {folder}
auth_type = trust
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = {size}
logfile = {folder}/log
pidfile = {folder}/pid
{more}
"""
_SETTINGS = sa.text(
    "select current_setting('idle_in_transaction_session_timeout') || ' ' || current_setting('lock_timeout')"
)


@contextlib.contextmanager
def bouncer(server: str, *, size: int, more: str = "") -> Iterator[str]:
    """A PgBouncer before the server; gives the directory of its socket."""
    program = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        pytest.skip("PgBouncer is not installed")
    folder = Path(tempfile.mkdtemp(prefix="innkeeper-bouncer-"))
    folder.chmod(0o777)
    (folder / "users").write_text('"innkeeper" ""\n')
    (folder / "ini").write_text(_CONFIG.format(server=server, folder=folder, size=size, more=more))
    process = subprocess.Popen(
        [*unprivileged(), program, "-q", str(folder / "ini")], stderr=subprocess.DEVNULL
    )
    try:
        while not (folder / ".s.PGSQL.6432").exists():
            assert process.poll() is None, (folder / "log").read_text()
        yield str(folder)
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


def through(url: sa.URL, folder: str) -> sa.URL:
    """The address of a database behind the bouncer."""
    return url.set(query={"host": folder, "port": "6432"})


@pytest.mark.parametrize("more", ["", "ignore_startup_parameters = options"])
async def test_each_transaction_has_its_limits_behind_a_pooler(postgres_database: sa.URL, more: str) -> None:
    """Whether it refuses the settings of a session or drops them; many wait for few connections."""
    with bouncer(str(postgres_database.query["host"]), size=2, more=more) as folder:
        database = await Database.connect(through(postgres_database, folder))
        try:
            await database.migrate()
            found = await asyncio.gather(
                *(database.read(lambda c: c.scalar(_SETTINGS)) for _ in range(20)),
                *(database.write(lambda c: c.scalar(_SETTINGS)) for _ in range(20)),
            )
            assert set(found) == {"5s 5s"}
        finally:
            await database.close()


async def test_runs_are_carried_behind_a_pooler(postgres_database: sa.URL) -> None:
    """The store opens, and a durable run takes its steps."""
    with bouncer(str(postgres_database.query["host"]), size=4) as folder:
        url = through(postgres_database, folder).set(drivername="postgresql")
        store = await open_store(url.render_as_string(hide_password=False), server="attic")
        ended = asyncio.Event()

        async def body(key: str, argument: Mapping[str, Json], steps: Steps) -> Json:
            async def step() -> Json:
                return argument["number"]

            found = [await steps.run(f"step {number}", step) for number in range(3)]
            ended.set()
            return found

        store.engine.register("run", body)
        await store.engine.launch()
        try:
            await store.engine.start("key", "run", {"number": 7})
            await ended.wait()
        finally:
            await store.engine.close()
            await store.close()


async def test_events_are_heard_at_once_by_an_address_without_a_pooler(postgres_database: sa.URL) -> None:
    """Nobody can listen behind it: there events come with the next look, which is not waited for here."""
    with bouncer(str(postgres_database.query["host"]), size=4) as folder:
        database = await Database.connect(through(postgres_database, folder))
        try:
            await database.migrate()
            outbox = SqlOutbox(database, postgres_database)
            async with outbox.following() as following, asyncio.timeout(60):
                told = asyncio.create_task(following.told(3600))
                await outbox.append("attic", [(1, _EVENT)])
                await told
                assert [each.event for each in await following.after(0, 10)] == [_EVENT]
        finally:
            await database.close()


async def test_a_server_rests_on_one_connection(
    postgres_database: sa.URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It opens more for much work, and closes those that lie idle as it goes on."""
    count = sa.text(
        "select count(*) from pg_stat_activity where datname = current_database()"
        " and application_name = 'innkeeper attic'"
    )
    wait = sa.text("select pg_sleep(0.2)")
    database = await Database.connect(postgres_database, "attic")
    try:
        await asyncio.gather(*(database.read(lambda c: c.execute(wait).all()) for _ in range(6)))
        assert await database.read(lambda c: c.scalar(count)) == 6
        monkeypatch.setattr("innkeeper.store.postgresql._IDLE_SECONDS", 0.0)
        await database.read(lambda c: c.execute(wait).all())
        while await database.read(lambda c: c.scalar(count)) != 1:
            pass
    finally:
        await database.close()
