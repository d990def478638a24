"""Carry many streams of bytes over one port, each within the credit its receiver gave.

The host opens streams, the guest accepts them. Each side may send ``WINDOW_BYTES`` ahead of what the
other has consumed, in each direction; both sides enforce it. A stream ends when both have said EOF, or
at RST, which the other side answers by RST. Python 3.6 grammar: ships inside the agent.
"""

import enum
import struct
from typing import Callable, Dict, List, NamedTuple, Union

from innkeeper.wire.frames import HEADER_BYTES, MAX_PAYLOAD_BYTES, Bytes, Fault, Frame, FrameKind, seal

#: How far a sender may run ahead of its receiver, in bytes.
WINDOW_BYTES = 256 * 1024
#: How many streams one session carries.
MAX_STREAMS = 128
#: The most bytes that are best sent as one frame: with its header it fills two writes of a guest's driver.
DATA_BYTES = MAX_PAYLOAD_BYTES - HEADER_BYTES
#: With less credit than this nothing is sent: the rest of the window is on its way back already.
LEAST_CREDIT_BYTES = 4096
#: Credit is given back when this much was consumed: each word of it makes an emulated guest stop.
CREDIT_BYTES = WINDOW_BYTES // 2
_NUMBER = struct.Struct(">I")
_LAST_NUMBER = (1 << 32) - 1


class OpenAsked(NamedTuple):
    """The host asks the guest to join this stream to a TCP port."""

    stream: int
    port: int


class StreamOpened(NamedTuple):
    """The guest has joined it."""

    stream: int


class StreamData(NamedTuple):
    """Bytes arrived; say ``consumed`` when they are out of the way."""

    stream: int
    #: Where the session reads in place, good until it reads again.
    data: Bytes


class StreamWritable(NamedTuple):
    """There is credit again."""

    stream: int


class StreamEof(NamedTuple):
    """The other side sends no more."""

    stream: int


class StreamReset(NamedTuple):
    """The stream is gone."""

    stream: int


StreamEvent = Union[OpenAsked, StreamOpened, StreamData, StreamWritable, StreamEof, StreamReset]
StreamEvents = List[Union[StreamEvent, Fault]]

Send = Callable[[FrameKind, int, Bytes], None]


class _Phase(enum.Enum):
    """How far a stream has come."""

    #: Asked for, not joined yet.
    OPENING = "opening"
    OPEN = "open"
    #: This side sent RST and waits for the other's; what still arrives is dropped.
    RESET = "reset"


# By names of their own: Python 3.11 looks a member up by a call.
_OPENING, _OPEN, _RESET = _Phase
_OPENED, _DATA, _CREDIT = FrameKind.OPENED, FrameKind.DATA, FrameKind.CREDIT
_EOF, _RST = FrameKind.EOF, FrameKind.RST
_new = tuple.__new__


class _Stream:
    """The accounts of one stream."""

    __slots__ = ("consumed", "eof_received", "eof_sent", "may_receive", "may_send", "phase")

    def __init__(self) -> None:
        self.phase = _OPENING
        self.may_send = WINDOW_BYTES
        self.may_receive = WINDOW_BYTES
        self.consumed = 0
        self.eof_sent = False
        self.eof_received = False


