"""Pipe of bytes over a socket that QEMU has, with as few turns of the loop as can be."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Callable
from typing import cast

#: What is read at once, and what may lie unsent before somebody waits.
_READ_BYTES = 64 * 1024
#: What may lie unread before QEMU waits.
_MOST_UNREAD_BYTES = 256 * 1024


class SocketPipe(asyncio.BufferedProtocol):
    """A port of a guest, through the socket that QEMU listens on.

    Not asyncio's own streams: every byte of every channel goes through here, and each turn of the loop
    that is saved is felt by whoever waits at the other end.
    """

    def __init__(self) -> None:
        self._buffer = memoryview(bytearray(_READ_BYTES))
        self._transport: asyncio.Transport | None = None
        self._unread: collections.deque[bytes] = collections.deque()
        self._unread_bytes = 0
        self._reader: asyncio.Future[None] | None = None
        self._take: Callable[[bytes | memoryview], int] | None = None
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

    def hear(self, take: Callable[[bytes | memoryview], int]) -> None:
        """Offer ``take`` what comes, in the turn that reads it; what it leaves is there for ``read``."""
        self._take = take

    async def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()
            await self._closed.wait()

    # What the loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport of the new connection."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_READ_BYTES, low=0)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where to read to."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Accept the bytes that were read."""
        # Nothing overtakes what waits for ``read``.
        taken = 0
        if self._take is not None and not self._unread:
            taken = self._take(self._buffer[:nbytes])
        if taken == nbytes:
            return
        self._unread.append(bytes(self._buffer[taken:nbytes]))
        self._unread_bytes += nbytes - taken
        if self._unread_bytes > _MOST_UNREAD_BYTES and self._transport is not None:
            self._transport.pause_reading()
        self._wake_reader()

    def pause_writing(self) -> None:
        """The guest does not read."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Wake the writer: there is room again."""
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
