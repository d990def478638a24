"""Open the host's end of the task agent's port."""

from __future__ import annotations

import asyncio
import collections
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import cast

import libvirt

from innkeeper.errors import AgentError, ErrorCode
from innkeeper.hypervisor.libvirt.connection import Connection
from innkeeper.hypervisor.libvirt.definition import AGENT_PORT, Definition, agent_port_xml
from innkeeper.hypervisor.libvirt.domains import current, persistent, redefine
from innkeeper.hypervisor.libvirt.streams import StreamPipe
from innkeeper.hypervisor.libvirt.uris import HostUri
from innkeeper.machines.ports import BytePipe

#: What is read at once, and what may lie unsent before somebody waits.
_READ_BYTES = 64 * 1024
#: What may lie unread before QEMU waits.
_MOST_UNREAD_BYTES = 256 * 1024
_CONTROLLER_XML = "<controller type='virtio-serial'/>"


class SocketPipe(asyncio.BufferedProtocol):
    """The port through the unix socket that QEMU listens on.

    Not asyncio's own streams: every byte of every channel goes through here, and each turn of the loop
    that is saved is felt by whoever waits at the other end.
    """

    def __init__(self) -> None:
        self._buffer = memoryview(bytearray(_READ_BYTES))
        self._transport: asyncio.Transport | None = None
        self._unread: collections.deque[bytes] = collections.deque()
        self._unread_bytes = 0
        self._reader: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._closed = asyncio.Event()

    # The pipe

    async def read(self) -> bytes:
        """At least one byte, or empty when the pipe is gone."""
        while not self._unread:
            if self._closed.is_set():
                return b""
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        data = self._unread.popleft() if len(self._unread) == 1 else b"".join(self._unread)
        self._unread.clear()
        if self._unread_bytes > _MOST_UNREAD_BYTES and self._transport is not None:
            self._transport.resume_reading()
        self._unread_bytes = 0
        return data

    async def write(self, data: bytes) -> None:
        """Write all, waiting while the guest does not read."""
        self.send(data)
        await self._writable.wait()
        if self._closed.is_set():
            raise ConnectionResetError("the agent's port is gone")

    @property
    def is_free(self) -> bool:
        """Whether all that was written has gone, or nearly."""
        return self._writable.is_set()

    def send(self, data: bytes) -> None:
        """Write all, now or later."""
        if self._transport is not None:
            self._transport.write(data)

    async def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()
            await self._closed.wait()

    # What the loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_READ_BYTES, low=0)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where to read to."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read."""
        self._unread.append(bytes(self._buffer[:nbytes]))
        self._unread_bytes += nbytes
        if self._unread_bytes > _MOST_UNREAD_BYTES and self._transport is not None:
            self._transport.pause_reading()
        self._wake_reader()

    def pause_writing(self) -> None:
        """The guest does not read."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """It does again."""
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """The pipe is gone."""
        self._transport = None
        self._closed.set()
        self._writable.set()
        self._wake_reader()

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)


class AgentPorts:
    """The task agents' ports of one host's machines."""

    def __init__(self, uri: HostUri, connection: Connection) -> None:
        self._uri = uri
        self._connection = connection

    async def attach(self, name: str) -> bool:
        """Give the machine the port, live where it runs. Returns whether it had it not yet."""

        def work(connect: libvirt.virConnect) -> bool:
            domain = connect.lookupByName(name)
            missing = domain.isActive() and current(domain).channel(AGENT_PORT) is None
            if missing:
                _plug_in(domain)
            definition = persistent(domain)
            if definition.channel(AGENT_PORT) is not None:
                return bool(missing)
            definition.add_agent_port()
            redefine(connect, definition)
            return True

        return await self._connection.command(work, "give the agent's port to", name)

    async def open(self, name: str) -> BytePipe:
        """Connect to the port, through the file system where possible, else through libvirt."""
        definition = await self._connection.ask(_live_definition(name), "open the agent's port of", name)
        channel = definition.channel(AGENT_PORT)
        if channel is None:
            raise AgentError(
                f"Machine {name!r} has no port for the task agent.",
                machine=name,
                code=ErrorCode.E_HANDLE,
                advice=f"Run: innkeeper machine prepare {name}",
            )
        if self._uri.is_local and channel.socket_path:
            with contextlib.suppress(PermissionError):
                return await _open_socket(name, Path(channel.socket_path))
        return await self.open_stream(name)

    async def open_stream(self, name: str) -> BytePipe:
        """Connect through libvirt: this works from anywhere, and as any user whom libvirt lets."""
        pipe = StreamPipe(asyncio.get_running_loop())
        await self._connection.command(
            lambda connect: pipe.open(connect, name, AGENT_PORT), "open the agent's port of", name
        )
        return pipe


def _live_definition(name: str) -> Callable[[libvirt.virConnect], Definition]:
    def work(connect: libvirt.virConnect) -> Definition:
        domain = connect.lookupByName(name)
        if not domain.isActive():
            raise AgentError(f"Machine {name!r} does not run.", machine=name)
        return current(domain)

    return work


async def _open_socket(name: str, path: Path) -> BytePipe:
    try:
        loop = asyncio.get_running_loop()
        _, pipe = await loop.create_unix_connection(SocketPipe, str(path))
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise AgentError(f"The agent's port of {name!r} is gone.", machine=name) from error
    return pipe


def _plug_in(domain: libvirt.virDomain) -> None:
    live = libvirt.VIR_DOMAIN_AFFECT_LIVE
    try:
        domain.attachDeviceFlags(agent_port_xml(), live)
    except libvirt.libvirtError:
        # No virtio-serial bus yet: plug that in first. What is wrong otherwise, the second try says.
        with contextlib.suppress(libvirt.libvirtError):
            domain.attachDeviceFlags(_CONTROLLER_XML, live)
        domain.attachDeviceFlags(agent_port_xml(), live)
