"""What every window store promises: the one in memory, on SQLite and on PostgreSQL."""

from __future__ import annotations

import dataclasses
import datetime as dt

import pytest

from innkeeper.store.database import Database, upsert
from innkeeper.store.tables import windows
from innkeeper.store.window_store import SqlWindowStore
from innkeeper.updates.memory import MemoryWindowStore
from innkeeper.updates.ports import WindowStore
from innkeeper.updates.window import Window
from innkeeper.wire.states import Weekday

WINDOW = Window(
    name="Sunday night",
    zone="Europe/Madrid",
    start=dt.time(2, 30, 15),
    duration=dt.timedelta(hours=3, minutes=1, seconds=7),
    weekdays=frozenset({Weekday.SUNDAY, Weekday.MONDAY}),
    dates=frozenset({dt.date(2026, 1, 10)}),
    machines=("web-*", "db-1"),
    blackouts=frozenset({dt.date(2026, 12, 24)}),
)


@pytest.fixture
def store(place: Database | None) -> WindowStore:
    """Each store in turn."""
    return MemoryWindowStore() if place is None else SqlWindowStore(place)


async def test_a_window_is_read_as_it_was_put(store: WindowStore) -> None:
    """Every field; a plain one keeps its defaults."""
    plain = Window(name="Plain", zone="UTC", start=dt.time(1), duration=dt.timedelta(hours=1))
    await store.put(WINDOW)
    await store.put(plain)
    assert list(await store.list()) == [plain, WINDOW]


async def test_the_same_name_replaces(store: WindowStore) -> None:
    """There is one window a name."""
    await store.put(WINDOW)
    moved = dataclasses.replace(WINDOW, start=dt.time(4))
    await store.put(moved)
    assert list(await store.list()) == [moved]


async def test_one_that_is_there_is_not_added_again(store: WindowStore) -> None:
    """It stays as it is; after it was deleted, the name is free."""
    moved = dataclasses.replace(WINDOW, start=dt.time(4))
    assert await store.add(WINDOW)
    assert not await store.add(moved)
    assert list(await store.list()) == [WINDOW]
    await store.delete(WINDOW.name)
    assert await store.add(moved)


async def test_delete_says_whether_there_was_one(store: WindowStore) -> None:
    """The second time there is none."""
    await store.put(WINDOW)
    assert await store.delete("Sunday night")
    assert not await store.delete("Sunday night")
    assert list(await store.list()) == []


async def test_a_window_of_an_earlier_release_is_read(database: Database) -> None:
    """It was kept with the numbers of its days, counted from Monday, 0."""
    body = (
        '{"name":"nights","zone":"UTC","start":"22:00:00","duration":"PT6H","weekdays":[6,0],'
        '"dates":[],"machines":["all"],"blackouts":[]}'
    )
    await database.write(lambda c: upsert(c, windows, {"name": "nights", "body": body}))
    (found,) = await SqlWindowStore(database).list()
    assert found.weekdays == {Weekday.SUNDAY, Weekday.MONDAY}
