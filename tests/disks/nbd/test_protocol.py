"""The talk before the work follows the NBD document, and nothing a client says breaks it."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.disks.nbd import protocol as nbd

EXPORT = nbd.Export("disk", 1 << 30, nbd.WRITING)
FLAGS = struct.pack(">I", 3)


def option(number: int, data: bytes = b"") -> bytes:
    """Put an option as a client does."""
    return b"IHAVEOPT" + struct.pack(">II", number, len(data)) + data


def answers(data: bytes) -> list[tuple[int, int, bytes]]:
    """Take option replies apart: (option, answer, data)."""
    found = []
    while data:
        magic, number, answer, length = struct.unpack_from(">QIII", data)
        assert magic == 0x3E889045565A9
        found.append((number, answer, data[20 : 20 + length]))
        data = data[20 + length :]
    return found


def go(name: bytes = b"") -> bytes:
    """Ask for an export."""
    return option(nbd.Option.GO, struct.pack(">I", len(name)) + name + struct.pack(">H", 0))


def contexts(number: nbd.Option, *queries: bytes) -> bytes:
    """Ask about or for meta contexts."""
    data = struct.pack(">I", 0) + struct.pack(">I", len(queries))
    return option(number, data + b"".join(struct.pack(">I", len(query)) + query for query in queries))


def test_go_tells_size_flags_and_block_sizes() -> None:
    """GO is answered with the export's facts, and then the work begins."""
    talk = nbd.Handshake(EXPORT)
    found = answers(talk.feed(FLAGS + go(b"disk") + b"rest"))
    assert [answer for _, answer, _ in found] == [3, 3, 1]
    assert found[0][2] == struct.pack(">HQH", 0, 1 << 30, nbd.WRITING)
    assert found[1][2] == struct.pack(">HIII", 3, 1, 4096, 32 << 20)
    assert talk.is_done
    assert talk.rest == b"rest"


def test_an_unknown_export_is_refused_and_the_talk_goes_on() -> None:
    """GO for a name there is not is answered with an error, and another try is welcome."""
    talk = nbd.Handshake(EXPORT)
    assert answers(talk.feed(FLAGS + go(b"other")))[0][1] == nbd.Answer.UNKNOWN
    assert not talk.is_done
    talk.feed(go())
    assert talk.is_done


@pytest.mark.parametrize(("flags", "padding"), [(1, 124), (3, 0)])
def test_the_old_way_in_is_open_too(flags: int, padding: int) -> None:
    """EXPORT_NAME is answered with size and flags, padded where the client did not ask to leave it out."""
    talk = nbd.Handshake(EXPORT)
    answer = talk.feed(struct.pack(">I", flags) + option(nbd.Option.EXPORT_NAME, b"disk"))
    assert answer == struct.pack(">QH", 1 << 30, nbd.WRITING) + bytes(padding)
    assert talk.is_done


def test_holes_are_told_only_after_structured_replies() -> None:
    """The meta context is refused before structured replies are agreed on, and granted after."""
    talk = nbd.Handshake(EXPORT)
    assert (
        answers(talk.feed(FLAGS + contexts(nbd.Option.SET_META_CONTEXT, b"base:allocation")))[0][1] >= 1 << 31
    )
    talk.feed(option(nbd.Option.STRUCTURED_REPLY))
    found = answers(talk.feed(contexts(nbd.Option.SET_META_CONTEXT, b"qemu:x", b"base:allocation")))
    assert found[0][1:] == (nbd.Answer.META_CONTEXT, struct.pack(">I", 1) + b"base:allocation")
    assert talk.wants_status
    talk.feed(contexts(nbd.Option.SET_META_CONTEXT, b"qemu:x"))
    assert not talk.wants_status


def test_unknown_options_are_refused_and_the_talk_goes_on() -> None:
    """TLS and options of later days are answered with 'unsupported'."""
    talk = nbd.Handshake(EXPORT)
    assert [a for _, a, _ in answers(talk.feed(FLAGS + option(5) + option(99, b"data")))] == [0x80000001] * 2
    assert answers(talk.feed(option(nbd.Option.LIST)))[0][2] == struct.pack(">I", 4) + b"disk"
    talk.feed(option(nbd.Option.ABORT))
    assert talk.is_over


@given(st.integers(1, 30))
def test_a_talk_in_crumbs_is_the_same_talk(size: int) -> None:
    """However the bytes come in, the answers are the same."""
    message = FLAGS + option(nbd.Option.STRUCTURED_REPLY) + contexts(nbd.Option.LIST_META_CONTEXT) + go()
    whole, crumbs = nbd.Handshake(EXPORT), nbd.Handshake(EXPORT)
    expected = whole.feed(message)
    assert b"".join(crumbs.feed(message[at : at + size]) for at in range(0, len(message), size)) == expected


@given(st.lists(st.tuples(st.integers(0, 12), st.binary(max_size=40)), max_size=8), st.binary(max_size=20))
def test_whatever_a_client_says_the_talk_stands(options: list[tuple[int, bytes]], tail: bytes) -> None:
    """Any bytes are answered, or end the connection as a protocol error."""
    talk = nbd.Handshake(EXPORT)
    try:
        talk.feed(FLAGS + b"".join(option(number, data) for number, data in options) + tail)
    except nbd.ProtocolError:
        return
    assert len(talk.rest) <= len(tail) + sum(16 + len(data) for _, data in options)


@pytest.mark.parametrize(
    ("request_", "writable", "error"),
    [
        (nbd.Request(0, nbd.Command.READ, 1, (1 << 30) - 512, 512), False, 0),
        (nbd.Request(0, nbd.Command.READ, 1, (1 << 30) - 511, 512), False, 22),
        (nbd.Request(0, nbd.Command.READ, 1, 0, (32 << 20) + 1), False, 75),
        (nbd.Request(0, nbd.Command.WRITE, 1, 0, 512), False, 1),
        (nbd.Request(0, nbd.Command.WRITE, 1, 1 << 30, 512), True, 28),
        (nbd.Request(0, nbd.Command.TRIM, 1, 0, 512), False, 1),
        (nbd.Request(0, nbd.Command.FLUSH, 1, 0, 0), False, 0),
        (nbd.Request(0, 42, 1, 0, 0), True, 22),
    ],
)
def test_requests_that_cannot_be_met_are_refused(request_: nbd.Request, writable: bool, error: int) -> None:
    """What is past the end, too long, or a write to a read-only export has its documented error."""
    can = nbd.WRITING if writable else nbd.READING | nbd.Can.READ_ONLY
    assert nbd.refusal(request_, EXPORT._replace(can=can)) == error
