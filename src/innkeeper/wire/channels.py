"""Describe the HTTP messages about channels."""

from __future__ import annotations

from pydantic import AwareDatetime

from innkeeper.wire.messages import Message, OfServers, Paged, Request

#: An empty message of a channel's WebSocket, either way: no more bytes follow from that side.
END = b""


class ChannelRequest(Request):
    """Open a channel (``IVMVirtualMachine::StartCommunicationChannel``)."""

    machine: str
    #: ``\\\\.\\pipe\\NAME``, at most 256 characters, unique whatever its case.
    pipe_name: str | None = None
    #: The number of a TCP port, as text or as a number.
    guest_port: str | int | None = None
    #: ``VMEndpointType``: 0, a named pipe, is the only one.
    host_endpoint_type: int | None = 0
    #: ``VMEndpointType``: 1, TCP/IP, is the only one.
    guest_endpoint_type: int | None = 1


class ChannelMessage(Message):
    """A channel, and what has gone through it."""

    pipe_name: str
    machine: str
    guest_port: int
    #: The Unix socket that any program of its owner's may connect to, on the service's computer.
    socket: str
    #: A directory for ``psql -h``, where the server is found under the guest's port; empty if too long.
    postgres_directory: str
    owner: str
    opened_at: AwareDatetime
    #: Whether the guest's agent is there; else a connection waits a little for it.
    is_ready: bool
    open_connections: int
    #: What has gone through it since the service started.
    connections: int
    bytes_to_guest: int
    bytes_from_guest: int
    #: Connections that never came to be, and those that broke; why the last one did.
    refused: int
    cut: int
    last_trouble: str


class ChannelList(Paged, OfServers):
    """Channels, by pipe name."""

    entries_field = "channels"

    channels: tuple[ChannelMessage, ...]
