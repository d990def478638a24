"""Servers in the database: names, starts and states."""

from __future__ import annotations

import datetime as dt

import pytest
import sqlalchemy as sa

from innkeeper.errors import ErrorCode, ServiceError
from innkeeper.machines.directory import HostEntry
from innkeeper.servers.fence import HostElsewhere
from innkeeper.servers.lease import Reach
from innkeeper.servers.server import Server, ServerState
from innkeeper.store.database import Database
from innkeeper.store.directory import SqlDirectory
from innkeeper.store.leases import Leases
from innkeeper.store.servers import Servers
from tests.store.test_directory import entry

SOON = dt.timedelta(milliseconds=1)


async def gone(database: Database, name: str, *, home: str = "") -> Server:
    """A server that has crashed, and whose time has run out."""
    server = await Servers(database, ttl=-SOON).enrol(name, home=home)
    assert [each.alive for each in await Servers(database).list()] == [False]
    return server


async def test_a_server_keeps_its_id_and_gets_an_executor_of_its_own_at_each_start(
    database: Database,
) -> None:
    """Its hosts and runs are found by the one; no two processes are taken for one another by the other."""
    first = await gone(database, "one")
    second = await Servers(database).enrol("one")
    assert second.id == first.id
    assert second.executor_id != first.executor_id
    assert (await Servers(database).enrol("two")).id != first.id


async def test_a_name_is_refused_while_its_server_lives(database: Database) -> None:
    """With what to do; and it is free once that one has gone in order."""
    servers = Servers(database)
    first = await servers.enrol("one")
    with pytest.raises(ServiceError, match="Another Innkeeper serves as 'one'") as refused:
        await servers.enrol("one")
    assert refused.value.code is ErrorCode.ERROR_ALREADY_EXISTS
    assert "server_name" in refused.value.advice
    await servers.leave(first)
    assert (await servers.enrol("one")).id == first.id


async def test_a_name_that_differs_in_case_alone_is_refused_with_a_way_out(database: Database) -> None:
    """Also while that server is away; a server may change the case of its own name."""
    servers = Servers(database)
    north = await gone(database, "north", home="directory")
    with pytest.raises(ServiceError, match="is called 'north'") as refused:
        await servers.enrol("NORTH", home="elsewhere")
    assert refused.value.code is ErrorCode.ERROR_ALREADY_EXISTS
    assert "server_name" in refused.value.advice
    assert refused.value.advice.endswith("innkeeper server retire north")
    assert (await servers.enrol("North", home="directory")).id == north.id
    await servers.set_state(north.id, ServerState.RETIRED)
    assert (await servers.enrol("NORTH", home="elsewhere")).id != north.id


async def test_a_name_is_free_at_once_in_the_state_directory_of_a_crashed_server(database: Database) -> None:
    """Nobody else has that directory open: the one that had is gone."""
    servers = Servers(database)
    crashed = await servers.enrol("one", home="directory")
    with pytest.raises(ServiceError, match="Another Innkeeper"):
        await servers.enrol("one", home="another directory")
    assert (await servers.enrol("one", home="directory")).id == crashed.id


async def test_a_server_that_is_renamed_stays_the_same(database: Database) -> None:
    """By its state directory: the new name is refused only where another server has it."""
    servers = Servers(database)
    before = await servers.enrol("old", home="directory")
    await servers.enrol("other", home="elsewhere")
    with pytest.raises(ServiceError, match="serves as 'other'"):
        await servers.enrol("other", home="directory")
    after = await servers.enrol("new", home="directory")
    assert after.id == before.id
    assert [each.name for each in await servers.list()] == ["new", "other"]


async def test_a_start_that_was_followed_by_another_has_its_name_no_longer(database: Database) -> None:
    """It is told so at its next sign of life, and takes nothing from its follower."""
    servers = Servers(database)
    paused = await gone(database, "one")
    assert await servers.see(paused)
    await servers.leave(paused)
    follower = await servers.enrol("one")
    assert not await servers.see(paused)
    await servers.leave(paused)
    (now,) = await servers.list()
    assert now.alive
    assert now.incarnation == follower.incarnation


async def test_a_retired_server_gives_up_its_name_and_its_hosts(database: Database) -> None:
    """It is listed no longer; under its name a start joins anew, as the same."""
    servers, leases = Servers(database), Leases(database)
    old = await servers.enrol("old")
    reach = Reach(host_id="host-1", server_id=old.id, stand_in=False, name="attic")
    await leases.enter(reach)
    assert await leases.take(old.id, "host-1")
    assert await servers.set_state(old.id, ServerState.RETIRED)
    assert await servers.list() == []
    assert not await servers.see(old)
    other = await servers.enrol("other")
    assert await leases.take(other.id, "host-1")
    assert (await servers.enrol("old")).state is ServerState.SERVING
    assert not await servers.set_state("nobody", ServerState.DRAINING)


