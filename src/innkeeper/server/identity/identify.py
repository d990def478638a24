"""Establish who asks, once for each request, before anything else looks at it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from innkeeper.errors import InnkeeperError
from innkeeper.identity.caller import Caller
from innkeeper.server.problems import response_of

#: Where a request's scope names its caller; ``None`` there is somebody unknown at an open door.
CALLER = "innkeeper.caller"

#: Who asks; ``None`` for somebody unknown. Raises ``NotPermitted`` for who may not use the door.
Recognise = Callable[[HTTPConnection], Awaitable[Caller | None]]


class Identify:
    """Middleware: names the caller to all that is behind it, or turns them away with 0x80070005."""

    def __init__(self, app: ASGIApp, recognise: Recognise, *, offers_tickets: bool = False) -> None:
        """``offers_tickets``: who is unknown is told that a Kerberos ticket would do."""
        self._app = app
        self._recognise = recognise
        self._offers_tickets = offers_tickets

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it."""
        if self._offers_tickets and scope["type"] == "http":
            send = _offering(send)
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        try:
            caller = await self._recognise(HTTPConnection(scope))
        except InnkeeperError as refused:
            await _turn_away(refused, scope, receive, send)
            return
        await self._app({**scope, CALLER: caller}, receive, send)


def _offering(send: Send) -> Send:
    """Add the offer to each answer that asks who it is."""

    async def offering(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 401:
            message["headers"] = [*message["headers"], (b"www-authenticate", b"Negotiate")]
        await send(message)

    return offering


async def _turn_away(refused: InnkeeperError, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await response_of(refused)(scope, receive, send)
    else:
        await send({"type": "websocket.close", "code": 1008, "reason": refused.sentence[:120]})
