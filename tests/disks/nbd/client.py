"""Speak NBD as little as a test needs: write, read, and never flush unless told."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit


class Client:
    """One connection to an export."""

    def __init__(self, connection: socket.socket, name: str) -> None:
        self._stream = connection.makefile("rwb")
        self._stream.read(18)
        data = name.encode()
        self._say(struct.pack(">I", 3) + b"IHAVEOPT" + struct.pack(">II", 1, len(data)) + data)
        self.size_bytes, self.can = struct.unpack(">QH", self._stream.read(10))

    def close(self) -> None:
        """Let go."""
        with contextlib.suppress(OSError):
            self._stream.close()

    def write(self, data: bytes, offset: int) -> None:
        """Write, and hear that it is done."""
        self._ask(1, offset, len(data), data)

    def flush(self) -> None:
        """Have all that was written so far stored."""
        self._ask(3, 0, 0)

    def read(self, length: int, offset: int) -> bytes:
        """Read."""
        self._ask(0, offset, length)
        return self._stream.read(length)

    def _ask(self, command: int, offset: int, length: int, data: bytes = b"") -> None:
        self._say(struct.pack(">IHHQQI", 0x25609513, 0, command, 7, offset, length) + data)
        magic, error, _ = struct.unpack(">IIQ", self._stream.read(16))
        assert (magic, error) == (0x67446698, 0)

    def _say(self, data: bytes) -> None:
        self._stream.write(data)
        self._stream.flush()


@contextlib.contextmanager
def connected(address: str) -> Iterator[Client]:
    """A client of the export at this address."""
    parts = urlsplit(address)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(str(Path(parse_qs(parts.query)["socket"][0])))
        client = Client(connection, unquote(parts.path.removeprefix("/")))
        try:
            yield client
        finally:
            client.close()
