"""Compose what knows of the other servers of the inn."""

from __future__ import annotations

import asyncio
import contextlib

from innkeeper.machines.ports.host import Host
from innkeeper.machines.service import Machines
from innkeeper.server.house import House
from innkeeper.server.relay.authority import Credentials, make_authority
from innkeeper.server.relay.keeper import DirectoryKeeper
from innkeeper.server.relay.neighbours import Neighbours
from innkeeper.server.relay.transport import Transport
from innkeeper.server.routes.host import host_message
from innkeeper.server.settings import Settings
from innkeeper.store.opening import Store


async def compose_neighbours(
    settings: Settings, store: Store, machines: Machines, opened: contextlib.AsyncExitStack
) -> Neighbours | None:
    """Compose the other servers; ``None`` on a database that has one server."""
    if not store.is_shared:
        return None
    authority = await store.authority.get_or_keep(make_authority)
    credentials = await asyncio.to_thread(
        Credentials.issued, store.server.id, settings.state_dir / "peer", authority
    )
    transport = Transport(credentials)
    opened.push_async_callback(transport.close)
    return Neighbours(
        own=store.server,
        servers=store.servers,
        leases=store.leases,
        directory=store.directory,
        transport=transport,
        own_hosts=lambda: {host.id: host.name for host in machines.hosts.values()},
        seen_as=store.servers.seen_as,
        channel_servers=store.channels.servers_of,
        called_here=machines.called_here,
    )


def directory_keeper(house: House, neighbours: Neighbours) -> DirectoryKeeper:
    """Compose what writes this server's machines into the directory."""

    async def facts_of(host: Host) -> str:
        return (await host_message(house.clock, host)).model_dump_json()

    return DirectoryKeeper(
        board=house.board,
        machines=house.machines,
        directory=neighbours.directory,
        server=neighbours.own.name,
        clock=house.clock,
        facts_of=facts_of,
        on_names=house.trigger.wake,
    )
