"""Task agents' ports of a libvirt host's machines."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

import libvirt

from innkeeper.errors import AgentError, ErrorCode
from innkeeper.hypervisor.libvirt.announcer import Announcer
from innkeeper.hypervisor.libvirt.connection import Connection
from innkeeper.hypervisor.libvirt.definition import AGENT_PORT, Definition, agent_port_xml
from innkeeper.hypervisor.libvirt.domains import current, persistent, redefine
from innkeeper.hypervisor.libvirt.socket_pipe import SocketPipe
from innkeeper.hypervisor.libvirt.streams import StreamPipe
from innkeeper.hypervisor.libvirt.uris import HostUri
from innkeeper.wire.byte_pipe import BytePipe
from innkeeper.wire.events import EventKind

_CONTROLLER_XML = "<controller type='virtio-serial'/>"


class LibvirtAgentPorts:
    """The task agents' ports of one host's machines (``machines.ports.agent_ports.AgentPorts``)."""

    def __init__(self, uri: HostUri, connection: Connection, announcer: Announcer) -> None:
        self._uri = uri
        self._connection = connection
        self._announcer = announcer

    async def attach(self, name: str) -> None:
        """Add the port to the machine, live where it runs. Does nothing where it has one."""

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

        if await self._connection.command(work, "give the agent's port to", name):
            self._announcer.say(EventKind.MACHINE_AGENT_PORT_CHANGED, name)

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
        pipe.work = await self._connection.stream(
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
