"""Answers go out with no more packets than they take, and none waits for what may come much later."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Sequence
from pathlib import Path

import h11
import httpx
import pytest

from innkeeper.server.http.connections import Connection
from tests.serving import Service

_ASKED = b"GET /v1/machines HTTP/1.1\r\nHost: innkeeper\r\n\r\n"


def _said(method: bytes, headers: Sequence[tuple[bytes, bytes]], pieces: Sequence[bytes]) -> list[bytes]:
    """What is given out for each event of an answer."""
    ours = Connection(h11.SERVER)
    ours.receive_data(method + _ASKED.removeprefix(b"GET"))
    assert [type(ours.next_event()) for _ in range(2)] == [h11.Request, h11.EndOfMessage]
    events: list[h11.Event] = [h11.Response(status_code=200, headers=list(headers))]
    events += [h11.Data(data=piece) for piece in pieces]
    return [ours.send(event) or b"" for event in (*events, h11.EndOfMessage())]


def test_a_short_answer_is_one_piece() -> None:
    """Head and body go out together, and then nothing."""
    first, second, last = _said(b"GET", [(b"Content-Length", b"5")], [b"hello"])
    assert (first, last) == (b"", b"")
    head, _, body = second.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert body == b"hello"


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_no_head_is_lost(method: bytes) -> None:
    """An answer without a body has its head said once, whatever it says of its length."""
    for headers in ([], [(b"content-length", b"0")], [(b"content-length", b"7")]):
        if method == b"GET" and headers == [(b"content-length", b"7")]:
            continue
        assert b"".join(_said(method, headers, [b""])).count(b"HTTP/1.1 200") == 1


def test_a_stream_begins_at_once() -> None:
    """The head of an answer without a length does not wait for the first piece."""
    first, *_ = _said(b"GET", [(b"content-type", b"text/event-stream")], [b"data: 1\n\n"])
    assert first.startswith(b"HTTP/1.1 200")


def test_a_long_list_comes_whole_however_slowly_it_is_read(tmp_path: Path) -> None:
    """In pieces that are the list, while others are answered."""
    inn = Service(tmp_path, machines=600, speed=1)
    with contextlib.ExitStack() as opened:
        opened.callback(inn.end)
        inn.start()
        http = opened.enter_context(inn.http())
        wanted = _settled(http)
        assert len(wanted) > 512 * 1024
        with _asking(inn.socket) as slow:
            assert slow.recv(1000)
            # The slow one has not read its list, and the other is answered before it does.
            assert http.get("/v1/machines/web-1").status_code == 200
        with _asking(inn.socket) as slow:
            got = b""
            while wanted[-100:] not in got:
                got += slow.recv(10_000)
    assert got.partition(b"\r\n\r\n")[2] == wanted


def _settled(http: httpx.Client) -> bytes:
    """The list, as soon as all machines have been looked at: it changes with each of them."""
    deadline, seen = time.monotonic() + 60, b""
    while (now := http.get("/v1/machines").content) != seen:
        assert time.monotonic() < deadline
        seen = now
        time.sleep(2)
    return seen


def _asking(door: Path) -> socket.socket:
    asking = socket.socket(socket.AF_UNIX)
    asking.settimeout(20)
    asking.connect(str(door))
    asking.sendall(_ASKED)
    return asking
