"""Rows that go to the driver directly are what SQLAlchemy would have written, and fail as its own do."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from innkeeper.errors import ServiceError
from innkeeper.store.database import Database
from innkeeper.store.rows import RowStatement
from innkeeper.store.tables import Instant, Words

metadata = sa.MetaData()
table = sa.Table(
    "things",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", Instant),
    sa.Column("words", Words, unique=True),
    sa.Column("flag", sa.Boolean),
    sa.Column("number", sa.BigInteger),
    sa.Column("kind", sa.Text, server_default="usual"),
)
INSERT = sa.insert(table).returning(table.c.id)
UPDATE = (
    sa.update(table)
    .where(table.c.id == sa.bindparam("of_id"), table.c.kind == "usual", table.c.flag.is_(None))
    .values(words=sa.bindparam("words"), number=table.c.number + 1)
)
BERLIN = dt.timezone(dt.timedelta(hours=2))
ROWS: list[dict[str, object]] = [
    {
        "at": dt.datetime(2026, 3, 29, 3, 30, 1, 7, tzinfo=BERLIN),
        "words": "a\0b",
        "flag": None,
        "number": 2**40,
    },
    {"at": None, "words": None, "flag": True, "number": None},
    {"at": dt.datetime(2026, 1, 1, tzinfo=dt.UTC), "words": "", "flag": False, "number": 0},
]


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sa.Connection]:
    engine = sa.create_engine(f"sqlite:///{tmp_path}/rows.sqlite")
    with engine.connect() as connection:
        metadata.create_all(connection)
        yield connection
    engine.dispose()


def kept(connection: sa.Connection) -> list[tuple[object, ...]]:
    """What the file has, as it has it."""
    return [tuple(row) for row in connection.exec_driver_sql("SELECT * FROM things ORDER BY id").all()]


def test_rows_are_kept_as_sqlalchemy_keeps_them(connection: sa.Connection) -> None:
    """Moments, text, flags, numbers, nothing, and what the table says by itself; each with its own number."""
    for row in ROWS:
        connection.execute(INSERT, row)
    wanted = kept(connection)
    connection.execute(sa.delete(table))
    written = RowStatement(INSERT, connection.dialect, tuple(ROWS[0]))
    assert written.write(connection, ROWS) == [1, 2, 3]
    assert kept(connection) == wanted


def test_what_the_statement_says_itself_holds(connection: sa.Connection) -> None:
    """Constants in it are its own; a row that it does not find is left alone."""
    RowStatement(INSERT, connection.dialect, tuple(ROWS[0])).write(connection, ROWS)
    update = RowStatement(UPDATE, connection.dialect, ("of_id", "words"))
    assert update.write(connection, [{"of_id": n, "words": f"new {n}"} for n in (1, 2, 9)]) == [None] * 3
    assert [row[2] for row in kept(connection)] == ["new 1", None, ""]
    assert kept(connection)[0][4] == 2**40 + 1


def test_errors_are_those_of_sqlalchemy(connection: sa.Connection) -> None:
    """A broken rule can be told from a broken database."""
    insert = RowStatement(INSERT, connection.dialect, tuple(ROWS[0]))
    insert.write(connection, ROWS[:1])
    with pytest.raises(sa.exc.IntegrityError):
        insert.write(connection, ROWS[:1])
    connection.execute(sa.text("DROP TABLE things"))
    with pytest.raises(sa.exc.DBAPIError):
        insert.write(connection, ROWS[:1])


async def test_a_broken_database_is_an_error_of_ours(tmp_path: Path) -> None:
    """Rows fail with the same words as any other write."""
    database = await Database.connect(sa.make_url(f"sqlite:///{tmp_path}/i.sqlite"))
    with pytest.raises(ServiceError, match="no such table"):
        await database.write_rows((INSERT, ROWS[0]))
    await database.close()
