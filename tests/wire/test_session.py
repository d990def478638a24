"""Sessions between host and guest, as bytes."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.wire.frames import FLOOD, Fault, FrameKind, Interruption, encode
from innkeeper.wire.session import (
    MAX_CALLS,
    MAX_MESSAGE_BYTES,
    Answered,
    Began,
    Called,
    Event,
    GuestSession,
    HostSession,
    Message,
    MessageReceived,
    NoticeAcknowledged,
    Noticed,
    Ponged,
    Readied,
    decode_message,
    encode_message,
)
from innkeeper.wire.streams import (
    CREDIT_BYTES,
    WINDOW_BYTES,
    OpenAsked,
    StreamData,
    StreamEof,
    StreamOpened,
    StreamReset,
    StreamWritable,
)

NONCE = b"0123456789abcdef"


class Pair:
    """A host and a guest, and the bytes between them."""

    def __init__(self) -> None:
        self.host = HostSession()
        self.guest = GuestSession(lambda: {"boot_id": "b"})
        self.heard_by_host: list[Event] = []
        self.heard_by_guest: list[Event] = []
        self.host.begin(NONCE, {"protocol": 1})
        self.exchange()

    def exchange(self) -> None:
        """Carry all bytes until none is left."""
        while self.host.output_size or self.guest.output_size:
            self.heard_by_guest += self.guest.receive(self.host.take_output())
            self.heard_by_host += self.host.receive(self.guest.take_output())

    def forget(self) -> None:
        self.heard_by_host.clear()
        self.heard_by_guest.clear()


@pytest.fixture
def pair() -> Pair:
    """A pair with a session."""
    pair = Pair()
    pair.forget()
    return pair


def test_session_begins_with_both_greetings() -> None:
    """HELLO and ACK of the same nonce make a session, and carry who speaks."""
    pair = Pair()
    assert pair.heard_by_guest == [Began({"protocol": 1})]
    assert pair.heard_by_host == [Began({"boot_id": "b"})]


def test_other_nonce_is_no_session(pair: Pair) -> None:
    """The answer to an older greeting begins nothing."""
    pair.host.begin(b"another nonce 16", {})
    pair.host.take_output()
    assert pair.host.receive(FLOOD + encode(FrameKind.ACK, 0, NONCE + b"{}")) == []
    assert not pair.host.is_begun


def test_questions_notices_and_pings_are_answered(pair: Pair) -> None:
    """Each kind of message arrives with its number, once."""
    number = pair.host.call({"do": "health"})
    pair.guest.send_message({"tell": "output"})
    pair.guest.give_notice(4, {"tell": "schedule"})
    pair.host.ping()
    pair.exchange()
    pair.guest.answer(number, {"ok": True})
    pair.host.note(4, {"error": "no"})
    pair.exchange()
    assert pair.heard_by_guest == [Called(number, {"do": "health"}), NoticeAcknowledged(4, {"error": "no"})]
    assert pair.heard_by_host == [
        MessageReceived({"tell": "output"}),
        Noticed(4, {"tell": "schedule"}),
        Ponged(),
        Answered(number, {"ok": True}),
    ]


def test_long_message_goes_in_parts(pair: Pair) -> None:
    """A message of many frames arrives whole, whatever lies between its parts."""
    message: Message = {"packages": ["x" * 100] * 5000}
    number = pair.host.call({"do": "task"})
    pair.exchange()
    pair.guest.answer(number, message)
    pair.exchange()
    assert pair.heard_by_host == [Answered(number, message)]


def test_ready_guest_asks_for_a_session(pair: Pair) -> None:
    """A guest that starts anew, in the middle of anything, is heard."""
    half = encode(FrameKind.DATA, 1, bytes(60000))[:30000]
    guest = GuestSession(dict)
    guest.ready()
    heard = pair.host.receive(half + guest.take_output())
    assert [type(event) for event in heard] == [Interruption, Readied]


@pytest.mark.parametrize(
    "frame",
    [
        encode(FrameKind.PONG),
        encode(FrameKind.RESULT, 77, b"{}"),
        encode(FrameKind.CALL, 1, b"{}"),
        encode(FrameKind.HELLO, 0, NONCE + b"{}"),
        encode(FrameKind.OPEN, 1, b"\0\0\0\x50"),
        encode(FrameKind.DATA, 1, b"x"),
        encode(FrameKind.CREDIT, 1, b"\xff\xff\xff\xff"),
        encode(FrameKind.OPENED, 5),
        encode(FrameKind.TELL, 0, b"[1]"),
        encode(FrameKind.TELL, 0, b"\xff"),
        encode(FrameKind.TELL, 0, b'{"a": NaN}'),
        encode(FrameKind.TELL, 0, b"[" * 60000),
        encode(FrameKind.NOTICE, 0, b'{"a":' * 10000),
        encode(FrameKind.PING, 0, bytes(1000)),
        encode(FrameKind.PART, 0, bytes(65536)) * (MAX_MESSAGE_BYTES // 65536 + 1),
    ],
)
def test_guest_that_breaks_a_rule_loses_its_session(pair: Pair, frame: bytes) -> None:
    """Answers to nothing, frames that are the host's, streams nobody opened, JSON that is none: one fault."""
    faults = [event for event in pair.host.receive(frame) if isinstance(event, Fault)]
    assert len(faults) == 1
    assert not pair.host.is_begun


