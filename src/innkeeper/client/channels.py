"""Use channels: host pipes joined to TCP ports of guests (``StartCommunicationChannel``)."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

from innkeeper.client import calls
from innkeeper.client.channel_wires import ChannelWire, SocketWire, WebWire
from innkeeper.client.transport import Transport
from innkeeper.client.wires import open_connection
from innkeeper.errors import InvalidArgument
from innkeeper.wire.channels import ChannelList, ChannelMessage, ChannelRequest
from innkeeper.wire.states import EndpointType

PREFIX = "\\\\.\\pipe\\"


class Channel:
    """One channel. It ends with its machine's run, or at ``close``."""

    def __init__(self, transport: Transport, message: ChannelMessage) -> None:
        self._transport = transport
        self._message = message

    def __repr__(self) -> str:
        return f"<Channel {self.pipe_name}>"

    @property
    def pipe_name(self) -> str:
        r"""The pipe's whole name, ``\\.\pipe\NAME``."""
        return self._message.pipe_name

    @property
    def machine(self) -> str:
        """The machine's name."""
        return self._message.machine

    @property
    def guest_port(self) -> int:
        """The TCP port in the guest."""
        return self._message.guest_port

    @property
    def socket(self) -> Path:
        """The Unix socket, on the service's computer, that any program may connect to."""
        return Path(self._message.socket)

    def read(self) -> ChannelMessage:
        """All that the service says of it now: connections, bytes each way, and since when."""
        return self._transport.send(calls.channel(_name(self.pipe_name)))

    def close(self) -> None:
        """Close it; its connections are cut."""
        self._transport.send(calls.close_channel(_name(self.pipe_name)))

    def connect(self) -> ChannelWire:
        """Connect through it: by its socket where that is here, else through the service's own door.

        Raises ``OSError`` or the service's errors.
        """
        here = _connected(self.socket) if self._transport.is_local else None
        if here is not None:
            return SocketWire(here)
        return WebWire(open_connection(self._transport, calls.channel(_name(self.pipe_name)).path))


class ChannelCollection:
    """The channels of the service."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def __iter__(self) -> Iterator[Channel]:
        """All of them, by pipe name."""
        return (Channel(self._transport, message) for message in self.list())

    def __len__(self) -> int:
        return len(self.list())

    def __getitem__(self, pipe_name: str | int) -> Channel:
        r"""One of them, by ``\\.\pipe\NAME`` or NAME; raises ``InvalidArgument`` where there is none."""
        if isinstance(pipe_name, int):  # its number among all of them, from 0
            return Channel(self._transport, self.list()[pipe_name])
        return Channel(self._transport, self._transport.send(calls.channel(_name(pipe_name))))

    def list(self, machine: str | None = None) -> tuple[ChannelMessage, ...]:
        """What the service says of all of them, or of one machine's."""
        return self.read(machine).channels

    def read(self, machine: str | None = None) -> ChannelList:
        """The same, with the servers that do not answer, whose channels are missing."""
        return self._transport.whole(calls.channels(machine))

    def start(
        self,
        machine: str,
        pipe_name: str | None,
        guest_port: str | int | None,
        *,
        host_endpoint_type: int | None = EndpointType.NAMED_PIPE,
        guest_endpoint_type: int | None = EndpointType.TCPIP,
    ) -> Channel:
        """Open a channel to a machine's guest (``StartCommunicationChannel``)."""
        request = ChannelRequest(
            machine=machine,
            pipe_name=pipe_name,
            guest_port=guest_port,
            host_endpoint_type=host_endpoint_type,
            guest_endpoint_type=guest_endpoint_type,
        )
        return Channel(self._transport, self._transport.send(calls.open_channel(request)))


def _name(pipe_name: str) -> str:
    name = pipe_name[len(PREFIX) :] if pipe_name[: len(PREFIX)].casefold() == PREFIX else pipe_name
    if not name or "\\" in name:
        raise InvalidArgument(
            f"“{pipe_name}” is not a pipe's name.", advice=rf"Write {PREFIX}NAME, or NAME alone."
        )
    return name


def _connected(path: Path) -> socket.socket | None:
    """A connection to the socket, if it is here and lets us."""
    here = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        here.connect(str(path))
    except OSError:
        here.close()
        return None
    return here
