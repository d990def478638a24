"""Hold a session between host and guest: its beginning, calls and answers, notices, streams.

Bytes in, events out; what is to be sent is taken with ``take_output``. A session begins with the
host's HELLO and the guest's ACK of the same nonce: the port keeps the order, so nothing stale can
follow the ACK. Whatever breaks the protocol ends the session and is an event, never an exception.
Python 3.6 grammar: ships inside the agent.
"""

import collections
import json
from typing import Callable, Deque, Dict, List, NamedTuple, Sequence, Set, Union

from innkeeper.wire.frames import (
    FLOOD,
    MAX_PAYLOAD_BYTES,
    Bytes,
    Decoded,
    Decoder,
    Fault,
    Frame,
    FrameKind,
    Interruption,
    encode,
)
from innkeeper.wire.streams import (
    OpenAsked,
    StreamData,
    StreamEof,
    StreamEvent,
    StreamOpened,
    StreamReset,
    Streams,
    StreamWritable,
)

#: The protocol's version, in both greetings.
VERSION = 1
NONCE_BYTES = 16
#: The longest message, in bytes of JSON.
MAX_MESSAGE_BYTES = 1024 * 1024
#: How many questions may wait for their answers.
MAX_CALLS = 64
#: A side whose peer leaves this much unread ends the session.
MAX_OUTPUT_BYTES = 4 * 1024 * 1024
#: Data of streams waits while more than this is unsent.
BUSY_OUTPUT_BYTES = 256 * 1024
_MAX_PING_BYTES = 64
_DATA = FrameKind.DATA

#: One JSON object, as it came: every reader checks what it takes from it.
Message = Dict[str, object]


class Began(NamedTuple):
    """The session is established; carries the other side's HELLO."""

    greeting: Message


class Readied(NamedTuple):
    """The guest has just started, or has lost its place: begin a session (host)."""


class Called(NamedTuple):
    """A question (guest)."""

    number: int
    message: Message


class Answered(NamedTuple):
    """The answer to a question (host)."""

    number: int
    message: Message


class MessageReceived(NamedTuple):
    """Something that may be lost (host)."""

    message: Message


class Noticed(NamedTuple):
    """Something that must be answered by ``note`` (host)."""

    number: int
    message: Message


class NoticeAcknowledged(NamedTuple):
    """The host's answer to a notice (guest)."""

    number: int
    message: Message


class Ponged(NamedTuple):
    """The other side answered the ping (host)."""


Event = Union[
    Began,
    Readied,
    Called,
    Answered,
    MessageReceived,
    Noticed,
    NoticeAcknowledged,
    Ponged,
    OpenAsked,
    StreamOpened,
    StreamData,
    StreamWritable,
    StreamEof,
    StreamReset,
    Interruption,
    Fault,
]
Events = List[Event]


