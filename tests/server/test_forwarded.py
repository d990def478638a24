"""Callers behind proxies: told from one another where the proxy is trusted, and nobody else is believed."""

from __future__ import annotations

import asyncio
import collections
import json
import time
from typing import get_args, get_type_hints

import pytest
from starlette.types import Message, Receive, Scope, Send
from structlog.testing import capture_logs

from innkeeper.errors import InvalidArgument
from innkeeper.server.http.crowd import Crowd
from innkeeper.server.http.forwarded import HEADERS, Forwarded
from innkeeper.server.http.proxies import is_trusted, proxies_of
from innkeeper.server.settings import Settings

_PROXIES = proxies_of(["192.0.2.10", "10.1.0.0/24", "2001:db8::/64"])


_OLD, _NEW = "X-Forwarded-For", "Forwarded"


class _Door:
    """What stands behind it sees the requests that it lets through."""

    def __init__(self, header: str = _OLD) -> None:
        self.seen: list[Scope] = []
        self.answers: list[Message] = []
        self._door = Forwarded(self._inside, _PROXIES, Crowd(most=9, most_from_one=9), header)

    async def ask(self, headers: list[tuple[str, str]], peer: str = "192.0.2.10") -> None:
        raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
        scope = {"type": "http", "scheme": "http", "client": (peer, 1), "headers": raw}
        await self._door(scope, None, self._send)  # type: ignore[arg-type]  # nobody receives

    async def _inside(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.seen.append(scope)

    async def _send(self, message: Message) -> None:
        self.answers.append(message)


async def _seen(
    headers: list[tuple[str, str]], peer: str = "192.0.2.10", header: str = _OLD
) -> tuple[str, str]:
    door = _Door(header)
    await door.ask(headers, peer)
    return door.seen[0]["client"][0], door.seen[0]["scheme"]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], ("192.0.2.10", "http")),
        ([("Forwarded", "for=198.51.100.7")], ("198.51.100.7", "http")),
        ([("Forwarded", "for=198.51.100.7;proto=https;host=inn")], ("198.51.100.7", "https")),
        ([("Forwarded", 'FOR="[2001:DB8:1::7]:4711";Proto=HTTPS')], ("2001:db8:1::7", "https")),
        # What the caller wrote before the proxy did is not believed.
        ([("Forwarded", "for=203.0.113.1"), ("Forwarded", "for=198.51.100.7")], ("198.51.100.7", "http")),
        ([("Forwarded", "for=203.0.113.1, for=198.51.100.7;proto=https")], ("198.51.100.7", "https")),
        # A chain of trusted ones.
        ([("Forwarded", "for=198.51.100.7, for=10.1.0.9;proto=https")], ("198.51.100.7", "https")),
        ([("Forwarded", "for=_hidden")], ("192.0.2.10", "http")),
        ([("Forwarded", "for=unknown;proto=https")], ("192.0.2.10", "https")),
        ([("Forwarded", "for=_hidden:4711, for=10.1.0.9")], ("10.1.0.9", "http")),
        ([("Forwarded", ";;,,")], ("192.0.2.10", "http")),
        ([("Forwarded", ";, ;for=198.51.100.7;;proto=https;")], ("198.51.100.7", "https")),
        # A word counts once, as its proxy wrote it before what it took from the caller.
        ([("Forwarded", "for=198.51.100.7;host=a;for=203.0.113.1")], ("198.51.100.7", "http")),
        ([("Forwarded", "for=198.51.100.7;proto=http;host=a;proto=https")], ("198.51.100.7", "http")),
        # A host name is the caller's own, and a proxy quotes it.
        ([("Forwarded", 'for=198.51.100.7;host="x,for=203.0.113.1"')], ("198.51.100.7", "http")),
        ([("Forwarded", 'for=198.51.100.7;host="x;for=203.0.113.1"')], ("198.51.100.7", "http")),
        ([("Forwarded", 'for=198.51.100.7;host="\\",for=203.0.113.1"')], ("198.51.100.7", "http")),
        ([("Forwarded", 'for="'), ("Forwarded", "for=198.51.100.7")], ("198.51.100.7", "http")),
    ],
)
async def test_a_trusted_proxy_says_whose_request_it_is(
    headers: list[tuple[str, str]], expected: tuple[str, str]
) -> None:
    """By the standard header, the nearest hop first."""
    assert await _seen(headers, header=_NEW) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], ("192.0.2.10", "http")),
        ([("X-Forwarded-For", "203.0.113.1, 198.51.100.7")], ("198.51.100.7", "http")),
        ([("X-Forwarded-For", "203.0.113.1"), ("X-Forwarded-For", "198.51.100.7")], ("198.51.100.7", "http")),
        ([("X-Forwarded-For", "198.51.100.7"), ("X-Forwarded-Proto", "https")], ("198.51.100.7", "https")),
        ([("X-Forwarded-For", "198.51.100.7, 10.1.0.9")], ("198.51.100.7", "http")),
        ([("X-Forwarded-For", "")], ("192.0.2.10", "http")),
        ([("X-Forwarded-For", "\xff, 198.51.100.7")], ("198.51.100.7", "http")),
        # The nearest has written last, in a line of its own or not.
        ([("X-Forwarded-Proto", "https"), ("X-Forwarded-Proto", "http")], ("192.0.2.10", "http")),
        ([("X-Forwarded-Proto", "https, http")], ("192.0.2.10", "http")),
    ],
)
async def test_most_proxies_say_so_by_the_older_headers(
    headers: list[tuple[str, str]], expected: tuple[str, str]
) -> None:
    """Which are read unless the settings name the other."""
    assert await _seen(headers) == expected


