"""WebSockets and channels through the door of a server that does not look after the machine."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from innkeeper.server.http.connections import HttpProtocol
from innkeeper.server.http.limited import SocketProtocol
from innkeeper.server.http.serving import HttpServer, config
from innkeeper.server.remote import Address, listening_on
from innkeeper.wire.channels import END
from innkeeper.wire.states import EndpointType
from tests.server.relay.two_servers import Server, as_root

Inn = tuple[Server, Server]


@pytest.fixture
async def door(inn: Inn) -> AsyncIterator[str]:
    """The north's door on the loopback, as root has it."""
    listening = await asyncio.to_thread(listening_on, Address.parse("127.0.0.1:0"))
    server = HttpServer(config(as_root(inn[0].app), HttpProtocol, SocketProtocol), [listening])
    serving = asyncio.create_task(server.serve())
    yield f"127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    await serving


@pytest.fixture
async def running(inn: Inn) -> AsyncIterator[str]:
    """A machine of the south that runs."""
    _, south = inn
    await _command(south, "startup")
    await south.house.agents.connected((await south.house.machines.get("db-2")).key, timeout=30)
    yield "db-2"
    await _command(south, "turn_off")


async def _command(server: Server, verb: str) -> None:
    answer = await server.http.post(f"/v1/machines/db-2/{verb}", json={})
    assert answer.status_code == 202, answer.text
    await server.house.tasks.wait(answer.json()["task"]["id"])


def opened(door: str, path: str) -> contextlib.AbstractAsyncContextManager[ClientConnection]:
    """A WebSocket through the north's door."""
    return connect(f"ws://{door}/v1{path}", compression=None, proxy=None)


async def test_a_console_is_spoken_to_through_the_wrong_door(door: str, running: str) -> None:
    """Bytes go both ways."""
    async with opened(door, f"/machines/{running}/console") as console:
        assert b"login:" in await console.recv()
        await console.send(b"x")
        assert await console.recv() == b"x"


async def test_a_refused_console_is_refused_with_its_reason(door: str) -> None:
    """As the owner's own door refuses it: the machine is off."""
    with pytest.raises(InvalidStatus) as refused:
        async with opened(door, "/machines/db-2/console"):
            pass
    assert refused.value.response.status_code == 409
    assert b"WrongState" in (refused.value.response.body or b"")


async def test_a_channel_is_opened_used_and_closed_through_the_wrong_door(
    door: str, running: str, inn: Inn
) -> None:
    """It lies at the owner, and each door lists it."""
    north, south = inn
    request = {
        "machine": running,
        "host_endpoint_type": EndpointType.NAMED_PIPE,
        "pipe_name": "\\\\.\\pipe\\db-2-echo",
        "guest_endpoint_type": EndpointType.TCPIP,
        "guest_port": 7,
    }
    made = await north.http.post("/v1/channels", json=request)
    assert made.status_code == 201, made.text
    lists = [(await each.http.get("/v1/channels")).json()["channels"] for each in inn]
    assert lists[0] == lists[1]
    assert [channel["pipe_name"] for channel in lists[0]] == [request["pipe_name"]]
    async with opened(door, "/channels/db-2-echo") as channel:
        await channel.send(b"through two doors")
        assert await channel.recv() == b"through two doors"
        await channel.send(END)
    assert (await north.http.delete("/v1/channels/db-2-echo")).status_code == 204
    assert (await south.http.get("/v1/channels")).json()["channels"] == []


async def test_a_pipe_has_one_name_in_the_inn(running: str, inn: Inn) -> None:
    """Opened at a second server it would lead whoever connects to one guest or the other."""
    north, south = inn
    request = {"machine": running, "pipe_name": "\\\\.\\pipe\\only", "guest_port": 7}
    assert (await north.http.post("/v1/channels", json=request)).status_code == 201
    started = await north.http.post("/v1/machines/mail/startup", json={})
    await north.house.tasks.wait(started.json()["task"]["id"])
    await north.house.agents.connected((await north.house.machines.get("mail")).key, timeout=30)
    refused = await south.http.post(
        "/v1/channels", json=request | {"machine": "mail", "pipe_name": "\\\\.\\pipe\\ONLY"}
    )
    assert (refused.status_code, "at the server south" in refused.text) == (422, True), refused.text
    assert len((await north.http.get("/v1/channels")).json()["channels"]) == 1
    assert (await north.http.delete("/v1/channels/only")).status_code == 204
    off = await north.http.post("/v1/machines/mail/turn_off", json={})
    await north.house.tasks.wait(off.json()["task"]["id"])
