"""What belongs to a host is written by its owner alone."""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest
import sqlalchemy as sa

from innkeeper.servers.acting import acting_on
from innkeeper.servers.fence import HostElsewhere
from innkeeper.servers.ownership import Ownership
from innkeeper.store.database import Database, upsert
from innkeeper.store.lease_guard import LeaseGuard
from innkeeper.store.leases import Leases
from innkeeper.store.option_store import SqlOptionStore
from innkeeper.store.servers import Servers
from innkeeper.store.tables import options
from innkeeper.tasks.outcome import LeftUnfinished

RUN_OUT = dt.timedelta(milliseconds=-1)


async def owner(database: Database, name: str, *, ttl: dt.timedelta) -> Ownership:
    """A server that has taken the host h1, with the guard of its writes."""
    servers, leases = Servers(database, ttl=ttl), Leases(database, ttl=ttl)
    made = Ownership(await servers.enrol(name, home=name), servers=servers, leases=leases)
    fence = made.fence(name="attic", uri="")
    await fence.claim("h1")
    database.guard = LeaseGuard(leases, made.server.id, made)
    return made


async def write(database: Database, value: str) -> None:
    """Write something that belongs to the host."""
    row = {"key": "written", "body": f'{{"value": "{value}"}}'}

    def change(connection: sa.Connection) -> None:
        upsert(connection, options, row)

    with acting_on("h1"):
        await database.write(change)


async def test_a_host_that_the_settings_name_twice_is_written_for(database: Database) -> None:
    """By whichever name it was taken: the other is known to be the same host, and has no lease."""
    server = await Servers(database).enrol("attic", home="attic")
    made = Ownership(server, servers=Servers(database), leases=Leases(database))
    first, second = made.fence(name="attic", uri="a"), made.fence(name="attic-2", uri="b")
    await second.claim("h1")
    with pytest.raises(HostElsewhere):
        await first.claim("h1")
    database.guard = LeaseGuard(Leases(database), server.id, made)
    await write(database, "attic")
    assert (await SqlOptionStore(database).all())["written"] == "attic"
    assert made.held("h1") == second.held


async def test_a_former_owner_writes_nothing_for_a_host(database: Database) -> None:
    """Its work is left unfinished, for the owner to end; what belongs to no host is written."""
    former = await owner(database, "attic", ttl=RUN_OUT)
    await database.write(lambda c: None)
    guard = database.guard
    await owner(database, "cellar", ttl=dt.timedelta(seconds=30))
    await write(database, "cellar")
    database.guard = guard
    looking = asyncio.create_task(former.run())
    with pytest.raises(LeftUnfinished):
        await write(database, "attic")
    looking.cancel()
    await asyncio.wait({looking})
    assert (await SqlOptionStore(database).all())["written"] == "cellar"


async def test_a_lease_that_ran_out_and_that_nobody_took_holds_up_a_write(database: Database) -> None:
    """Until it is prolonged; then it is written, once."""
    own = await owner(database, "attic", ttl=dt.timedelta(seconds=30))
    held = own.held("h1")
    assert held is not None
    await Leases(database, ttl=RUN_OUT).renew(own.server.id, [held])
    writing = asyncio.create_task(write(database, "late"))
    await asyncio.sleep(0.1)
    assert not writing.done()
    looking = asyncio.create_task(own.run())
    await writing
    looking.cancel()
    await asyncio.wait({looking})
    assert (await SqlOptionStore(database).all())["written"] == "late"
