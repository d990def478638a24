"""One connection between a host pipe's client and a stream of the guest."""

from __future__ import annotations

import asyncio
import select
import socket
import struct
from collections.abc import Collection
from typing import Protocol, cast

from innkeeper.channels.channel import Traffic
from innkeeper.channels.ports import GuestStream, StreamListener
from innkeeper.errors import InnkeeperError
from innkeeper.wire.streams import DATA_BYTES

#: Every bridge reads into it: what was read is on its way before the next one reads.
_BUFFER = memoryview(bytearray(DATA_BYTES))
#: What a client may leave unread before its guest is told to wait.
_MOST_UNSENT_BYTES = 64 * 1024
#: How long the guest's port may take to accept, in seconds.
_JOIN_S = 30.0
#: How long a server may go on after its client has gone altogether, in seconds.
_LINGER_S = 30.0


class Post(Protocol):
    """What a bridge needs of its channel."""

    @property
    def traffic(self) -> Traffic:
        """Traffic counters of the channel."""

    @property
    def users(self) -> Collection[int]:
        """The user ids that may use the pipe."""

    async def dial(self, listener: StreamListener) -> GuestStream:
        """Open a stream when the guest's agent is there. Raises ``InnkeeperError``."""

    def arrive(self, bridge: Bridge) -> str:
        """Register the bridge; returns the reason of a refusal, or empty."""

    def leave(self, bridge: Bridge) -> None:
        """Remove the bridge."""


class Bridge(asyncio.BufferedProtocol):
    """Client's Unix socket connection on one end, ``GuestStream`` on the other.

    Nothing is read from the client without room in the stream, and the guest gets no credit for what the
    client has not taken: both ends wait for one another, and nobody's memory grows.
    """

    def __init__(self, post: Post) -> None:
        self._post = post
        self._transport: asyncio.Transport | None = None
        self._stream: GuestStream | None = None
        self._dialling: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_joined = False
        #: What was read and found no room after all: another stream was quicker.
        self._held = b""
        #: Whether the client's socket takes no more just now, and what the guest has no credit for yet.
        self._is_full = False
        self._unconsumed = 0
        #: Who has said that nothing follows.
        self._client_ended = False
        self._guest_ended = False
        self._is_reading = False

    def cut(self, reason: str) -> None:
        """Cut the connection."""
        if self._transport is None:
            return
        self._note_trouble(reason)
        self._transport.abort()
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.reset()

    # The client's end

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Check the client, and open a stream in the guest."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_MOST_UNSENT_BYTES, low=0)
        refusal = self._refusal() or self._post.arrive(self)
        if refusal:
            self._note_trouble(refusal)
            self._transport.abort()
            return
        loop = asyncio.get_running_loop()
        # Not at once: asyncio before 3.12 begins to read after this method, paused or not.
        loop.call_soon(self._transport.pause_reading)
        self._dialling = loop.create_task(self._dial())

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return a buffer of no more than the stream takes."""
        room = self._stream.room if self._stream is not None else 0
        return _BUFFER[:room] if 0 < room < DATA_BYTES else _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        """Forward what the client sent."""
        stream = self._stream
        if stream is None:
            return
        self._post.traffic.bytes_to_guest += nbytes
        sent = stream.write(_BUFFER[:nbytes])
        if sent < nbytes:
            self._held = bytes(_BUFFER[sent:nbytes])
        if self._held or not stream.room:
            self._read(False)

    def eof_received(self) -> bool:
        """The client sends no more; it may still want the answer."""
        self._client_ended = True
        if self._stream is not None and not self._held:
            self._stream.finish()
        if self._guest_ended:
            return False
        self._timer = asyncio.get_running_loop().call_later(_LINGER_S, self._end_if_abandoned)
        return True

    def pause_writing(self) -> None:
        """Stop reading from the guest, since the client does not read."""
        self._is_full = True

    def resume_writing(self) -> None:
        """Read from the guest again."""
        self._is_full = False
        if self._stream is not None and self._unconsumed:
            size, self._unconsumed = self._unconsumed, 0
            self._stream.consumed(size)

    def connection_lost(self, exc: Exception | None) -> None:
        """Close the stream, since the client has gone."""
        self._transport = None
        for waiting in (self._dialling, self._timer):
            if waiting is not None:
                waiting.cancel()
        stream, self._stream = self._stream, None
        if stream is not None:
            if not (self._client_ended and self._guest_ended) and exc is not None:
                self._note_trouble("the client broke the connection")
            stream.reset()
        self._post.leave(self)

    # The guest's end (``StreamListener``)

    def joined(self) -> None:
        """Start reading, since the guest's server has accepted."""
        self._is_joined = True
        self._post.traffic.connections += 1
        if self._timer is not None:
            self._timer.cancel()
        self._read(True)

    def received(self, data: bytes) -> None:
        """Forward what the server sent."""
        if self._transport is None or self._stream is None:
            return
        self._post.traffic.bytes_from_guest += len(data)
        self._transport.write(data)
        if self._is_full:
            self._unconsumed += len(data)
        else:
            self._stream.consumed(len(data))

    def writable(self) -> None:
        """Resume reading from the client."""
        if not self._is_joined or self._stream is None:
            return
        if self._held:
            self._held = self._held[self._stream.write(self._held) :]
            if self._client_ended and not self._held:
                self._stream.finish()
        if not self._held and self._stream.room:
            self._read(True)

    def ended(self) -> None:
        """End the client's direction after the server's end."""
        self._guest_ended = True
        if self._transport is None:
            return
        if self._client_ended:
            self._transport.close()
        elif self._transport.can_write_eof():
            self._transport.write_eof()

    def lost(self, reason: str) -> None:
        """End the connection after what has come of the lost stream."""
        self._stream = None
        self._note_trouble(reason)
        if self._transport is None:
            return
        self._transport.close()
        if self._timer is not None:
            self._timer.cancel()
        # A client that never takes the rest is not waited for.
        self._timer = asyncio.get_running_loop().call_later(_LINGER_S, self._transport.abort)

    # Machinery

    async def _dial(self) -> None:
        try:
            stream = await self._post.dial(self)
        except InnkeeperError as exc:
            self.cut(exc.sentence)
            return
        if self._transport is None:
            stream.reset()
            return
        self._stream = stream
        if not self._is_joined:
            self._timer = asyncio.get_running_loop().call_later(_JOIN_S, self.cut, "the guest did not answer")

    def _refusal(self) -> str:
        assert self._transport is not None
        peer: socket.socket = self._transport.get_extra_info("socket")
        packed = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        uid = struct.unpack("3i", packed)[1]
        return "" if uid in self._post.users else f"the user with the id {uid} may not use the pipe"

    def _read(self, wanted: bool) -> None:
        if self._transport is None or wanted is self._is_reading or self._client_ended:
            return
        self._is_reading = wanted
        if wanted:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def _end_if_abandoned(self) -> None:
        """A client that has closed altogether, and not only its sending half, waits for no answer."""
        if self._transport is None:
            return
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), 0)
        if poll.poll(0):
            self._transport.abort()
        else:
            self._timer = asyncio.get_running_loop().call_later(_LINGER_S, self._end_if_abandoned)

    def _note_trouble(self, reason: str) -> None:
        traffic = self._post.traffic
        if self._is_joined:
            traffic.cut += 1
        else:
            traffic.refused += 1
        traffic.last_trouble = reason