def test_late_answer_is_dropped(pair: Pair) -> None:
    """An answer to a question that is waited for no longer is no offence."""
    number = pair.host.call({})
    pair.host.forget_call(number)
    pair.exchange()
    pair.guest.answer(number, {})
    pair.exchange()
    assert pair.heard_by_host == []
    assert pair.host.is_begun


def test_questions_that_wait_are_bounded(pair: Pair) -> None:
    """A guest that never answers stops being asked."""
    for _ in range(MAX_CALLS):
        pair.host.call({})
    with pytest.raises(ValueError, match="at most"):
        pair.host.call({})


def test_guest_that_never_reads_loses_its_session(pair: Pair) -> None:
    """A guest that pings without end and reads nothing fills no memory of the host's."""
    ping = encode(FrameKind.PING, 0, bytes(64))
    faults: list[Event] = []
    for _ in range(100):
        faults += [e for e in pair.host.receive(ping * 1000) if isinstance(e, Fault)]
        assert pair.host.output_size < 5 * 1024 * 1024
    assert faults


def test_guest_drops_what_may_be_lost_while_much_is_unsent(pair: Pair) -> None:
    """Output waits for nobody: what the host does not take is lost."""
    told = [pair.guest.send_message({"text": "x" * 60000}) for _ in range(10)]
    assert told == [True] * 5 + [False] * 5


def test_stream_carries_bytes_both_ways_and_ends(pair: Pair) -> None:
    """A stream is opened, half-closed from each side, and forgotten."""
    number = pair.host.streams.open(5432)
    pair.exchange()
    pair.guest.streams.accept(number)
    pair.exchange()
    assert pair.host.streams.write(number, b"select") == 6
    pair.host.streams.finish(number)
    pair.exchange()
    assert pair.guest.streams.write(number, b"rows") == 4
    pair.guest.streams.finish(number)
    pair.exchange()
    assert pair.heard_by_guest == [OpenAsked(number, 5432), StreamData(number, b"select"), StreamEof(number)]
    assert pair.heard_by_host == [StreamOpened(number), StreamData(number, b"rows"), StreamEof(number)]
    assert len(pair.host.streams) == len(pair.guest.streams) == 0


def open_stream(pair: Pair) -> int:
    """A stream that is joined."""
    number = pair.host.streams.open(80)
    pair.exchange()
    pair.guest.streams.accept(number)
    pair.exchange()
    pair.forget()
    return number


def test_sender_stops_where_its_credit_ends(pair: Pair) -> None:
    """A window is sent ahead and no byte more; what is consumed comes back as credit."""
    number = open_stream(pair)
    assert pair.host.streams.write(number, bytes(2 * WINDOW_BYTES)) == WINDOW_BYTES
    pair.exchange()
    pair.guest.streams.consumed(number, CREDIT_BYTES - 1)
    pair.exchange()
    assert pair.host.streams.may_send(number) == 0
    pair.guest.streams.consumed(number, 1)
    pair.exchange()
    assert pair.heard_by_host == [StreamWritable(number)]
    assert pair.host.streams.may_send(number) == CREDIT_BYTES


@pytest.mark.parametrize("side", ["host", "guest"])
def test_data_beyond_its_credit_is_a_fault(pair: Pair, side: str) -> None:
    """Both sides enforce the credit they gave."""
    number = open_stream(pair)
    receiver = pair.host if side == "host" else pair.guest
    full = encode(FrameKind.DATA, number, bytes(65536)) * (WINDOW_BYTES // 65536)
    assert not [e for e in receiver.receive(full) if isinstance(e, Fault)]
    over = receiver.receive(encode(FrameKind.DATA, number, b"x"))
    assert over == [Fault(f"DATA of stream {number} beyond its credit")]


def test_lie_about_credit_makes_nobody_send_more_than_a_window(pair: Pair) -> None:
    """Credit saturates."""
    number = open_stream(pair)
    for _ in range(10):
        pair.host.receive(encode(FrameKind.CREDIT, number, b"\xff\xff\xff\xff"))
    assert pair.host.streams.may_send(number) == WINDOW_BYTES


def test_resets_that_cross_forget_the_stream_on_both_sides(pair: Pair) -> None:
    """Both sides may give a stream up at once; what was on its way is dropped."""
    number = open_stream(pair)
    pair.guest.streams.write(number, b"on its way")
    pair.host.streams.reset(number)
    pair.guest.streams.reset(number)
    pair.exchange()
    assert (pair.heard_by_host, pair.heard_by_guest) == ([], [])
    assert len(pair.host.streams) == len(pair.guest.streams) == 0


def test_reset_is_told_to_the_other_side(pair: Pair) -> None:
    """A stream given up by one side is gone for the other."""
    number = open_stream(pair)
    pair.guest.streams.reset(number)
    pair.exchange()
    assert pair.heard_by_host == [StreamReset(number)]
    assert len(pair.host.streams) == len(pair.guest.streams) == 0


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["host", "guest"]),
        st.sampled_from(["open", "accept", "write", "consume", "finish", "reset", "carry"]),
        st.integers(1, 4),
        st.integers(0, 2 * WINDOW_BYTES),
    ),
    max_size=60,
)


