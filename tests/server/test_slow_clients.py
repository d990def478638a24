"""Clients that stop in the middle: put out in time, and the others are served."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time

import pytest
from starlette.types import Message, Receive, Scope, Send
from websockets.sync.client import unix_connect

from innkeeper.errors import ErrorCode, InvalidArgument
from innkeeper.server.http.body_limit import BodyLimit
from innkeeper.server.http.crowd import Crowd
from innkeeper.server.http.limited import TIMEOUT_SECONDS
from tests.serving import Service


async def test_a_body_that_stops_coming_is_given_up() -> None:
    """With the documented identifier; what had come is dropped."""
    pieces = [{"type": "http.request", "body": b"{", "more_body": True}]

    async def receive() -> Message:
        if not pieces:
            await asyncio.Event().wait()
        return pieces.pop()

    async def read_all(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body", False):
            pass

    async def send(message: Message) -> None:
        raise AssertionError("nothing is answered here")

    with pytest.raises(InvalidArgument) as late:
        await BodyLimit(read_all, timeout_seconds=0.05)({"type": "http"}, receive, send)
    assert late.value.code is ErrorCode.ERROR_TIMEOUT


def test_a_handshake_that_is_not_made_is_given_up(own_service: Service) -> None:
    """Whoever connects to the TLS door and says nothing is hung up on."""
    settings = own_service.directory / "inn.toml"
    settings.write_text("tls = true\n")
    own_service.listen()
    own_service.add_arguments("--config", str(settings))
    own_service.start()
    host, _, port = own_service.url.removeprefix("https://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=TIMEOUT_SECONDS + 120) as silent:
        with own_service.connect() as inn:
            assert inn.health().ok
        assert silent.recv(1) == b""


def test_a_head_that_drips_in_at_the_local_door_is_given_up(own_service: Service) -> None:
    """As at every door; others are served meanwhile."""
    own_service.start()
    with socket.socket(socket.AF_UNIX) as slow, own_service.http() as http:
        slow.connect(str(own_service.socket))
        slow.settimeout(0.5)
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            slow.sendall(b"GET /livez HTTP/1.1\r\n")
            while time.monotonic() - began < TIMEOUT_SECONDS + 120:
                assert http.get("/livez").status_code == 200
                slow.sendall(b"X")
                with contextlib.suppress(TimeoutError):
                    assert slow.recv(1) == b""
                    break
        assert time.monotonic() - began < TIMEOUT_SECONDS + 120


def test_one_user_has_a_limited_number_of_connections_at_the_local_door(own_service: Service) -> None:
    """WebSockets among them; whoever goes frees a place."""
    settings = own_service.directory / "inn.toml"
    settings.write_text("max_connections_from_one = 4\n")
    own_service.add_arguments("--config", str(settings))
    own_service.start()
    with contextlib.ExitStack() as held:
        for _ in range(3):
            held.enter_context(_connected(own_service))
        held.enter_context(unix_connect(str(own_service.socket), "ws://innkeeper/v1/machines/web-1/console"))
        with _connected(own_service) as one_more:
            assert one_more.recv(100).startswith(b"HTTP/1.1 503")
    deadline = time.monotonic() + 20
    with own_service.http() as http:
        while http.get("/livez").status_code == 503:
            assert time.monotonic() < deadline, "whoever has gone still takes a place"


def _connected(service: Service) -> socket.socket:
    connected = socket.socket(socket.AF_UNIX)
    connected.settimeout(20)
    connected.connect(str(service.socket))
    return connected


def test_rulers_find_places_however_many_others_are_in() -> None:
    """Up to the limit of each."""
    crowd = Crowd(most=3, most_from_one=2, rulers={"uid 0"})
    assert [crowd.enter(who) for who in ("uid 7", "uid 7", "uid 7", "uid 8", "uid 9")] == [
        True,
        True,
        False,
        True,
        False,
    ]
    assert [crowd.enter("uid 0") for _ in range(3)] == [True, True, False]


def test_a_browser_under_another_name_is_turned_away(service: Service) -> None:
    """A page of another site cannot use the local door by a name that leads to it."""
    with service.http() as http:
        foreign = {"Host": "evil.example:8080", "Origin": "http://evil.example:8080"}
        refused = http.get("/v1/machines", headers=foreign)
        assert (refused.status_code, refused.json()["hresult"]) == (401, 0x80070005)
        here = {"Host": "localhost:8080", "Origin": "http://localhost:8080"}
        assert http.get("/v1/machines", headers=here).status_code == 200


def test_a_read_under_another_name_is_turned_away_without_a_browsers_marks(service: Service) -> None:
    """Reads of one origin carry no ``Origin``, and old browsers send nothing else that tells them."""
    with service.http() as http:
        refused = http.get("/v1/machines", headers={"Host": "evil.example:8080"})
        assert (refused.status_code, refused.json()["hresult"]) == (401, 0x80070005)
        for name in ("localhost", "127.0.0.1:8080", "[::1]:8080", "innkeeper"):
            assert http.get("/v1/machines", headers={"Host": name}).status_code == 200
