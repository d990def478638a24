"""Serve a few TCP ports inside simulated guests, so that channels have somewhere to lead."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Callable
from typing import Protocol

from innkeeper.channels.ports import StreamListener
from innkeeper.wire.streams import MAX_STREAMS, WINDOW_BYTES

_MAX_REQUEST_BYTES = 64 * 1024


class Server(Protocol):
    """One connection to a simulated server."""

    def begin(self) -> bytes:
        """Return the first bytes that the server sends."""

    def take(self, data: bytes) -> bytes:
        """Return the answer to received bytes."""

    @property
    def is_over(self) -> bool:
        """Whether the server has ended its direction."""


class Echo:
    """Sends back what it is sent (port 7)."""

    is_over = False

    def begin(self) -> bytes:
        """Return nothing: the server waits for the client."""
        return b""

    def take(self, data: bytes) -> bytes:
        """The same."""
        return data


class Banner:
    """Says who it is and no more (port 22)."""

    is_over = False

    def begin(self) -> bytes:
        """As an SSH server begins."""
        return b"SSH-2.0-Simulated\r\n"

    def take(self, data: bytes) -> bytes:
        """Return nothing: the client speaks first."""
        return b""


class Web:
    """Answers one HTTP request with the machine's name (port 80)."""

    def __init__(self, machine: str) -> None:
        self._machine = machine
        self._request = b""
        self.is_over = False

    def begin(self) -> bytes:
        """Return nothing: the server waits for a request."""
        return b""

    def take(self, data: bytes) -> bytes:
        """The page, once the request's head is there."""
        self._request = (self._request + data)[:_MAX_REQUEST_BYTES]
        if b"\r\n\r\n" not in self._request or self.is_over:
            return b""
        self.is_over = True
        page = f"This is {self._machine}, a simulated machine.\n".encode()
        head = (
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"
            f"Content-Length: {len(page)}\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + page


def server_at(machine: str, port: int) -> Server | None:
    """The server that listens at a port of every simulated guest."""
    match port:
        case 7:
            return Echo()
        case 22:
            return Banner()
        case 80:
            return Web(machine)
    return None


class FakeStreams:
    """The streams to the servers of all simulated guests."""

    def __init__(self) -> None:
        self._streams: dict[str, set[FakeStream]] = collections.defaultdict(set)

    def open(self, machine: str, port: int, listener: StreamListener) -> FakeStream:
        """Connect; raises ``ValueError`` where the guest carries no more."""
        streams = self._streams[machine]
        if len(streams) >= MAX_STREAMS:
            raise ValueError(f"a session carries at most {MAX_STREAMS} streams")
        stream = FakeStream(server_at(machine, port), listener, streams)
        streams.add(stream)
        return stream

    def lose(self, machine: str, reason: str) -> None:
        """Break all of one guest's."""
        for stream in tuple(self._streams.pop(machine, ())):
            stream.lose(reason)


class FakeStream:
    """A stream to a simulated server (``GuestStream``); what it answers is bounded by what was asked."""

    def __init__(self, server: Server | None, listener: StreamListener, among: set[FakeStream]) -> None:
        self._server = server
        self._listener = listener
        self._among = among
        self._is_finished = False
        self._has_ended = False
        #: What the host has not taken yet.
        self._unconsumed = 0
        self._soon(self._begin)

    @property
    def room(self) -> int:
        """How many bytes ``write`` would take now."""
        gone = self not in self._among or self._is_finished
        return 0 if gone else max(0, WINDOW_BYTES - self._unconsumed)

    def write(self, data: bytes | memoryview) -> int:
        """Pass the bytes to the server."""
        taken = bytes(data[: self.room])
        if taken and self._server is not None and not self._has_ended:
            self._say(self._server.take(taken))
        return len(taken)

    def consumed(self, size: int) -> None:
        """The host has taken so much."""
        had_room = self.room > 0
        self._unconsumed -= size
        if not had_room and self.room:
            self._soon(self._listener.writable)

    def finish(self) -> None:
        """The host sends no more: the server ends too."""
        self._is_finished = True
        self._soon(self._end)

    def reset(self) -> None:
        """Break the stream."""
        self._among.discard(self)

    def lose(self, reason: str) -> None:
        """The guest has gone."""
        self._among.discard(self)
        self._listener.lost(reason)

    def _begin(self) -> None:
        if self._server is None:
            self.lose("the guest refused the connection")
            return
        self._listener.joined()
        self._say(self._server.begin())

    def _say(self, data: bytes) -> None:
        if data:
            self._unconsumed += len(data)
            self._soon(self._listener.received, data)
        if self._server is not None and self._server.is_over:
            self._soon(self._end)

    def _end(self) -> None:
        if not self._has_ended:
            self._has_ended = True
            self._listener.ended()
        if self._is_finished:
            self._among.discard(self)

    def _soon(self, callback: Callable[..., None], *arguments: bytes) -> None:
        """Call later, unless the stream is broken in the meantime."""
        asyncio.get_running_loop().call_soon(lambda: callback(*arguments) if self in self._among else None)
