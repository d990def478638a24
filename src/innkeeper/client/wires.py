"""Open the wires to a machine: its display's bytes, and those of its serial port."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import TracebackType

from pydantic import ValidationError
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection

from innkeeper.client.transport import Transport
from innkeeper.errors import ErrorCode, ServiceError
from innkeeper.wire.messages import Problem
from innkeeper.wire.problems import revive


class Wire:
    """Bytes to and from a machine, until it or its guest's end is gone. Also a context manager."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    def __enter__(self) -> Wire:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[bytes]:
        """What comes, piece by piece, until the other end hangs up."""
        while data := self.read():
            yield data

    def read(self, timeout: float | None = None) -> bytes:
        """At least one byte; empty when the other end has hung up. Raises ``TimeoutError``."""
        try:
            data = self._connection.recv(timeout)
        except ConnectionClosed:
            return b""
        return data.encode() if isinstance(data, str) else data

    def write(self, data: bytes) -> None:
        """Send bytes; those after the other end has hung up are lost."""
        with contextlib.suppress(ConnectionClosed):
            self._connection.send(data)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


def open_wire(transport: Transport, path: str) -> Wire:
    """Open the wire behind a path; raises the service's errors."""
    return Wire(open_connection(transport, path))


def open_connection(transport: Transport, path: str) -> ClientConnection:
    """Open the WebSocket behind a path; raises the service's errors."""
    try:
        return transport.join(path)
    except InvalidStatus as refused:
        raise _refusal(bytes(refused.response.body)) from refused
    except (WebSocketException, OSError) as error:
        raise ServiceError(
            f"The connection {path} cannot be opened: {error}.", code=ErrorCode.ERROR_ONLY_IF_CONNECTED
        ) from error


def _refusal(body: bytes) -> Exception:
    try:
        return revive(Problem.model_validate_json(body))
    except ValidationError:
        return ServiceError("The service refused without saying why.", code=ErrorCode.ERROR_INVALID_DATA)