class _Session:
    """What both sides share."""

    def __init__(self) -> None:
        #: Whether both greetings were exchanged.
        self.is_begun = False
        #: Counts the sessions, so that what belongs to a lost one is known.
        self.serial = 0
        self._decoder = Decoder()
        #: Return where the port may put what it gives next; then say ``received``.
        self.room: Callable[[], memoryview] = self._decoder.room
        #: Whole frames that wait to be taken.
        self._output: Deque[bytes] = collections.deque()
        #: How many bytes wait to be taken.
        self.output_size = 0
        #: How many whole frames have come, those that mean nothing too.
        self.frames_received = 0
        self._takers = {
            FrameKind.PART: self._take_part,
            FrameKind.PING: self._take_ping,
            FrameKind.OPENED: self._take_stream,
            FrameKind.DATA: self._take_stream,
            FrameKind.CREDIT: self._take_stream,
            FrameKind.EOF: self._take_stream,
            FrameKind.RST: self._take_stream,
        }  # type: Dict[FrameKind, Callable[[Frame], Events]]
        self._forget_session()

    def _forget_session(self) -> None:
        self.is_begun = False
        self.serial += 1
        self._parts = bytearray()
        self.streams = Streams(self._send)

    # Bytes

    def receive(self, data: Bytes) -> Events:
        """Take what the port gave and return what it means."""
        return self._take_all(self._decoder.feed(data))

    def received(self, size: int) -> Events:
        """Take so many bytes that the port has put into ``room``, and return what they mean.

        Data of streams lies there until ``room`` is asked for again.
        """
        return self._take_all(self._decoder.filled(size))

    def _take_all(self, frames: Sequence[Decoded]) -> Events:
        events: Events = []
        self.frames_received += len(frames)
        for decoded in frames:
            if type(decoded) is Frame and decoded[0] is _DATA and self.is_begun:
                # Nearly all bytes come this way: in a guest each call on it is felt.
                event = self.streams.receive_data(decoded)
                if type(event) is StreamData:
                    events.append(event)
                elif isinstance(event, Fault):
                    events.append(self._fault(event.reason))
            else:
                events.extend(self._take(decoded))
        if self.output_size > MAX_OUTPUT_BYTES:
            self._forget_output()
            events.append(self._fault("it does not read what it is sent"))
        return events

    @property
    def wanted(self) -> int:
        """How many bytes are still to come of the frame that has begun."""
        return self._decoder.wanted

    def take_output(self, size: int = MAX_OUTPUT_BYTES) -> bytes:
        """Remove and return up to ``size`` bytes to be sent: whole frames, or a part of a longer one."""
        if not self._output:
            return b""
        frames, room = [], size
        while self._output and len(self._output[0]) <= room:
            frames.append(self._output.popleft())
            room -= len(frames[-1])
        if self._output and not frames:
            long = self._output.popleft()
            self._output.appendleft(long[size:])
            frames.append(long[:size])
        output = frames[0] if len(frames) == 1 else b"".join(frames)
        self.output_size -= len(output)
        return output

    @property
    def is_busy(self) -> bool:
        """Whether so much is unsent that data of streams should wait."""
        return self.output_size > BUSY_OUTPUT_BYTES

    def _send(self, kind: FrameKind, stream: int = 0, payload: Bytes = b"") -> None:
        self.put(encode(kind, stream, payload))

    def put(self, data: bytes) -> None:
        """Queue these whole frames, or the rest of one that has begun, after everything else."""
        self._output.append(data)
        self.output_size += len(data)

    def _forget_output(self) -> None:
        self._output.clear()
        self.output_size = 0

    def _flood(self) -> None:
        """Send the flood, and nothing of what was to be sent before."""
        self._forget_output()
        self.put(FLOOD)

    def _send_greeting(self, kind: FrameKind, nonce: bytes, greeting: Message) -> None:
        # One frame, never parts: parts of a lost session may lie before it.
        self._send(kind, 0, nonce + encode_message(greeting))

    def _send_message(self, kind: FrameKind, number: int, message: Message) -> None:
        payload = encode_message(message)
        while len(payload) > MAX_PAYLOAD_BYTES:
            self._send(FrameKind.PART, 0, payload[:MAX_PAYLOAD_BYTES])
            payload = payload[MAX_PAYLOAD_BYTES:]
        self._send(kind, number, payload)

    # Frames

    def _take(self, decoded: Decoded) -> Events:
        if isinstance(decoded, (Fault, Interruption)):
            # Before there is a session these are leftovers, and must not undo the greeting under way.
            if self.is_begun:
                self._forget_session()
            return [decoded]
        taker = self._takers.get(decoded.kind)
        if taker is None:
            return [self._fault(f"a {decoded.kind.name} frame, which is not its to send")]
        if not self._expects(decoded.kind):
            return []
        return taker(decoded)

    def _expects(self, kind: FrameKind) -> bool:
        """Whether such a frame counts now; the others are left over from a lost session."""
        return self.is_begun

    def _fault(self, reason: str) -> Fault:
        self._forget_session()
        return Fault(reason)

    def _take_part(self, frame: Frame) -> Events:
        if len(self._parts) + len(frame.payload) > MAX_MESSAGE_BYTES:
            return [self._fault(f"a message of more than {MAX_MESSAGE_BYTES} bytes")]
        self._parts += frame.payload
        return []

    def _whole(self, frame: Frame) -> bytes:
        payload = bytes(self._parts) + frame.payload
        self._parts = bytearray()
        return payload

    def _take_ping(self, frame: Frame) -> Events:
        if len(frame.payload) > _MAX_PING_BYTES:
            return [self._fault(f"a ping of {len(frame.payload)} bytes")]
        self._send(FrameKind.PONG, 0, frame.payload)
        return []

    def _take_stream(self, frame: Frame) -> Events:
        return self._checked(self.streams.receive(frame))

    def _checked(self, events: Sequence[Union[StreamEvent, Fault]]) -> Events:
        return [self._fault(event.reason) if isinstance(event, Fault) else event for event in events]

    def _message(self, frame: Frame, event: Callable[[Message], Event]) -> Events:
        try:
            return [event(decode_message(self._whole(frame)))]
        except ValueError as exc:
            return [self._fault(f"a {frame.kind.name} that is {exc}")]


