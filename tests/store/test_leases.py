"""Leases of hosts: one owner at a time, and a new epoch for each."""

from __future__ import annotations

import asyncio
import datetime as dt

import sqlalchemy as sa

from innkeeper.servers.lease import Held
from innkeeper.store.database import Database
from innkeeper.store.leases import Leases
from innkeeper.store.servers import Servers

GONE_BY = dt.timedelta(milliseconds=-1)


async def entered(database: Database, *hosts: str) -> Leases:
    """The leases, with these hosts in them."""
    leases = Leases(database)
    for host in hosts:
        await leases.enter(host, name=f"name of {host}", uri="test:///default")
    return leases


async def test_a_host_has_one_owner(database: Database) -> None:
    """Another takes it once its time has run out, with a new epoch; the former one renews it no longer."""
    leases = await entered(database, "h1", "h2")
    (held,) = await Leases(database, ttl=GONE_BY).take("a", ["h1"])
    assert await leases.renew("a", [held]) == []
    (taken,) = await leases.take("b", ["h1"])
    assert taken == Held(host_id="h1", epoch=held.epoch + 1)
    assert await leases.take("a", ["h1"]) == []
    assert await leases.renew("b", [taken]) == [taken]
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
    racers = [Leases(databases[number % len(databases)]).take(f"s{number}", ["h1"]) for number in range(8)]
    assert sorted(len(taken) for taken in await asyncio.gather(*racers)) == [0] * 7 + [1]
    for database in databases:
        await database.close()


async def test_a_server_takes_up_the_hosts_of_its_former_start(database: Database) -> None:
    """At once, with a new epoch: what that one still writes is refused."""
    leases = await entered(database, "h1", "h2")
    (before,) = await leases.take("a", ["h1"])
    await leases.take("b", ["h2"])
    (after,) = await leases.retake("a", ["h1", "h2"])
    assert after.epoch == before.epoch + 1
    assert await leases.renew("a", [before]) == []
    assert not await asyncio.to_thread(leases.holds, "a", before)
    assert await asyncio.to_thread(leases.holds, "a", after)


async def test_a_host_that_is_given_up_goes_to_who_wished_for_it(database: Database) -> None:
    """As long as that one lives; anybody else has it when it does not."""
    servers, leases = Servers(database), await entered(database, "h1")
    preferred, stand_in = await servers.enrol("preferred"), await servers.enrol("stand-in")
    held = await leases.take(stand_in.id, ["h1"])
    await leases.wish(preferred.id, ["h1"])
    await leases.drop(stand_in.id, held)
    assert await leases.take(stand_in.id, ["h1"]) == []
    await servers.leave(preferred)
    (back,) = await leases.take(stand_in.id, ["h1"])
    await leases.drop(stand_in.id, [back])
    preferred = await servers.enrol("preferred")
    assert await leases.take(preferred.id, ["h1"])
    assert [each.wish for each in await leases.list()] == [None]


async def test_a_host_that_is_renamed_keeps_its_lease(database: Database) -> None:
    """Its id is the same."""
    leases = await entered(database, "h1")
    held = await leases.take("a", ["h1"])
    await leases.enter("h1", name="cellar", uri="qemu:///system")
    (lease,) = await leases.list()
    assert (lease.name, lease.uri, lease.server_id, lease.alive) == ("cellar", "qemu:///system", "a", True)
    assert await leases.renew("a", held) == held


async def test_a_lease_that_ran_out_within_a_transaction_is_not_taken_for_one_that_holds(
    postgres_database: sa.URL,
) -> None:
    """The clock goes on within it, unlike ``now()``."""
    database = await Database.connect(postgres_database)
    await database.migrate()
    await entered(database, "h1")
    short = Leases(database, ttl=dt.timedelta(milliseconds=300))
    (held,) = await short.take("a", ["h1"])

    def in_one_transaction(connection: sa.Connection) -> tuple[bool, bool]:
        before = short.is_held(connection, "a", held)
        connection.execute(sa.select(sa.func.pg_sleep(0.5)))
        return before, short.is_held(connection, "a", held)

    assert await database.read(in_one_transaction) == (True, False)
    await database.close()
