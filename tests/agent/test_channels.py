"""Channels through the real agent as a process, to real TCP servers, without a virtual machine."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from innkeeper.channels.channel import ChannelState, MachineStanding, MemoryChannelStore, Standing
from innkeeper.channels.service import Channels, Needs
from innkeeper.errors import NotPermitted
from innkeeper.tasks.clock import SystemClock
from innkeeper.wire.events import EventKind
from innkeeper.wire.states import MachineState
from tests.agent.rig import MACHINE, Guest, Host

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Rig:
    """Channels to the guest, and TCP servers that stand for the guest's own."""

    def __init__(self, guest: Guest, host: Host, directory: Path, servers: contextlib.AsyncExitStack) -> None:
        self.guest = guest
        self.host = host
        self.channels = Channels(
            Needs(
                agents=host.agents,
                look_at=self._look,
                store=MemoryChannelStore(),
                clock=SystemClock(),
                publish=host.events.append,
                directory=directory,
                server="here",
            )
        )
        self._servers = servers

    async def serve(self, serve: Serve) -> int:
        """Serve in the guest; returns the port."""
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        await self._servers.enter_async_context(server)
        port: int = server.sockets[0].getsockname()[1]
        return port

    async def open(self, port: int, name: str = "one") -> ChannelState:
        """Open a channel to a port."""
        return await self.channels.start(
            MACHINE,
            host_endpoint_type=0,
            pipe_name=rf"\\.\pipe\{name}",
            guest_endpoint_type=1,
            guest_port=str(port),
            owner="innkeeper",
        )

    async def connect(
        self, port: int, name: str = "one"
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a channel, and connect to it."""
        state = await self.open(port, name)
        return await asyncio.open_unix_connection(str(state.socket))

    async def _look(self, machine: str) -> MachineStanding:
        return MachineStanding(
            machine=machine, key=machine, standing=Standing.RUNNING, state=MachineState.RUNNING
        )


@pytest.fixture
async def rig(guest: Guest, host: Host) -> AsyncIterator[Rig]:
    """A running agent, and channels to it."""
    guest.start()
    await host.session()
    directory = Path(tempfile.mkdtemp(prefix="ch-", dir="/tmp"))
    async with contextlib.AsyncExitStack() as servers:
        rig = Rig(guest, host, directory, servers)
        await rig.channels.open()
        try:
            yield rig
        finally:
            await rig.channels.close()
            shutil.rmtree(directory, ignore_errors=True)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back what comes, and end when it ends or breaks."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def digest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read to the end, and answer with what came: needs a half-close."""
    seen = hashlib.sha256()
    while data := await reader.read(65536):
        seen.update(data)
    writer.write(seen.hexdigest().encode())
    writer.close()


async def until(condition: Callable[[], bool], timeout_seconds: float = 20.0) -> None:
    """Return when it holds."""
    async with asyncio.timeout(timeout_seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def test_bytes_go_both_ways_unchanged(rig: Rig) -> None:
    """What is sent comes back, byte for byte, and is counted."""
    reader, writer = await rig.connect(await rig.serve(echo))
    data = random.Random(1).randbytes(3_000_000)
    sending = asyncio.create_task(send_all(writer, data))
    assert await reader.read(-1) == data
    await sending
    writer.close()
    await until(lambda: rig.channels.list()[0].open_connections == 0)
    traffic = rig.channels.list()[0].traffic
    assert (traffic.bytes_to_guest, traffic.bytes_from_guest) == (len(data), len(data))
    assert (traffic.connections, traffic.cut, traffic.refused) == (1, 0, 0)


async def send_all(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Send it, and say that nothing follows."""
    writer.write(data)
    await writer.drain()
    writer.write_eof()


async def test_half_close_is_passed_on(rig: Rig) -> None:
    """A server that answers at the end of what it reads gets that end, and its answer arrives."""
    reader, writer = await rig.connect(await rig.serve(digest))
    data = b"\xff" * 700_000
    await send_all(writer, data)
    assert await reader.read(-1) == hashlib.sha256(data).hexdigest().encode()
    writer.close()


async def test_many_connections_at_once_do_not_mix(rig: Rig) -> None:
    """A hundred connections over one port carry each its own bytes."""
    state = await rig.open(await rig.serve(echo))

    async def converse(number: int) -> None:
        reader, writer = await asyncio.open_unix_connection(str(state.socket))
        data = random.Random(number).randbytes(40_000)
        sending = asyncio.create_task(send_all(writer, data))
        assert await reader.read(-1) == data
        await sending
        writer.close()

    await asyncio.gather(*(converse(number) for number in range(100)))


async def test_client_that_does_not_read_stops_its_server_alone(rig: Rig) -> None:
    """One client's full window holds back its own server and nobody else, and no memory grows."""
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.transport.set_write_buffer_limits(high=65536)
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(bytes(65536))
                await writer.drain()
                sent += 65536

    state = await rig.open(await rig.serve(flood))
    reader, writer = await asyncio.open_unix_connection(str(state.socket), limit=4096)
    before = -1
    while sent != before:
        before = sent
        await asyncio.sleep(0.3)
    assert sent < 16 << 20
    other_reader, other = await rig.connect(await rig.serve(echo), "two")
    other.write(b"still here")
    assert await other_reader.readexactly(10) == b"still here"
    assert len(await reader.readexactly(1_000_000)) == 1_000_000
    writer.close()
    other.close()


async def test_port_without_a_server_closes_the_connection(rig: Rig) -> None:
    """Where nobody listens in the guest the client sees the end at once, and the channel says why."""
    port = await rig.serve(echo)
    reader, writer = await rig.connect(1 + port if port < 65535 else port - 1)
    assert await reader.read(-1) == b""
    writer.close()
    traffic = rig.channels.list()[0].traffic
    assert (traffic.refused, traffic.last_trouble) == (1, "the guest refused the connection")


async def test_port_that_the_guest_does_not_open_is_not_permitted(rig: Rig) -> None:
    """The guest's administrator says which ports channels may reach; a change counts at once."""
    port = await rig.serve(echo)
    rig.guest.write("etc/innkeeper/agent/channels.conf", f"[channels]\nports = 22, {port + 1}-65535\n")
    with pytest.raises(NotPermitted, match="does not allow channels to its port"):
        await rig.open(port)
    rig.guest.write("etc/innkeeper/agent/channels.conf", "[channels]\nports = all\n")
    await rig.open(port)


async def test_killed_agent_cuts_connections_and_new_ones_work(rig: Rig) -> None:
    """A connection in flight ends, never with bytes that were not sent; the pipe listens on."""
    state = await rig.open(await rig.serve(echo))
    reader, writer = await asyncio.open_unix_connection(str(state.socket))
    writer.write(b"\xff" * 200_000)
    assert await reader.readexactly(100_000) == b"\xff" * 100_000
    rig.guest.kill()
    rest = await reader.read(-1)
    assert rest == b"\xff" * len(rest)
    assert len(rest) <= 100_000
    rig.guest.start()
    reader, writer = await asyncio.open_unix_connection(str(state.socket))
    writer.write(b"again")
    assert await reader.readexactly(5) == b"again"
    writer.close()
    assert rig.channels.list()[0].traffic.cut == 1


async def test_closing_a_channel_cuts_its_connections_and_removes_its_socket(rig: Rig) -> None:
    """A closed channel leaves nothing behind."""
    reader, writer = await rig.connect(await rig.serve(echo))
    writer.write(b"x")
    await reader.readexactly(1)
    socket = rig.channels.list()[0].socket
    await rig.channels.stop(r"\\.\PIPE\ONE")
    assert await reader.read(-1) == b""
    assert not socket.exists()
    assert rig.channels.list() == []
    assert [event.kind for event in rig.host.events if event.kind.startswith("channel.")] == [
        EventKind.CHANNEL_OPENED,
        EventKind.CHANNEL_CLOSED,
    ]


async def test_thousand_connections_leave_no_descriptor(rig: Rig) -> None:
    """Connections that come and go leave nothing open on either side."""
    state = await rig.open(await rig.serve(echo))

    async def once() -> None:
        reader, writer = await asyncio.open_unix_connection(str(state.socket))
        writer.write(b"x")
        writer.write_eof()
        assert await reader.read(-1) == b"x"
        writer.close()

    for _ in range(20):
        await once()
    await until(lambda: rig.channels.list()[0].open_connections == 0)
    before = descriptors(os.getpid()), descriptors(rig.guest.pid)
    for _ in range(50):
        await asyncio.gather(*(once() for _ in range(20)))
    await until(lambda: descriptors(os.getpid()) <= before[0] and descriptors(rig.guest.pid) <= before[1])


def descriptors(pid: int) -> int:
    """How many files a process has open."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