class HostSession(_Session):
    """The host's side: it begins sessions, asks and notes."""

    def __init__(self) -> None:
        super().__init__()
        self._nonce = b""
        self._takers.update(
            {
                FrameKind.READY: lambda frame: [Readied()],
                FrameKind.ACK: self._take_ack,
                FrameKind.RESULT: self._take_result,
                FrameKind.TELL: lambda frame: self._message(frame, MessageReceived),
                FrameKind.NOTICE: self._take_notice,
                FrameKind.PONG: self._take_pong,
            }
        )

    def _forget_session(self) -> None:
        super()._forget_session()
        self._nonce = b""
        self._pings = 0
        self._last_call = 0
        self._waiting: Set[int] = set()

    def _expects(self, kind: FrameKind) -> bool:
        return self.is_begun or kind in (FrameKind.ACK, FrameKind.READY)

    def begin(self, nonce: bytes, greeting: Message) -> None:
        """Begin a session anew; ``Began`` follows when the guest has answered."""
        self._forget_session()
        self._nonce = nonce
        self._flood()
        self._send_greeting(FrameKind.HELLO, nonce, greeting)

    def call(self, message: Message) -> int:
        """Ask a question; returns its number."""
        if len(self._waiting) >= MAX_CALLS:
            raise ValueError(f"a session carries at most {MAX_CALLS} questions")
        self._last_call += 1
        self._waiting.add(self._last_call)
        self._send_message(FrameKind.CALL, self._last_call, message)
        return self._last_call

    def forget_call(self, number: int) -> None:
        """Wait for the answer no longer; should it come, it is dropped."""
        self._waiting.discard(number)

    def note(self, number: int, answer: Message) -> None:
        """Answer a notice."""
        self._send_message(FrameKind.NOTED, number, answer)

    def ping(self) -> None:
        """Ask whether the guest is there; ``Ponged`` follows."""
        self._pings += 1
        self._send(FrameKind.PING)

    def _take_ack(self, frame: Frame) -> Events:
        payload = bytes(frame.payload)
        if self.is_begun or not self._nonce or payload[:NONCE_BYTES] != self._nonce:
            return []
        try:
            greeting = decode_message(payload[NONCE_BYTES:])
        except ValueError as exc:
            return [self._fault(f"a greeting that is {exc}")]
        self.is_begun = True
        return [Began(greeting)]

    def _take_result(self, frame: Frame) -> Events:
        number = frame.stream
        if not 0 < number <= self._last_call:
            return [self._fault("an answer to nothing that was asked")]
        if number not in self._waiting:
            self._whole(frame)
            return []
        self._waiting.discard(number)
        return self._message(frame, lambda message: Answered(number, message))

    def _take_notice(self, frame: Frame) -> Events:
        return self._message(frame, lambda message: Noticed(frame.stream, message))

    def _take_pong(self, frame: Frame) -> Events:
        if not self._pings:
            return [self._fault("an answer to no ping")]
        self._pings -= 1
        return [Ponged()]


class GuestSession(_Session):
    """The guest's side: it answers, tells and gives notice."""

    def __init__(self, greeting: Callable[[], Message]) -> None:
        super().__init__()
        self._greeting = greeting
        self._takers.update(
            {
                FrameKind.HELLO: self._take_hello,
                FrameKind.CALL: self._take_call,
                FrameKind.NOTED: self._take_noted,
                FrameKind.OPEN: self._take_open,
            }
        )

    def _expects(self, kind: FrameKind) -> bool:
        return self.is_begun or kind is FrameKind.HELLO

    def ready(self) -> None:
        """Send a HELLO: this side starts, or has lost its place."""
        self._forget_session()
        self._flood()
        self._send(FrameKind.READY)

    def answer(self, number: int, message: Message) -> None:
        """Answer a question."""
        self._send_message(FrameKind.RESULT, number, message)

    def send_message(self, message: Message) -> bool:
        """Send a notice that may be lost: it is, while there is no session or much is unsent."""
        if not self.is_begun or self.is_busy:
            return False
        self._send_message(FrameKind.TELL, 0, message)
        return True

    def give_notice(self, number: int, message: Message) -> None:
        """Send a notice; to be sent again until ``NoticeAcknowledged``."""
        if self.is_begun:
            self._send_message(FrameKind.NOTICE, number, message)

    def _take_hello(self, frame: Frame) -> Events:
        payload = bytes(frame.payload)
        nonce = payload[:NONCE_BYTES]
        self._forget_session()
        if len(nonce) < NONCE_BYTES:
            return [self._fault("a HELLO without a nonce")]
        try:
            greeting = decode_message(payload[NONCE_BYTES:])
        except ValueError as exc:
            return [self._fault(f"a greeting that is {exc}")]
        self.is_begun = True
        # The host may be anywhere in the bytes of the session before: the flood frees it.
        self._flood()
        self._send_greeting(FrameKind.ACK, nonce, self._greeting())
        return [Began(greeting)]

    def _take_call(self, frame: Frame) -> Events:
        return self._message(frame, lambda message: Called(frame.stream, message))

    def _take_noted(self, frame: Frame) -> Events:
        return self._message(frame, lambda message: NoticeAcknowledged(frame.stream, message))

    def _take_open(self, frame: Frame) -> Events:
        return self._checked(self.streams.receive_open(frame))


def encode_message(message: Message) -> bytes:
    """Return the message as JSON; raises ``ValueError`` where it is too long."""
    data = json.dumps(message, separators=(",", ":"), sort_keys=True).encode("ascii")
    if len(data) > MAX_MESSAGE_BYTES:
        raise ValueError(f"a message carries at most {MAX_MESSAGE_BYTES} bytes")
    return data


def decode_message(data: bytes) -> Message:
    """Return the JSON object in ``data``; raises ``ValueError`` for anything else."""
    try:
        message = json.loads(data.decode("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise ValueError("no JSON") from None
    if not isinstance(message, dict):
        raise ValueError("no JSON object")
    return message


def _refuse(constant: str) -> None:
    raise ValueError(constant)