@settings(max_examples=60)
@given(STEPS)
def test_two_honest_sides_never_break_a_rule(steps: list[tuple[str, str, int, int]]) -> None:
    """Whatever the two do with their streams, in whatever order, neither sees a fault."""
    honest = Honest()
    for side, step, number, size in steps:
        honest.do(side, step, number, size)
    honest.carry()


class Honest(Pair):
    """A pair that keeps to the rules, whatever it is told to do."""

    def __init__(self) -> None:
        super().__init__()
        self._unread: dict[str, dict[int, int]] = {"host": {}, "guest": {}}
        self.forget()

    def do(self, side: str, step: str, number: int, size: int) -> None:
        """Take one step on one side."""
        streams, unread = (self.host if side == "host" else self.guest).streams, self._unread[side]
        match step:
            case "open":
                if len(self.host.streams) < 4:
                    self.host.streams.open(80)
            case "accept":
                self.guest.streams.accept(number)
            case "write":
                streams.write(number, bytes(size))
            case "consume":
                eaten = min(size, unread.get(number, 0))
                streams.consumed(number, eaten)
                unread[number] = unread.get(number, 0) - eaten
            case "finish":
                streams.finish(number)
            case "reset":
                streams.reset(number)
            case "carry":
                self.carry()

    def carry(self) -> None:
        """Exchange all bytes; nobody may see a fault."""
        self.exchange()
        for side, heard in (("host", self.heard_by_host), ("guest", self.heard_by_guest)):
            assert not [event for event in heard if isinstance(event, Fault)], heard
            for event in heard:
                if isinstance(event, StreamData):
                    unread = self._unread[side]
                    unread[event.stream] = unread.get(event.stream, 0) + len(event.data)
        self.forget()


@pytest.mark.slow
def test_no_bytes_break_a_session() -> None:
    """Whole sessions, mutated in every way, raise nothing and leave the host able to begin again."""
    chance = random.Random(20261121)
    good = _guest_bytes()
    for _ in range(3000):
        host = HostSession()
        host.begin(NONCE, {})
        host.take_output()
        host.receive(encode(FrameKind.ACK, 0, NONCE + b"{}"))
        data = _mutated(chance, good)
        while data:
            cut = chance.randrange(1, 5000)
            host.receive(data[:cut])
            data = data[cut:]
        assert host.output_size < 5 * 1024 * 1024
        host.begin(NONCE, {})
        assert Began({}) in host.receive(FLOOD + encode(FrameKind.ACK, 0, NONCE + b"{}"))


def _guest_bytes() -> list[bytes]:
    """One frame of each kind, good enough to get past the first checks."""
    payloads = [b"", b"{}", b'{"tell":"output"}', b"\0\0\1\0", bytes(3000), NONCE + b"{}"]
    return [
        encode(kind, stream, payload) for kind in FrameKind for stream in (0, 1, 2) for payload in payloads
    ]


def _mutated(chance: random.Random, good: list[bytes]) -> bytes:
    data = bytearray(b"".join(chance.choices(good, k=12)))
    for _ in range(chance.choice([0, 0, 1, 3, 30])):
        at = chance.randrange(len(data))
        match chance.randrange(3):
            case 0:
                data[at] = chance.randrange(256)
            case 1:
                del data[at : at + chance.randrange(20)]
            case _:
                data[at:at] = chance.randbytes(chance.randrange(20))
    return bytes(data)


def test_message_is_one_json_object() -> None:
    """What is encoded is decoded; what is no object is refused, however deep it nests."""
    message: Message = {"text": "\ud800ö", "n": 1}
    assert decode_message(encode_message(message)) == message
    for data in (b"1", b"[]", b"{", b"[" * 100000, b'{"a": Infinity}'):
        with pytest.raises(ValueError, match="no JSON"):
            decode_message(data)