async def test_a_drained_server_stays_so_over_a_restart(database: Database) -> None:
    """An upgrade does not make it begin work again."""
    server = await gone(database, "one")
    await Servers(database).set_state(server.id, ServerState.DRAINING)
    assert (await Servers(database).enrol("one")).state is ServerState.DRAINING


async def test_a_name_that_the_last_release_holds_is_refused(postgres_database: sa.URL) -> None:
    """It locks names for its session: both releases may run beside one another."""
    database = await Database.connect(postgres_database)
    await database.migrate()
    engine = sa.create_engine(postgres_database)
    with engine.connect() as last_release:
        key = sa.func.hashtextextended("innkeeper server one", 0)
        assert last_release.scalar(sa.select(sa.func.pg_try_advisory_lock(key)))
        with pytest.raises(ServiceError, match="serves as 'one'"):
            await Servers(database).enrol("one")
        # A session's end frees its locks too, some time after its client has gone.
        last_release.execute(sa.select(sa.func.pg_advisory_unlock(key)))
    engine.dispose()
    assert (await Servers(database).enrol("one")).alive
    await database.close()


async def test_a_sign_of_life_that_was_on_its_way_brings_no_server_back(database: Database) -> None:
    """One that has left is away at once, with what has failed; its next start clears that when it serves."""
    servers = Servers(database)
    first = await servers.enrol("one")
    await servers.leave(first, "No host is there.")
    assert not await servers.see(first)
    (left,) = await servers.list()
    assert (left.alive, left.trouble) == (False, "No host is there.")
    second = await servers.enrol("one")
    assert await servers.see(second)
    await servers.announce(second, "127.0.0.1:1")
    (now,) = await servers.list()
    assert (now.alive, now.trouble) == (True, "")


async def test_machines_that_a_retired_server_saw_are_forgotten(database: Database) -> None:
    """They may run elsewhere by now, and would be refused there; others stay.

    So does its host where another server reaches it, else that is forgotten too: a new one may have its name.
    """
    servers, leases = Servers(database), Leases(database)
    attic, barn = await servers.enrol("attic"), await servers.enrol("barn")
    directory = SqlDirectory(database, attic.id)
    for server in (attic, barn):
        name = server.name
        host = HostEntry(host_id=f"{name}-id", name=name, uri="test:///", server=name)
        await leases.enter(Reach(host_id=host.host_id, server_id=server.id, stand_in=False, name=name))
        assert await leases.take(server.id, host.host_id)
        await directory.put_hosts([host])
        await directory.update([entry("web-1", name)], ())
    await leases.enter(Reach(host_id="shed-id", server_id=barn.id, stand_in=False, name="shed"))
    assert await leases.take(barn.id, "shed-id")
    await leases.enter(Reach(host_id="shed-id", server_id=attic.id, stand_in=True, name="shed"))
    await directory.put_hosts([HostEntry(host_id="shed-id", name="shed", uri="test:///", server="barn")])
    await directory.update([entry("web-2", "shed")], ())
    await servers.leave(barn)
    await servers.set_state(barn.id, ServerState.RETIRED)
    assert [host.name for host in await directory.hosts()] == ["attic", "shed"]
    assert [each.host for each in await directory.page(limit=9)] == ["attic"]


async def test_a_retired_server_that_lives_writes_nothing_back(database: Database) -> None:
    """Until its next look it knows nothing of it, and goes on seeing its host and machines."""
    servers, leases = Servers(database), Leases(database)
    attic = await servers.enrol("attic")
    directory = SqlDirectory(database, attic.id)
    reach = Reach(host_id="attic-id", server_id=attic.id, stand_in=False, name="attic")
    host = HostEntry(host_id="attic-id", name="attic", uri="test:///", server="attic")
    await leases.enter(reach)
    assert await leases.take(attic.id, "attic-id")
    await directory.put_hosts([host])
    await directory.update([entry("web-1", "attic")], ())
    await servers.set_state(attic.id, ServerState.RETIRED)
    await directory.put_hosts([host])
    await directory.update([entry("web-1", "attic")], ())
    with pytest.raises(HostElsewhere, match="was retired"):
        await leases.enter(reach)
    assert await leases.take(attic.id, "attic-id") is None
    assert (await directory.hosts(), await directory.page(limit=9)) == ([], [])
    assert await leases.reaches() == []
