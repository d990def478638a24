"""Routes of channels: open, list and close them, and carry a connection over WebSocket."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, WebSocket
from starlette.requests import HTTPConnection

from innkeeper.channels.channel import ChannelState
from innkeeper.channels.pipe_name import PREFIX, PipeName
from innkeeper.errors import InnkeeperError
from innkeeper.identity.roles import Resource, Role
from innkeeper.server.house import House
from innkeeper.server.http.paging import ThePage, by_fields
from innkeeper.server.http.websocket_channel import carry
from innkeeper.server.http.websocket_pipe import expect_same_origin
from innkeeper.server.identity.needs import needs
from innkeeper.server.identity.subjects import (
    Kind,
    Subject,
    house_of,
    key_of,
    machine_called,
    machine_in_body,
    what_they_see,
)
from innkeeper.server.identity.visibility import sees_machine
from innkeeper.server.relay.reference import Reference, ReferenceKind
from innkeeper.server.routes.asking import TheCaller, TheHouse, TheUser
from innkeeper.wire import channels as wire

router = APIRouter(prefix="/channels", tags=["channels"])


async def _machine_of_channel(connection: HTTPConnection) -> Resource | None:
    house = house_of(connection)
    try:
        state = house.channels.get(_pipe(connection.path_params["name"]))
    except InnkeeperError:
        return None  # the handler says what is wrong with it
    return machine_called(house, state.channel.of)


def _missing(connection: HTTPConnection) -> InnkeeperError:
    return house_of(connection).channels.no_such(PipeName(_pipe(connection.path_params["name"])))


async def _channel(connection: HTTPConnection) -> Reference:
    return Reference(ReferenceKind.CHANNEL, connection.path_params["name"])


_its_machine = Subject(Kind.MACHINE, _machine_of_channel, _missing, where=_channel)


@router.get(
    "",
    operation_id="list_channels",
    dependencies=needs(
        Role.VIEWER, what_they_see.of_all_servers(channels=("pipe_name",), pages_of="channels")
    ),
)
async def list_channels(
    house: TheHouse, caller: TheCaller, page: ThePage, machine: Annotated[str | None, Query()] = None
) -> wire.ChannelList:
    """The channels of all machines that the caller may see, or of one."""
    wanted = None if machine is None else await key_of(house, machine)
    seen = (state for state in house.channels.list(wanted) if sees_machine(house, caller, state.channel.of))
    found = page.of(seen, by_fields("channel.pipe_name"))
    return wire.ChannelList(
        channels=tuple(_said(house, state) for state in found.entries), next_after=found.next_after
    )


@router.post(
    "",
    status_code=201,
    operation_id="open_channel",
    dependencies=needs(Role.OPERATOR, machine_in_body("machine")),
)
async def open_channel(request: wire.ChannelRequest, house: TheHouse, user: TheUser) -> wire.ChannelMessage:
    """Join a host pipe to a TCP port of a guest (``StartCommunicationChannel``)."""
    state = await house.channels.start(
        request.machine,
        host_endpoint_type=request.host_endpoint_type,
        pipe_name=request.pipe_name,
        guest_endpoint_type=request.guest_endpoint_type,
        guest_port=request.guest_port,
        owner=user,
    )
    return _said(house, state)


@router.get("/{name:path}", operation_id="get_channel", dependencies=needs(Role.VIEWER, _its_machine))
async def get_channel(name: str, house: TheHouse) -> wire.ChannelMessage:
    """One channel, by what follows the prefix of its pipe's name."""
    return _said(house, house.channels.get(_pipe(name)))


@router.delete(
    "/{name:path}",
    status_code=204,
    operation_id="close_channel",
    dependencies=needs(Role.OPERATOR, _its_machine),
)
async def close_channel(name: str, house: TheHouse) -> None:
    """Close a channel; its connections are cut."""
    await house.channels.stop(_pipe(name))


@router.websocket("/{name:path}", dependencies=needs(Role.OPERATOR, _its_machine))
async def connect_channel(name: str, socket: WebSocket, house: TheHouse) -> None:
    """One connection through a channel, in binary messages; an empty one ends its direction."""
    expect_same_origin(socket)
    await carry(socket, house.channels.get(_pipe(name)).socket)


def _pipe(name: str) -> str:
    return PREFIX + name


def _said(house: House, state: ChannelState) -> wire.ChannelMessage:
    channel, traffic = state.channel, state.traffic
    known = house.board.known(channel.of)
    return wire.ChannelMessage(
        pipe_name=channel.pipe_name,
        machine=channel.machine if known is None else known.title,
        guest_port=channel.guest_port,
        socket=str(state.socket),
        postgres_directory=str(state.postgres_directory or ""),
        owner=channel.owner,
        opened_at=channel.opened_at,
        is_ready=state.is_ready,
        open_connections=state.open_connections,
        connections=traffic.connections,
        bytes_to_guest=traffic.bytes_to_guest,
        bytes_from_guest=traffic.bytes_from_guest,
        refused=traffic.refused,
        cut=traffic.cut,
        last_trouble=traffic.last_trouble,
    )
