"""What every store of people promises: the one in memory, on SQLite and on PostgreSQL."""

from __future__ import annotations

import dataclasses
import datetime as dt

from innkeeper.identity.account import Account
from innkeeper.identity.caller import Person
from innkeeper.identity.granted import Granted
from innkeeper.identity.memory import (
    MemoryAccountStore,
    MemoryGrantStore,
    MemorySessionStore,
    MemoryTokenStore,
)
from innkeeper.identity.realms import Known
from innkeeper.identity.roles import Grant, Reach, Role
from innkeeper.identity.session import Session
from innkeeper.identity.token import Token
from innkeeper.store.database import Database
from innkeeper.store.identity_store import SqlAccountStore, SqlGrantStore, SqlSessionStore, SqlTokenStore

NIGHT = dt.datetime(2026, 1, 10, 22, 0, tzinfo=dt.UTC)
LATER = NIGHT + dt.timedelta(hours=1)
ANA = Known(user="ana", groups=frozenset({"a", "b"}), version="v")


async def test_accounts_are_read_as_they_were_put(place: Database | None) -> None:
    """One a name; removed once."""
    store = MemoryAccountStore() if place is None else SqlAccountStore(place)
    bob = Account(name="bob", password_hash="$argon2id$…", created_at=NIGHT, changed_at=LATER)
    ana = dataclasses.replace(bob, name="ana", disabled=True)
    assert await store.add(bob)
    assert await store.add(ana)
    assert not await store.add(dataclasses.replace(bob, disabled=True))
    assert list(await store.list()) == [ana, bob]
    changed = dataclasses.replace(bob, password_hash="other")
    assert await store.replace(bob, changed)
    assert not await store.replace(bob, dataclasses.replace(bob, disabled=True))
    assert await store.get("bob") == changed
    assert await store.get("cyd") is None
    assert await store.delete("bob")
    assert not await store.delete("bob")


async def test_a_holder_has_one_role_on_one_thing(place: Database | None) -> None:
    """The later one; users and groups of one name are apart."""
    store = MemoryGrantStore() if place is None else SqlGrantStore(place)
    on_web = Grant(role=Role.VIEWER, reach=Reach.MACHINE, name="web-1")
    first = Granted(realm="LAB", name="ana", is_group=False, grant=on_web)
    await store.add(first)
    raised = dataclasses.replace(first, grant=dataclasses.replace(on_web, role=Role.OPERATOR))
    await store.add(raised)
    group = dataclasses.replace(first, is_group=True)
    inn = dataclasses.replace(first, grant=Grant(role=Role.VIEWER))
    await store.add(group)
    await store.add(inn)
    assert set(await store.list()) == {raised, group, inn}
    assert await store.remove(first)
    assert not await store.remove(first)
    assert set(await store.list()) == {group, inn}


async def test_tokens_are_found_by_id_and_end_once(place: Database | None) -> None:
    """Their scope, or that they have none, is kept."""
    store = MemoryTokenStore() if place is None else SqlTokenStore(place)
    wide = Token(
        id="1", name="n", digest="d", realm="LAB", known=ANA, scope=None, created_at=NIGHT, expires_at=None
    )
    scope = (Grant(role=Role.OPERATOR, reach=Reach.LABEL, name="x"), Grant(role=Role.VIEWER))
    narrow = dataclasses.replace(wide, id="2", scope=scope, created_at=LATER, expires_at=LATER)
    empty = dataclasses.replace(wide, id="3", scope=(), known=Known(user="bob"), created_at=LATER)
    for token in (wide, narrow, empty):
        await store.add(token)
    assert list(await store.list()) == [wide, narrow, empty]
    assert list(await store.list(Person(user="bob", realm="LAB"))) == [empty]
    await store.used("1", LATER)
    assert await store.get("1") == dataclasses.replace(wide, used_at=LATER)
    assert await store.revoke("2", LATER)
    assert not await store.revoke("2", NIGHT)
    assert (await store.get("2")) == dataclasses.replace(narrow, revoked_at=LATER)
    assert await store.get("4") is None


async def test_sessions_end_by_digest_by_owner_and_by_time(place: Database | None) -> None:
    """And are read as they were put."""
    store = MemorySessionStore() if place is None else SqlSessionStore(place)
    first = Session(
        digest="1",
        realm="LAB",
        known=ANA,
        address="192.0.2.1",
        created_at=NIGHT,
        seen_at=NIGHT,
        expires_at=LATER,
    )
    for digest in "12345":
        await store.add(dataclasses.replace(first, digest=digest))
    await store.seen("1", LATER)
    assert await store.get("1") == dataclasses.replace(first, seen_at=LATER)
    assert [each.digest for each in await store.list()] == list("12345")
    assert (await store.list(Person(user="ana", realm="LAB")))[0].seen_at == LATER
    assert await store.list(Person(user="ana", realm="other")) == []
    assert await store.delete("2")
    assert not await store.delete("2")
    assert await store.get("2") is None
    assert await store.purge(seen_before=LATER, now=NIGHT) == 3
    assert await store.purge(seen_before=NIGHT, now=LATER) == 1
    await store.add(first)
    assert await store.delete_of(Person(user="ana", realm="other")) == 0
    assert await store.delete_of(Person(user="ana", realm="LAB")) == 1
