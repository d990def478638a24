"""Carry a channel's bytes: by a Unix socket of this computer, or by a WebSocket of the service's door."""

from __future__ import annotations

import socket
from typing import Protocol

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from innkeeper.errors import ErrorCode, ServiceError
from innkeeper.wire.channels import END

_PIECE_BYTES = 64 * 1024


class ChannelWire(Protocol):
    """One connection through a channel; one thread may send while another receives."""

    def send(self, data: bytes) -> None:
        """Send all; raises ``ServiceError`` where the connection is broken."""

    def finish(self) -> None:
        """Send no more."""

    def receive(self) -> bytes:
        """At least one byte, or empty when the other side sends no more."""

    def close(self) -> None:
        """Close the connection."""


class SocketWire:
    """By the channel's own socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def send(self, data: bytes) -> None:
        """Send all."""
        try:
            self._connection.sendall(data)
        except OSError as error:
            raise _broken() from error

    def finish(self) -> None:
        """Send no more."""
        try:
            self._connection.shutdown(socket.SHUT_WR)
        except OSError:
            return  # it has gone already

    def receive(self) -> bytes:
        """At least one byte, or empty at the end."""
        try:
            return self._connection.recv(_PIECE_BYTES)
        except OSError as error:
            raise _broken() from error

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class WebWire:
    """By a WebSocket."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    def send(self, data: bytes) -> None:
        """Send all."""
        if not data:
            return
        try:
            self._connection.send(data)
        except ConnectionClosed as error:
            raise _broken() from error

    def finish(self) -> None:
        """Send no more."""
        try:
            self._connection.send(END)
        except ConnectionClosed:
            return  # it has gone already

    def receive(self) -> bytes:
        """At least one byte, or empty at the end. A connection that breaks off is an error, and no end."""
        try:
            data = self._connection.recv()
        except ConnectionClosed as error:
            raise _broken() from error
        return data if isinstance(data, bytes) else data.encode()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _broken() -> ServiceError:
    return ServiceError(
        "The connection through the channel broke.",
        code=ErrorCode.ERROR_ONLY_IF_CONNECTED,
        advice="Connect again; innkeeper channel list says what happened last.",
    )
