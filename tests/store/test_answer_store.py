"""What the store of kept answers promises, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import datetime as dt

from innkeeper.store.answer_store import SqlAnswerStore, StoredAnswer
from innkeeper.store.database import Database

NOW = dt.datetime(2026, 11, 25, 2, tzinfo=dt.UTC)


async def claim(store: SqlAnswerStore, key: str = "key", now: dt.datetime = NOW) -> StoredAnswer | None:
    """Take a key as the service would."""
    return await store.claim(key, fingerprint="what", now=now, forget_before=now - dt.timedelta(days=1))


async def test_of_many_claims_one_is_first(database: Database) -> None:
    """All others see it, without an answer yet."""
    store = SqlAnswerStore(database)
    found = await asyncio.gather(*(claim(store) for _ in range(10)))
    assert found.count(None) == 1
    empty = StoredAnswer(fingerprint="what", status=None, media_type="", body=None)
    assert {answer for answer in found if answer} == {empty}


async def test_an_answer_is_read_as_it_was_kept(database: Database) -> None:
    """Bytes are bytes; one that may not be kept has none."""
    store = SqlAnswerStore(database)
    await claim(store)
    await store.keep("key", status=201, media_type="application/json", body=b"\x00{}")
    kept = await claim(store)
    assert kept is not None
    assert (kept.status, kept.media_type, kept.body) == (201, "application/json", b"\x00{}")
    await claim(store, key="other")
    await store.keep("other", status=201, media_type="", body=None)
    assert (secret := await claim(store, key="other")) is not None
    assert secret.body is None


async def test_a_key_is_free_again_when_given_back_or_old(database: Database) -> None:
    """Given back at once, else after its time."""
    store = SqlAnswerStore(database)
    await claim(store)
    await store.release("key")
    assert await claim(store) is None
    assert await claim(store, now=NOW + dt.timedelta(hours=23)) is not None
    assert await claim(store, now=NOW + dt.timedelta(hours=25)) is None
