"""Servers are listed, drained, joined and retired."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pytest
import sqlalchemy as sa

from innkeeper.errors import ErrorCode, InvalidArgument, NotSupported, ServiceError
from innkeeper.servers.fleet import Fleet
from innkeeper.servers.lease import Reach
from innkeeper.servers.server import Server, ServerState
from innkeeper.store import tables
from innkeeper.store.database import Database
from innkeeper.store.leases import Leases
from innkeeper.store.servers import Servers


async def fleet(database: Database, own: Server, *, alone: bool = False) -> Fleet:
    """What a server says of all; every server has three tasks in flight."""
    servers = Servers(database)

    async def in_flight() -> Mapping[str, int]:
        return {each.id: 3 for each in await servers.list()}

    hurry = None if alone else lambda: None
    return Fleet(own, servers=servers, leases=Leases(database), in_flight=in_flight, hurry=hurry)


async def test_servers_are_listed_with_their_hosts_and_tasks(database: Database) -> None:
    """Those that are away too, with the hosts that wait for them."""
    servers, leases = Servers(database), Leases(database)
    attic, cellar = await servers.enrol("attic", version="1"), await servers.enrol("cellar", version="2")
    for host, server in (("h1", attic), ("h2", cellar)):
        reach = Reach(host_id=host, server_id=server.id, stand_in=False, name=f"name of {host}")
        await leases.enter(reach)
        assert await leases.take(server.id, host)
    await servers.leave(cellar)
    found = await (await fleet(database, attic)).list()
    assert [(each.server.name, each.server.version, each.server.alive, each.hosts) for each in found] == [
        ("attic", "1", True, ("name of h1",)),
        ("cellar", "2", False, ("name of h2",)),
    ]
    assert {each.in_flight for each in found} == {3}


async def test_a_server_is_drained_and_joins_again(database: Database) -> None:
    """By its name, in any case; one that is not there is named."""
    attic = await Servers(database).enrol("attic")
    all_servers = await fleet(database, attic)
    assert (await all_servers.drain("ATTIC")).server.state is ServerState.DRAINING
    assert (await all_servers.join("attic")).server.state is ServerState.SERVING
    with pytest.raises(ServiceError, match="no server “barn”") as refused:
        await all_servers.drain("barn")
    assert refused.value.code is ErrorCode.ERROR_NOT_FOUND


async def test_of_names_that_differ_in_case_alone_the_exact_one_is_meant(database: Database) -> None:
    """Such pairs may be there already; a spelling that is neither is refused with both."""
    servers = Servers(database)
    for name in ("north", "south"):
        await servers.enrol(name)
    rename = sa.update(tables.servers).where(tables.servers.c.name == "south").values(name="NORTH")
    await database.write(lambda c: c.execute(rename))
    (own, *_) = await servers.list()
    all_servers = await fleet(database, own)
    for name in ("north", "NORTH"):
        assert (await all_servers.drain(name)).server.name == name
    with pytest.raises(ServiceError, match="could be each of the servers"):
        await all_servers.retire("North", living=True)


async def test_what_a_drained_server_keeps_is_told_with_the_reason(database: Database) -> None:
    """Nobody else has the host, nobody has opened it yet, or something is in flight there."""
    servers, leases = Servers(database), Leases(database)
    attic, cellar = await servers.enrol("attic"), await servers.enrol("cellar")

    async def reason() -> str:
        (kept,) = (await (await fleet(database, attic)).get("attic")).keeps
        assert kept.name == "vault"
        assert kept.stays == ("no other server" in kept.reason)
        return kept.reason

    own, other = (
        Reach(host_id="h1", server_id=each.id, stand_in=False, name="vault") for each in (attic, cellar)
    )
    await leases.enter(own)
    held = await leases.take(attic.id, "h1")
    assert held is not None
    assert (await (await fleet(database, attic)).get("attic")).keeps == ()
    await servers.set_state(attic.id, ServerState.DRAINING)
    assert "no other server" in await reason()
    await leases.enter(other)
    await leases.offer(attic.id, held, offered=True)
    assert "offered to cellar" in await reason()
    await leases.enter(other)
    assert "goes to cellar as soon as nothing is in flight" in await reason()


async def test_a_server_that_lives_is_retired_only_where_that_is_said(database: Database) -> None:
    """One that is gone without asking."""
    servers = Servers(database)
    attic, cellar = await servers.enrol("attic"), await servers.enrol("cellar")
    all_servers = await fleet(database, attic)
    with pytest.raises(InvalidArgument, match="lives") as refused:
        await all_servers.retire("cellar")
    assert "server drain cellar --wait" in refused.value.advice
    await servers.leave(cellar)
    assert (await all_servers.retire("cellar")).server.state is ServerState.RETIRED
    assert [each.server.name for each in await all_servers.list()] == ["attic"]
    await all_servers.retire("attic", living=True)
    assert await all_servers.list() == []


async def test_a_service_that_is_alone_is_listed_under_its_name_and_cannot_be_drained(
    database: Database,
) -> None:
    """There is nobody to hand work to; what to do instead is said."""
    own = await Servers(database).enrol("this computer")
    alone = await fleet(database, dataclasses.replace(own, name="attic"), alone=True)
    (view,) = await alone.list()
    assert (view.server.name, view.server.alive) == ("attic", True)
    for act in (alone.drain, alone.join, alone.retire):
        with pytest.raises(NotSupported, match="for itself"):
            await act("attic")
