"""Hold the host's end of every stream of one session, and let them share its port."""

from __future__ import annotations

import collections
from collections.abc import Callable

from innkeeper.channels.ports import StreamListener
from innkeeper.wire.session import HostSession
from innkeeper.wire.streams import (
    LEAST_CREDIT_BYTES,
    StreamData,
    StreamEof,
    StreamEvent,
    StreamOpened,
    StreamReset,
    StreamWritable,
)

REFUSED = "the guest refused the connection"
_BROKEN = "the guest broke the connection"


class LinkStreams:
    """The streams of one link; at the loss of a session all of them go, and none is ever resumed."""

    def __init__(self, wire: HostSession, flush: Callable[[], None]) -> None:
        self._wire = wire
        self._flush = flush
        self._streams: dict[int, LinkStream] = {}
        #: Those that found the port busy, first come first served.
        self._waiting: collections.deque[LinkStream] = collections.deque()

    def open(self, port: int, listener: StreamListener) -> LinkStream:
        """Ask the guest for a stream; raises ``ValueError`` where the session carries no more."""
        number = self._wire.streams.open(port)
        stream = LinkStream(self, number, listener)
        self._streams[number] = stream
        self._flush()
        return stream

    def take(self, event: StreamEvent) -> None:
        """Pass an event to the listener of its stream."""
        stream = self._streams.get(event.stream)
        if stream is None:
            return
        listener = stream.listener
        match event:
            case StreamData(_, data):
                listener.received(bytes(data))
            case StreamWritable():
                listener.writable()
            case StreamOpened():
                stream.is_joined = True
                listener.joined()
            case StreamEof():
                stream.has_ended = True
                self._forget_finished(stream)
                listener.ended()
            case StreamReset():
                del self._streams[event.stream]
                listener.lost(_BROKEN if stream.is_joined else REFUSED)

    def resume(self) -> None:
        """Resume the writers that waited for the busy port."""
        for _ in range(len(self._waiting)):
            if self._wire.is_busy:
                return
            stream = self._waiting.popleft()
            stream.is_waiting = False
            if stream.number in self._streams:
                stream.listener.writable()

    def lose(self, reason: str) -> None:
        """Notify every listener that its stream is lost."""
        gone, self._streams = self._streams, {}
        self._waiting.clear()
        for stream in gone.values():
            stream.listener.lost(reason)

    # For the streams

    def room(self, stream: LinkStream) -> int:
        """How much a stream may send now."""
        if stream.number not in self._streams:
            return 0
        if self._wire.is_busy:
            if not stream.is_waiting:
                stream.is_waiting = True
                self._waiting.append(stream)
            return 0
        credit = self._wire.streams.may_send(stream.number)
        return credit if credit >= LEAST_CREDIT_BYTES else 0

    def write(self, stream: LinkStream, data: bytes | memoryview) -> int:
        """Send what there is room for."""
        room = self.room(stream)
        taken = self._wire.streams.write(stream.number, data[:room] if room < len(data) else data)
        if taken:
            self._flush()
        return taken

    def consumed(self, stream: LinkStream, size: int) -> None:
        """Give the guest credit again."""
        if stream.number in self._streams:
            self._wire.streams.consumed(stream.number, size)
            if self._wire.output_size:
                self._flush()

    def finish(self, stream: LinkStream) -> None:
        """Signal the end of the data."""
        if stream.number in self._streams:
            stream.is_finished = True
            self._wire.streams.finish(stream.number)
            self._forget_finished(stream)
            self._flush()

    def reset(self, stream: LinkStream) -> None:
        """Break a stream."""
        if self._streams.pop(stream.number, None) is not None:
            self._wire.streams.reset(stream.number)
            self._flush()

    def _forget_finished(self, stream: LinkStream) -> None:
        if stream.is_finished and stream.has_ended:
            self._streams.pop(stream.number, None)


class LinkStream:
    """One stream (``GuestStream``)."""

    __slots__ = ("_all", "has_ended", "is_finished", "is_joined", "is_waiting", "listener", "number")

    def __init__(self, streams: LinkStreams, number: int, listener: StreamListener) -> None:
        self._all = streams
        self.number = number
        self.listener = listener
        self.is_joined = False
        self.is_finished = False
        self.has_ended = False
        #: Whether it waits for the port.
        self.is_waiting = False

    @property
    def room(self) -> int:
        """How many bytes ``write`` would take now; 0 means: wait for ``writable``."""
        return self._all.room(self)

    def write(self, data: bytes | memoryview) -> int:
        """Send as much as there is room for; returns how much that was."""
        return self._all.write(self, data)

    def consumed(self, size: int) -> None:
        """Acknowledge received bytes, so that the sender may send more."""
        self._all.consumed(self, size)

    def finish(self) -> None:
        """Send no more."""
        self._all.finish(self)

    def reset(self) -> None:
        """Break the stream; its listener hears nothing more."""
        self._all.reset(self)
