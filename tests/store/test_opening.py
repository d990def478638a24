"""Opening all that is kept."""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext

from innkeeper.errors import ErrorCode, InvalidArgument, ServiceError
from innkeeper.store.database import Database
from innkeeper.store.opening import open_store
from innkeeper.store.servers import Servers
from innkeeper.store.tables import metadata

NIGHT = dt.datetime(2026, 1, 10, 22, 0, tzinfo=dt.UTC)


async def test_the_migrations_make_the_tables_that_the_code_uses(database: Database) -> None:
    """No column, index or constraint is in one and not in the other."""

    def differences(connection: sa.Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    assert await database.read(differences) == []


async def test_a_database_is_migrated_once(database: Database) -> None:
    """The second time there is nothing to do, and nothing is lost."""
    server = await Servers(database).enrol("one")
    await database.migrate()
    assert [each.id for each in await Servers(database).list()] == [server.id]


async def test_tables_of_a_newer_release_are_refused(database: Database) -> None:
    """With what to do, and they are left as they are."""
    await database.write(lambda c: c.execute(sa.text("UPDATE alembic_version SET version_num = '9999'")))
    with pytest.raises(ServiceError, match="newer release") as refused:
        await database.migrate()
    assert refused.value.code is ErrorCode.ERROR_REVISION_MISMATCH
    assert "backup" in refused.value.advice
    assert (
        await database.read(lambda c: c.scalar(sa.text("SELECT version_num FROM alembic_version"))) == "9999"
    )


async def test_a_migration_that_is_cut_off_leaves_nothing(
    database_url: sa.URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All tables, or none: the next start begins as if there had been no first."""
    database = await Database.connect(database_url)
    upgrade = command.upgrade

    def cut_off(config: Config, revision: str) -> None:
        upgrade(config, revision)
        raise RuntimeError("cut off")

    monkeypatch.setattr(command, "upgrade", cut_off)
    with pytest.raises(RuntimeError, match="cut off"):
        await database.migrate()
    assert await database.read(lambda c: sa.inspect(c).get_table_names()) == []
    monkeypatch.undo()
    await database.migrate()
    assert "tasks" in await database.read(lambda c: sa.inspect(c).get_table_names())
    await database.close()


async def test_a_second_process_under_one_name_is_refused(database_url: sa.URL) -> None:
    """Until the first has closed; two would work on one machine at once."""
    address = database_url.render_as_string(hide_password=False)
    first = await open_store(address, server="one")
    with pytest.raises(ServiceError, match="Another Innkeeper"):
        await open_store(address, server="one")
    await first.close()
    again = await open_store(address, server="one")
    await again.close()


async def test_a_computer_that_is_renamed_finds_its_runs(tmp_path: Path) -> None:
    """A file has one server, whatever the computer is called."""
    address = f"sqlite:///{tmp_path}/state/innkeeper.sqlite"
    ids = []
    for name in ("old-name", "new-name"):
        store = await open_store(address, server=name)
        ids.append(store.server.id)
        assert store.server.name == name
        await store.close()
    assert ids[0] == ids[1]


async def test_a_database_that_cannot_be_opened_is_a_sentence(tmp_path: Path) -> None:
    """Not a traceback of the database's driver."""
    (tmp_path / "innkeeper.sqlite").write_bytes(b"this is not a database, it is a text file" * 100)
    with pytest.raises(ServiceError, match="is damaged: file is not a database") as refusal:
        await open_store(f"sqlite:///{tmp_path}/innkeeper.sqlite", server="one")
    assert refusal.value.advice


@pytest.mark.parametrize("name", ["innkeeper.sqlite", "innkeeper-runs.sqlite"])
@pytest.mark.parametrize("damage", ["head", "middle"])
async def test_a_damaged_database_is_told_at_the_start(tmp_path: Path, name: str, damage: str) -> None:
    """With its path and what to do, whichever of the two files it is; and it is left as it is."""
    store = await open_store(f"sqlite:///{tmp_path}/innkeeper.sqlite", server="one")
    await store.engine.launch()
    await store.engine.close()
    await store.close()
    file = tmp_path / name
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    whole = bytearray(file.read_bytes())
    start = 0 if damage == "head" else len(whole) // 3
    whole[start : start + 8192] = b"\xff" * 8192
    file.write_bytes(whole)
    with pytest.raises(ServiceError, match=rf"{name} is damaged") as refused:
        await _open_and_launch(tmp_path)
    assert refused.value.code is ErrorCode.SCHED_E_ACCOUNT_DBASE_CORRUPT
    assert file.read_bytes() == whole


async def _open_and_launch(directory: Path) -> None:
    store = await open_store(f"sqlite:///{directory}/innkeeper.sqlite", server="one")
    try:
        await store.engine.launch()
    finally:
        await store.close()


async def test_a_database_is_for_its_owners_eyes(tmp_path: Path) -> None:
    """Whatever the directory's mode and the umask: hashes of passwords are in it."""
    tmp_path.chmod(0o755)
    (tmp_path / "innkeeper.sqlite").touch(0o644)
    store = await open_store(f"sqlite:///{tmp_path}/innkeeper.sqlite", server="one")
    await store.engine.launch()
    modes = {
        each.name: each.stat().st_mode & 0o777
        for each in tmp_path.glob("*.sqlite*")
        if "lock" not in each.name
    }
    await store.engine.close()
    await store.close()
    assert {"innkeeper.sqlite", "innkeeper.sqlite-wal", "innkeeper-runs.sqlite"} <= modes.keys()
    assert set(modes.values()) == {0o600}


async def test_a_database_that_was_deleted_takes_no_more_changes(tmp_path: Path) -> None:
    """They would be lost without a word."""
    database = await Database.connect(sa.make_url(f"sqlite:///{tmp_path}/innkeeper.sqlite"))
    await database.claim()
    await database.migrate()
    (tmp_path / "innkeeper.sqlite").rename(tmp_path / "aside")
    with pytest.raises(ServiceError, match="deleted or exchanged") as refused:
        await database.read(lambda c: c.scalar(sa.text("SELECT 1")))
    assert refused.value.code is ErrorCode.ERROR_FILE_NOT_FOUND
    (tmp_path / "aside").rename(tmp_path / "innkeeper.sqlite")
    assert await database.read(lambda c: c.scalar(sa.text("SELECT 1"))) == 1
    await database.close()


@pytest.mark.parametrize("url", [":::", "mysql://a:secret@b/c", "postgresql://a:secret@[::1/x", "", "sqlite"])
async def test_the_url_of_another_database_is_refused_without_its_password(url: str) -> None:
    """By the name of the setting."""
    with pytest.raises(InvalidArgument, match="database") as refused:
        await open_store(url, server="one")
    assert "secret" not in str(refused.value) + refused.value.advice


async def test_events_of_others_are_heard_from_postgresql_alone(tmp_path: Path) -> None:
    """Another database tells none."""
    with pytest.raises(InvalidArgument, match="database_events"):
        await open_store(
            f"sqlite:///{tmp_path}/a.sqlite", server="one", events=f"sqlite:///{tmp_path}/b.sqlite"
        )


async def test_a_table_that_is_read_for_long_holds_up_no_other_server(database: Database) -> None:
    """The migration lets go between its tries, so that what others ask meanwhile is answered, and ends."""
    if database.url.get_backend_name() != "postgresql":
        pytest.skip("SQLite's readers hold up nobody")
    for undone in (
        "ALTER TABLE scheduled_tasks DROP COLUMN machines, DROP COLUMN machines_of",
        "UPDATE alembic_version SET version_num = '0021'",
    ):
        await database.write(functools.partial(sa.Connection.execute, statement=sa.text(undone)))
    reader = sa.create_engine(database.url)
    with reader.connect() as dump:
        dump.execute(sa.text("LOCK TABLE scheduled_tasks IN ACCESS SHARE MODE"))
        migrating = asyncio.create_task(database.migrate())
        await asyncio.sleep(4)
        async with asyncio.timeout(30):
            await database.read(lambda c: c.scalar(sa.text("SELECT count(*) FROM scheduled_tasks")))
        assert not migrating.done()
    async with asyncio.timeout(60):
        await migrating
    reader.dispose()
    assert (
        await database.read(lambda c: c.scalar(sa.text("SELECT max(machines) FROM scheduled_tasks"))) is None
    )
