"""Answers name a machine plainly whose namesakes are hidden from their reader, and stay as they are else."""

from __future__ import annotations

import pytest
from starlette.types import Message

from innkeeper.server.http.plain_names import PlainNames

_NAMES = {"attic/web-1": "web-1", "attic/büro": "büro"}


async def _sent(kind: str, *pieces: bytes, status: int = 200) -> list[Message]:
    """What comes out of an answer of these pieces."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    plain = PlainNames(send, _NAMES)
    headers = [(b"content-type", kind.encode()), (b"content-length", str(sum(map(len, pieces))).encode())]
    await plain({"type": "http.response.start", "status": status, "headers": headers})
    for number, piece in enumerate(pieces, 1):
        await plain({"type": "http.response.body", "body": piece, "more_body": number < len(pieces)})
    return sent


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"title":"attic/web-1"}', '{"title":"web-1"}'),
        ("The machine attic/web-1 is off. So is attic/büro.", "The machine web-1 is off. So is büro."),
        ('<a href="/machines/attic%2Fweb-1/card">', '<a href="/machines/web-1/card">'),
        ("/data/attic/web-1.qcow2 attic/web-1.qcow2", "/data/attic/web-1.qcow2 attic/web-1.qcow2"),
        ("attic/web-10 attic/web-1-b big-attic/web-1", "attic/web-10 attic/web-1-b big-attic/web-1"),
    ],
)
async def test_whole_names_are_plain_and_others_stay(text: str, told: str) -> None:
    """In texts, in addresses and in sentences; paths of files and longer names are others."""
    start, body = await _sent("text/html; charset=utf-8", text.encode())
    assert body["body"].decode() == told
    assert dict(start["headers"])[b"content-length"] == str(len(told.encode())).encode()


async def test_a_name_may_lie_in_two_pieces() -> None:
    """The answer is sent when it is whole."""
    _, body = await _sent("application/json", b'{"title":"attic/', b'web-1"}')
    assert body["body"] == b'{"title":"web-1"}'


async def test_a_stream_goes_on_piece_by_piece() -> None:
    """Each is sent as it comes."""
    sent = await _sent("text/event-stream", b'data: {"subject":"attic/web-1"}\n\n', b"data: {}\n\n")
    assert [each.get("body") for each in sent[1:]] == [b'data: {"subject":"web-1"}\n\n', b"data: {}\n\n"]


async def test_what_is_no_text_stays_as_it_is() -> None:
    """A disk's bytes, and an answer without a body."""
    sent = await _sent("application/octet-stream", b"attic/web-1")
    assert sent[1]["body"] == b"attic/web-1"
    start, body = await _sent("application/json", b"", status=304)
    assert (dict(start["headers"])[b"content-length"], body["body"]) == (b"0", b"")
