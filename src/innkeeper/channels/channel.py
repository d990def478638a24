"""Channels: a host pipe joined to a TCP port of a guest."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Protocol

from innkeeper.channels.pipe_name import PipeName
from innkeeper.wire.states import MachineState


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Channel:
    """A stored channel: it outlives the service, and ends with its machine's run."""

    #: Whole, as it was given: ``\\\\.\\pipe\\web-1-psql``.
    pipe_name: str
    #: What people called the machine when it was opened.
    machine: str
    guest_port: int
    #: Who opened it; besides root and the service's own user, only this user may use the socket.
    owner: str
    opened_at: dt.datetime
    #: The computer on which the socket lies.
    server: str
    #: The machine's key; empty in channels from before machines had keys.
    key: str = ""

    @property
    def name(self) -> PipeName:
        """The pipe's name."""
        return PipeName(self.pipe_name)

    @property
    def of(self) -> str:
        """The machine, for programs."""
        return self.key or self.machine


@dataclasses.dataclass(kw_only=True, slots=True)
class Traffic:
    """Traffic of a channel since the service started."""

    bytes_to_guest: int = 0
    bytes_from_guest: int = 0
    #: Connections that were joined to the guest's port.
    connections: int = 0
    #: Connections that never came to be: refused by the guest, by rights or by a bound.
    refused: int = 0
    #: Connections that broke: the session was lost, or one end broke off.
    cut: int = 0
    #: Why the last of these was refused or cut.
    last_trouble: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ChannelState:
    """A channel and its present state."""

    channel: Channel
    socket: Path
    #: Where ``psql -h`` finds the guest's server under the guest's port; ``None`` where the path is too long.
    postgres_directory: Path | None
    open_connections: int
    traffic: Traffic
    #: Whether the guest's agent is there, so that a connection is joined at once.
    is_ready: bool


class Standing(enum.Enum):
    """A machine's fitness for channels."""

    RUNNING = "running"
    #: Paused or saved, or off while a task works at it: its channels wait for it.
    RESTING = "resting"
    OFF = "off"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MachineStanding:
    """A machine, as people call it and by its key, and its fitness for channels."""

    machine: str
    key: str
    standing: Standing
    #: Its documented state.
    state: MachineState


#: Look at a machine. Raises ``MachineNotFound``.
LookAtMachine = Callable[[str], Awaitable[MachineStanding]]


class ChannelStore(Protocol):
    """Stores the channels of all servers."""

    async def put(self, channel: Channel) -> None:
        """Add a channel whose name is free on this server."""

    async def list(self, server: str) -> Sequence[Channel]:
        """Return one server's channels, by pipe name."""

    async def delete(self, channel: Channel) -> None:
        """Delete a channel, if it is there."""

    async def others_with(self, channel: Channel) -> Sequence[str]:
        """Return the other servers that live and have a channel of this pipe name, by name."""


class MemoryChannelStore:
    """``ChannelStore`` in memory."""

    def __init__(self) -> None:
        self._channels: dict[tuple[str, str], Channel] = {}

    async def put(self, channel: Channel) -> None:
        """Add a channel."""
        self._channels[channel.server, channel.name.key] = channel

    async def list(self, server: str) -> Sequence[Channel]:
        """Return one server's channels, by pipe name."""
        return [channel for key, channel in sorted(self._channels.items()) if key[0] == server]

    async def delete(self, channel: Channel) -> None:
        """Delete a channel."""
        self._channels.pop((channel.server, channel.name.key), None)

    async def others_with(self, channel: Channel) -> Sequence[str]:
        """Return the other servers that have a channel of this pipe name."""
        return sorted(
            server
            for server, key in self._channels
            if (key, server != channel.server) == (channel.name.key, True)
        )
