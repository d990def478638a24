"""Leases of hosts: one owner at a time, and a new epoch for each."""

from __future__ import annotations

import asyncio
import datetime as dt

import sqlalchemy as sa

from innkeeper.servers.lease import Held, Reach
from innkeeper.servers.server import ServerState
from innkeeper.store.database import Database
from innkeeper.store.leases import Leases
from innkeeper.store.servers import Servers

GONE_BY = dt.timedelta(milliseconds=-1)


async def entered(database: Database, *hosts: str) -> Leases:
    """The leases, with these hosts in them."""
    leases = Leases(database)
    for host in hosts:
        await enter(leases, host, "somebody")
    return leases


async def enter(leases: Leases, host: str, server: str, *, stand_in: bool = False) -> None:
    """Say that a server reaches a host."""
    await leases.enter(
        Reach(
            host_id=host,
            server_id=server,
            stand_in=stand_in,
            name=f"name of {host}",
            uri=f"test:///{host}",
        )
    )


async def taken(leases: Leases, server: str, host: str) -> Held:
    """The lease that a server takes."""
    held = await leases.take(server, host)
    assert held is not None
    return held


async def test_a_host_has_one_owner(database: Database) -> None:
    """Another takes it once its time has run out, with a new epoch; the former one renews it no longer."""
    leases = await entered(database, "h1", "h2")
    first = await taken(Leases(database, ttl=GONE_BY), "a", "h1")
    assert await leases.renew("a", [first]) == [first]
    await leases.drop("a", [first])
    second = await taken(leases, "b", "h1")
    assert second == Held(host_id="h1", epoch=first.epoch + 1)
    assert await leases.renew("a", [first]) == []
    assert await leases.take("a", "h1") is None
    assert await leases.renew("b", [second]) == [second]
    assert [(each.host_id, each.server_id, each.alive) for each in await leases.list()] == [
        ("h1", "b", True),
        ("h2", None, False),
    ]


async def test_of_racers_one_takes_a_host(database_url: sa.URL) -> None:
    """However many ask at once, on connections of their own."""
    databases = [
        await Database.connect(database_url) for _ in range(1 if "sqlite" in str(database_url) else 4)
    ]
    await databases[0].migrate()
    await entered(databases[0], "h1")
    racers = [Leases(databases[number % len(databases)]).take(f"s{number}", "h1") for number in range(8)]
    assert len([held for held in await asyncio.gather(*racers) if held is not None]) == 1
    for database in databases:
        await database.close()


async def test_a_server_takes_up_the_hosts_of_its_former_start(database: Database) -> None:
    """At once, with a new epoch: what that one still writes is refused."""
    leases = await entered(database, "h1", "h2")
    before = await taken(leases, "a", "h1")
    await taken(leases, "b", "h2")
    after = await leases.retake("a", "h1")
    assert after == Held(host_id="h1", epoch=before.epoch + 1)
    assert await leases.retake("a", "h2") is None
    assert await leases.renew("a", [before]) == []
    assert not await asyncio.to_thread(leases.holds, "a", before)
    assert await asyncio.to_thread(leases.holds, "a", after)


async def test_a_stand_in_takes_what_no_other_living_server_can(database: Database) -> None:
    """And leaves it to one that can, whether that one has it yet or not."""
    servers, leases = Servers(database), Leases(database)
    preferred, stand_in = await servers.enrol("preferred"), await servers.enrol("stand-in")
    await enter(leases, "h1", preferred.id)
    await enter(leases, "h1", stand_in.id, stand_in=True)
    assert await leases.take(stand_in.id, "h1", stand_in=True) is None
    await servers.set_state(preferred.id, ServerState.DRAINING)
    held = await leases.take(stand_in.id, "h1", stand_in=True)
    assert held is not None
    await leases.drop(stand_in.id, [held])
    await servers.set_state(preferred.id, ServerState.SERVING)
    assert await leases.take(stand_in.id, "h1", stand_in=True) is None
    await servers.leave(preferred)
    assert await leases.take(stand_in.id, "h1", stand_in=True)


async def test_a_host_that_its_owner_renames_keeps_its_lease(database: Database) -> None:
    """Its id is the same; what another server calls it is not what everybody does."""
    leases = await entered(database, "h1")
    await taken(leases, "a", "h1")
    for server, name in (("a", "cellar"), ("b", "vault")):
        reach = Reach(host_id="h1", server_id=server, stand_in=False, name=name, uri=f"test:///{name}")
        await leases.enter(reach)
    held = await leases.retake("a", "h1")
    assert held is not None
    (lease,) = await leases.list()
    assert (lease.name, lease.uri, lease.server_id, lease.alive) == ("cellar", "test:///cellar", "a", True)
    assert await leases.renew("a", [held]) == [held]


async def test_a_server_reaches_what_its_settings_name_now(database: Database) -> None:
    """What they named before is forgotten, and the host that was at an address where another is now."""
    servers, leases = Servers(database), Leases(database)
    attic, cellar = await servers.enrol("attic"), await servers.enrol("cellar")
    for server in (attic, cellar):
        for host in ("h1", "h2"):
            await enter(leases, host, server.id)
    await leases.keep(attic.id, ["test:///h1"])
    reaches = sorted((each.host_id, each.server_id == attic.id) for each in await leases.reaches())
    assert reaches == [("h1", False), ("h1", True), ("h2", False)]
    await leases.enter(Reach(host_id="h3", server_id=attic.id, stand_in=False, uri="test:///h1"))
    assert {each.host_id for each in await leases.reaches() if each.server_id == attic.id} == {"h3"}
    await servers.set_state(cellar.id, ServerState.RETIRED)
    assert [each.host_id for each in await leases.reaches()] == ["h3"]


async def test_a_stand_in_takes_what_whoever_could_has_left_for_long(database: Database) -> None:
    """That one lives, and has the host in its settings: it does not reach it, or had taken it."""
    servers, leases = Servers(database), Leases(database, ttl=dt.timedelta(milliseconds=1))
    preferred, stand_in = await servers.enrol("preferred"), await servers.enrol("stand-in")
    await enter(leases, "h1", preferred.id)
    await enter(leases, "h1", stand_in.id, stand_in=True)
    await taken(leases, preferred.id, "h1")
    await asyncio.sleep(0.05)
    assert await Leases(database).take(stand_in.id, "h1", stand_in=True) is None
    assert await leases.take(stand_in.id, "h1", stand_in=True)


async def test_a_lease_that_ran_out_within_a_transaction_is_not_taken_for_one_that_holds(
    postgres_database: sa.URL,
) -> None:
    """The clock goes on within it, unlike ``now()``."""
    database = await Database.connect(postgres_database)
    await database.migrate()
    await entered(database, "h1")
    short = Leases(database, ttl=dt.timedelta(milliseconds=300))
    held = await taken(short, "a", "h1")

    def in_one_transaction(connection: sa.Connection) -> tuple[bool, bool]:
        before = short.is_held(connection, "a", held)
        connection.execute(sa.select(sa.func.pg_sleep(0.5)))
        return before, short.is_held(connection, "a", held)

    assert await database.read(in_one_transaction) == (True, False)
    await database.close()
