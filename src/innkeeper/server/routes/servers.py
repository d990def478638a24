"""Routes of the servers that share the database."""

from __future__ import annotations

from fastapi import APIRouter

from innkeeper.identity.roles import Role
from innkeeper.server.house import House
from innkeeper.server.http.paging import ThePage, by_fields
from innkeeper.server.identity.needs import needs
from innkeeper.server.routes.asking import TheHouse
from innkeeper.servers.fleet import ServerView
from innkeeper.wire import servers as wire

router = APIRouter(prefix="/servers", tags=["servers"])


@router.get("", operation_id="list_servers", dependencies=needs(Role.VIEWER))
async def list_servers(house: TheHouse, page: ThePage) -> wire.ServerList:
    """The servers that share the database, by name."""
    found = page.of(await house.fleet.list(), by_fields("server.name"))
    return wire.ServerList(
        servers=tuple(_message(house, view) for view in found.entries), next_after=found.next_after
    )


@router.get("/{name}", operation_id="get_server", dependencies=needs(Role.VIEWER))
async def get_server(name: str, house: TheHouse) -> wire.ServerMessage:
    """One server."""
    return _message(house, await house.fleet.get(name))


@router.post("/{name}/drain", operation_id="drain_server", dependencies=needs(Role.ADMINISTRATOR))
async def drain_server(name: str, house: TheHouse) -> wire.ServerMessage:
    """Drain a server: it begins nothing more, and hands its hosts over as they fall idle."""
    return _message(house, await house.fleet.drain(name))


@router.post("/{name}/join", operation_id="join_server", dependencies=needs(Role.ADMINISTRATOR))
async def join_server(name: str, house: TheHouse) -> wire.ServerMessage:
    """Bring a drained server back to work: it takes hosts again."""
    return _message(house, await house.fleet.join(name))


@router.post("/{name}/retire", operation_id="retire_server", dependencies=needs(Role.ADMINISTRATOR))
async def retire_server(name: str, request: wire.RetireRequest, house: TheHouse) -> wire.ServerMessage:
    """Give up a server's name, and free its hosts; one that lives is refused where it is not said so."""
    return _message(house, await house.fleet.retire(name, living=request.living))


def _message(house: House, view: ServerView) -> wire.ServerMessage:
    server = view.server
    return wire.ServerMessage(
        name=server.name,
        id=server.id,
        state=server.state,
        alive=server.alive,
        version=server.version,
        address=server.address,
        since=server.started_at,
        last_seen=server.last_seen,
        trouble="" if server.alive else server.trouble,
        hosts=view.hosts or _own_hosts(house, view),
        stands_in_for=view.stands_in_for,
        keeps=tuple(
            wire.KeptHostMessage(name=each.name, reason=each.reason, stays=each.stays) for each in view.keeps
        ),
        in_flight=view.in_flight,
        answers=server.id == house.fleet.own.id,
    )


def _own_hosts(house: House, view: ServerView) -> tuple[str, ...]:
    """The hosts of a server that needs no leases: all that it has."""
    if view.server.id != house.fleet.own.id or house.fleet.is_shared:
        return ()
    return tuple(sorted(house.machines.hosts))
