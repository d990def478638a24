"""Writes that wait for one another are committed together, and none pays for another's failure."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from innkeeper.store.database import Database

metadata = sa.MetaData()
notes = sa.Table(
    "notes", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("text", sa.Text, unique=True)
)
INSERT = sa.insert(notes).returning(notes.c.id, sort_by_parameter_order=True)
UPDATE = sa.update(notes).where(notes.c.id == sa.bindparam("of_id")).values(text=sa.bindparam("text"))


@pytest.fixture
async def database(database_url: sa.URL) -> AsyncIterator[Database]:
    database = await Database.connect(database_url)
    await database.migrate()
    await database.write(lambda c: notes.create(c))
    yield database
    await database.close()


async def texts(database: Database) -> list[str]:
    return list(await database.read(lambda c: c.scalars(sa.select(notes.c.text).order_by(notes.c.id)).all()))


async def test_each_of_many_gets_the_number_of_its_own_row(database: Database) -> None:
    """Rows of many callers go in one call; whoever asked learns which one is theirs."""
    numbers = await asyncio.gather(*(database.write_rows((INSERT, {"text": f"t{n}"})) for n in range(300)))
    rows = await database.read(lambda c: dict(c.execute(sa.select(notes.c.id, notes.c.text)).all()))
    assert [rows[number] for number in numbers] == [f"t{n}" for n in range(300)]


async def test_one_that_fails_fails_alone(database: Database) -> None:
    """Its neighbours in the group are written, each once, and it learns why it was not."""
    await database.write_rows((INSERT, {"text": "taken"}))
    wanted = ["a", "taken", "b", "c"]
    outcomes = await asyncio.gather(
        *(database.write_rows((INSERT, {"text": text})) for text in wanted),
        database.write(lambda c: c.execute(sa.insert(notes).values(text="d")).rowcount),
        return_exceptions=True,
    )
    assert [isinstance(each, sa.exc.IntegrityError) for each in outcomes] == [
        False,
        True,
        False,
        False,
        False,
    ]
    assert sorted(await texts(database)) == ["a", "b", "c", "d", "taken"]


async def test_a_change_of_several_rows_is_whole_or_not_at_all(database: Database) -> None:
    """The second row of a change is refused: the first is not there either."""
    number = await database.write_rows((INSERT, {"text": "taken"}))
    with pytest.raises(sa.exc.IntegrityError):
        await database.write_rows(
            (UPDATE, {"of_id": number, "text": "changed"}), (INSERT, {"text": "changed"})
        )
    assert await texts(database) == ["taken"]


async def test_what_returned_comes_before_what_is_asked_for_next(database: Database) -> None:
    """Under way when asked for: an update that follows its awaited insert always finds it."""

    async def one(number: int) -> None:
        made = await database.write_rows((INSERT, {"text": f"new {number}"}), lazily=bool(number % 2))
        await database.write_rows((UPDATE, {"of_id": made, "text": f"old {number}"}), lazily=True)

    await asyncio.gather(*(one(number) for number in range(100)))
    assert sorted(await texts(database)) == sorted(f"old {number}" for number in range(100))


async def test_those_who_wait_share_one_commit(tmp_path: Path) -> None:
    """A hundred writes that come while one is being made take one transaction more, not a hundred."""
    database = await Database.connect(sa.make_url(f"sqlite:///{tmp_path}/i.sqlite"))
    await database.write(lambda c: notes.create(c))
    commits: list[object] = []
    sa.event.listen(database._writing, "commit", commits.append)
    busy = threading.Event()
    first = asyncio.ensure_future(database.write(lambda c: busy.wait(10)))
    others = [database.write_rows((INSERT, {"text": f"t{n}"})) for n in range(100)]
    await asyncio.sleep(0)
    busy.set()
    await asyncio.gather(first, *others)
    assert len(commits) <= 2
    await database.close()


async def test_a_cancelled_caller_harms_nobody(database: Database) -> None:
    """What it asked for may be done; those beside it get theirs."""
    going = asyncio.ensure_future(database.write(lambda c: c.execute(INSERT, {"text": "gone"}).scalar()))
    beside = asyncio.ensure_future(database.write(lambda c: c.execute(INSERT, {"text": "here"}).scalar()))
    await asyncio.sleep(0)
    going.cancel()
    await beside
    assert "here" in await texts(database)