class Streams:
    """All streams of one session, seen from one side."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._streams: Dict[int, _Stream] = {}
        #: The highest number ever opened; numbers only grow.
        self._last = 0

    def __len__(self) -> int:
        return len(self._streams)

    @property
    def is_used_up(self) -> bool:
        """Whether every number was given: only a new session opens streams again."""
        return self._last >= _LAST_NUMBER

    # Commands

    def open(self, port: int) -> int:
        """Ask for a stream to a TCP port of the guest; returns its number."""
        if len(self._streams) >= MAX_STREAMS:
            raise ValueError(f"a session carries at most {MAX_STREAMS} streams")
        if self.is_used_up:
            raise ValueError("a session numbers its streams once")
        self._last += 1
        self._streams[self._last] = _Stream()
        self._send(FrameKind.OPEN, self._last, _NUMBER.pack(port))
        return self._last

    def accept(self, number: int) -> None:
        """Confirm that the stream is connected."""
        stream = self._streams.get(number)
        if stream is not None and stream.phase is _OPENING:
            stream.phase = _OPEN
            self._send(_OPENED, number, b"")

    def may_send(self, number: int) -> int:
        """How many bytes the stream would take now."""
        stream = self._streams.get(number)
        if stream is None or stream.phase is not _OPEN or stream.eof_sent:
            return 0
        return stream.may_send

    def write(self, number: int, data: Bytes) -> int:
        """Send what the credit allows; returns how many bytes that was."""
        size, allowed = len(data), self.may_send(number)
        if size <= allowed and size <= MAX_PAYLOAD_BYTES:
            allowed = size
            if size:
                self._send(_DATA, number, data)
        else:
            allowed = min(size, allowed)
            for begin in range(0, allowed, MAX_PAYLOAD_BYTES):
                self._send(_DATA, number, data[begin : min(begin + MAX_PAYLOAD_BYTES, allowed)])
        if allowed:
            self._streams[number].may_send -= allowed
        return allowed

    def seal(self, number: int, frame: memoryview) -> None:
        """Make a frame of data, within its credit, that lies behind the place for the header.

        It is the caller's to send: a guest spares a copy and the way through the queue.
        """
        self._streams[number].may_send -= len(frame) - HEADER_BYTES
        seal(frame, _DATA, number)

    def consumed(self, number: int, size: int) -> None:
        """Acknowledge ``size`` received bytes: the sender gets them as credit again."""
        stream = self._streams.get(number)
        if stream is None or stream.phase is not _OPEN:
            return
        stream.consumed += size
        if stream.consumed >= CREDIT_BYTES and not stream.eof_received:
            stream.may_receive += stream.consumed
            self._send(_CREDIT, number, _NUMBER.pack(stream.consumed))
            stream.consumed = 0

    def finish(self, number: int) -> None:
        """Signal that no more data follows from this side."""
        stream = self._streams.get(number)
        if stream is None or stream.phase is _RESET or stream.eof_sent:
            return
        stream.eof_sent = True
        self._send(_EOF, number, b"")
        self._drop_finished(number)

    def reset(self, number: int) -> None:
        """Abandon the stream."""
        stream = self._streams.get(number)
        if stream is not None and stream.phase is not _RESET:
            stream.phase = _RESET
            self._send(_RST, number, b"")

    # What the other side sent

    def receive_open(self, frame: Frame) -> StreamEvents:
        """Take an OPEN (in the guest)."""
        if frame.stream <= self._last or len(self._streams) >= MAX_STREAMS:
            return [Fault(f"OPEN of stream {frame.stream}")]
        if len(frame.payload) != _NUMBER.size:
            return [Fault("OPEN without a port")]
        self._last = frame.stream
        self._streams[frame.stream] = _Stream()
        return [OpenAsked(frame.stream, _NUMBER.unpack(frame.payload)[0])]

    def receive(self, frame: Frame) -> StreamEvents:
        """Take an OPENED, DATA, CREDIT, EOF or RST."""
        stream = self._streams.get(frame.stream)
        if stream is None:
            return self._receive_for_past(frame)
        if frame.kind is _CREDIT:
            return self._receive_credit(frame, stream)
        if frame.kind is _OPENED:
            return self._receive_opened(frame.stream, stream)
        if frame.kind is _DATA:
            event = self.receive_data(frame)
            return [] if event is None else [event]
        if frame.kind is _EOF:
            return self._receive_eof(frame.stream, stream)
        return self._receive_reset(frame.stream, stream)

    def _receive_for_past(self, frame: Frame) -> StreamEvents:
        # CREDIT and RST may cross the end of a stream on their way; nothing else can.
        if frame.kind in (_CREDIT, _RST) and 0 < frame.stream <= self._last:
            return []
        return [Fault(f"{frame.kind.name} of stream {frame.stream}, which is not open")]

    def _receive_opened(self, number: int, stream: _Stream) -> StreamEvents:
        if stream.phase is _RESET:
            return []
        if stream.phase is _OPEN:
            return [Fault(f"OPENED twice for stream {number}")]
        stream.phase = _OPEN
        return [StreamOpened(number)]

    def receive_data(self, frame: Frame) -> Union[StreamData, Fault, None]:
        """Take a DATA; nothing follows from what comes for a stream that was reset."""
        _, number, payload = frame
        stream = self._streams.get(number)
        if stream is None:
            return Fault(f"DATA of stream {number}, which is not open")
        if stream.phase is _OPENING or stream.eof_received:
            return Fault(f"DATA of stream {number} out of its time")
        may_receive = stream.may_receive - len(payload)
        if may_receive < 0:
            return Fault(f"DATA of stream {number} beyond its credit")
        stream.may_receive = may_receive
        return None if stream.phase is _RESET else _new(StreamData, (number, payload))

    def _receive_credit(self, frame: Frame, stream: _Stream) -> StreamEvents:
        if len(frame.payload) != _NUMBER.size:
            return [Fault("CREDIT without a number")]
        had_none = stream.may_send < LEAST_CREDIT_BYTES
        # Saturates: no lie about what was consumed makes this side send more than a window ahead.
        stream.may_send = min(stream.may_send + _NUMBER.unpack(frame.payload)[0], WINDOW_BYTES)
        has_some = had_none and stream.may_send >= LEAST_CREDIT_BYTES
        return [StreamWritable(frame.stream)] if has_some and stream.phase is _OPEN else []

    def _receive_eof(self, number: int, stream: _Stream) -> StreamEvents:
        if stream.eof_received:
            return [Fault(f"EOF twice for stream {number}")]
        stream.eof_received = True
        was_reset = stream.phase is _RESET
        self._drop_finished(number)
        return [] if was_reset else [StreamEof(number)]

    def _receive_reset(self, number: int, stream: _Stream) -> StreamEvents:
        del self._streams[number]
        if stream.phase is _RESET:
            return []
        self._send(_RST, number, b"")
        return [StreamReset(number)]

    def _drop_finished(self, number: int) -> None:
        stream = self._streams[number]
        if stream.eof_sent and stream.eof_received:
            del self._streams[number]