@pytest.mark.parametrize(
    ("header", "text"),
    [
        (_NEW, '", for=198.51.100.7'),
        (_NEW, 'for=203.0.113.1, for=", for=198.51.100.7'),
        (_NEW, ";;==,,"),
        (_NEW, "nonsense, for=198.51.100.7"),
        (_NEW, "for=somebody"),
        (_NEW, "for="),
        # What the caller writes turns what the proxy quotes inside out.
        (_NEW, 'host=", for=198.51.100.7;host=",for=203.0.113.1;x=\\""'),
        (_NEW, "x=" + "y" * 9000 + ", for=198.51.100.7"),
        (_OLD, "\xff"),
        (_OLD, "203.0.113.1, unknown"),
        (_OLD, "203.0.113.1,"),
        (_OLD, "203.0.113.1, nonsense, 10.1.0.9"),
    ],
)
async def test_what_cannot_be_read_is_refused(header: str, text: str) -> None:
    """Else its caller would be taken for the proxy, which no limit holds."""
    door = _Door(header)
    await door.ask([(header, text)])
    assert not door.seen
    start, body = door.answers
    assert start["status"] == 400
    problem = json.loads(body["body"])
    assert (problem["status"], problem["error"]) == (400, "InvalidArgument")
    assert f"The header {header} is malformed" in problem["detail"]
    await door.ask([(header, text)], peer="203.0.113.5")
    assert door.seen[0]["client"][0] == "203.0.113.5"


@pytest.mark.parametrize(
    "text",
    ["y" * 60_000, " " * 60_000, "=" + " " * 60_000 + '"', 'a="' + "\\" * 59_000, 'a="b"' * 12_000],
    ids=["letters", "spaces", "spaces before a quote", "backslashes", "quotes"],
)
async def test_a_long_header_costs_little(text: str) -> None:
    """Whatever the caller writes: it is read once, and in pieces under the limit too."""
    began = time.process_time()
    for line in (text, *(text[start : start + 8000] for start in range(0, 60_000, 8000))):
        await _Door(_NEW).ask([(_NEW, line)])
        await _Door(_OLD).ask([(_OLD, line)])
    assert time.process_time() - began < 2


async def test_a_proxy_that_sets_the_other_header_is_told_of_once() -> None:
    """All callers have one address then, and nothing else shows it."""
    for header, other in ((_OLD, _NEW), (_NEW, _OLD)):
        door, word = _Door(header), {_OLD: "198.51.100.7", _NEW: "for=198.51.100.7"}
        with capture_logs() as logs:
            await door.ask([])
            await door.ask([(other, word[other])], peer="203.0.113.5")
            await door.ask([(_OLD, word[_OLD]), (_NEW, word[_NEW])])
            assert not logs
            for _ in range(2):
                await door.ask([(other, word[other])])
        assert [(each["log_level"], each["setting"], each["found"]) for each in logs] == [
            ("warning", "proxy_header", other)
        ]


async def test_a_caller_does_not_choose_their_own_address() -> None:
    """By the header that the proxy does not set, and passes on as the caller wrote it."""
    forged = ("Forwarded", "for=203.0.113.1;proto=https")
    assert await _seen([forged, ("X-Forwarded-For", "198.51.100.7")]) == ("198.51.100.7", "http")
    assert await _seen([forged]) == ("192.0.2.10", "http")
    older = [("X-Forwarded-For", "203.0.113.1"), ("X-Forwarded-Proto", "https")]
    assert await _seen([*older, ("Forwarded", "for=198.51.100.7")], header=_NEW) == ("198.51.100.7", "http")
    assert await _seen(older, header=_NEW) == ("192.0.2.10", "http")


def test_each_header_that_the_settings_name_is_read() -> None:
    """And no other is."""
    assert set(get_args(get_type_hints(Settings)["proxy_header"])) == set(HEADERS)


async def test_nobody_else_is_believed() -> None:
    """A caller who sends the header themselves stays who they are."""
    headers = [("Forwarded", "for=198.51.100.7;proto=https"), ("X-Forwarded-For", "198.51.100.7")]
    for header in HEADERS:
        assert await _seen(headers, peer="203.0.113.5", header=header) == ("203.0.113.5", "http")


async def test_one_caller_behind_a_proxy_takes_no_more_places_than_one_before_it() -> None:
    """Their requests under way count, WebSockets among them; others are served, and ended ones forgotten."""
    go_on, statuses = asyncio.Event(), collections.Counter[tuple[str, object]]()

    async def inside(scope: Scope, receive: Receive, send: Send) -> None:
        await go_on.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})

    door = Forwarded(inside, _PROXIES, Crowd(most=100, most_from_one=3))

    async def ask(caller: str, kind: str = "http") -> None:
        async def send(message: Message) -> None:
            if "status" in message:
                statuses[caller, message["status"]] += 1

        scope: Scope = {"type": kind, "scheme": "http", "client": ("192.0.2.10", 1), "path": "/"}
        scope["extensions"] = {"websocket.http.response": {}}
        scope["headers"] = [(b"x-forwarded-for", caller.encode())]
        await door(scope, None, send)  # type: ignore[arg-type]  # nobody receives

    many = [asyncio.create_task(ask("198.51.100.7", kind)) for kind in ("websocket", *["http"] * 4)]
    other = asyncio.create_task(ask("203.0.113.1"))
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(*many, other)
    await ask("198.51.100.7")
    assert statuses == {("198.51.100.7", 503): 2, ("198.51.100.7", 200): 4, ("203.0.113.1", 200): 1}


def test_proxies_are_addresses_and_networks() -> None:
    """IPv4 by its IPv6 spelling too."""
    assert is_trusted(_PROXIES, "::ffff:192.0.2.10")
    assert is_trusted(_PROXIES, "2001:db8::5")
    assert not is_trusted(_PROXIES, "192.0.2.11")
    assert not is_trusted(_PROXIES, "")
    with pytest.raises(InvalidArgument, match="trusted_proxies"):
        proxies_of(["proxy.example"])
