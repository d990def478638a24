"""Middleware that authenticates each request once, before anything else looks at it."""

from __future__ import annotations

from typing import Final, Protocol

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from innkeeper.errors import InnkeeperError, ServiceError
from innkeeper.identity.caller import Caller
from innkeeper.server.http.callers import CALLER
from innkeeper.server.http.problems import response_of
from innkeeper.server.identity.session_revocation import LOOK_SECONDS, RevocableRequest, Revocations
from innkeeper.server.relay.vouching import drop_vouching

#: Probes ask nobody who they are, and are answered while nobody can be looked up.
_ASK_NOBODY: Final = frozenset({"/livez", "/readyz"})


class Recognition(Protocol):
    """The authentication of callers."""

    async def caller(self, connection: HTTPConnection) -> Caller | None:
        """Who asks; ``None`` for somebody unknown. Raises ``NotPermitted`` for who may not use the door."""

    async def caller_now(self, connection: HTTPConnection, caller: Caller) -> Caller | None:
        """What a caller whose request goes on is now; ``None`` where they are nobody any more."""


class Identify:
    """Middleware: attaches the caller to the request, or refuses it with 0x80070005."""

    def __init__(
        self,
        app: ASGIApp,
        gate: Recognition,
        *,
        revocations: Revocations,
        offers_tickets: bool = False,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        """``offers_tickets`` offers Kerberos to unknown callers.

        At each of ``revocations``, and every ``look_seconds``, a request that goes on is ended where its
        caller is nobody any more, or has other roles.
        """
        self._revocations = revocations
        self._look_seconds = look_seconds
        self._app = app
        self._gate = gate
        self._offers_tickets = offers_tickets

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its caller, or refuse it."""
        if self._offers_tickets and scope["type"] == "http":
            send = _offering(send)
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        drop_vouching(scope)
        if scope["path"] in _ASK_NOBODY:
            scope[CALLER] = None
            await self._app(scope, receive, send)
            return
        try:
            caller = await self._gate.caller(HTTPConnection(scope))
        except InnkeeperError as refused:
            await _turn_away(refused, scope, receive, send)
            return
        scope[CALLER] = caller
        if caller is None:
            await self._app(scope, receive, send)
            return
        visit = RevocableRequest(lambda: self._is_still(scope, caller), self._revocations, self._look_seconds)
        await visit.run(self._app, scope, receive, send)

    async def _is_still(self, scope: Scope, caller: Caller) -> bool:
        """Whether the caller's proof is still valid, with the same roles."""
        try:
            now = await self._gate.caller_now(HTTPConnection(scope), caller)
        except ServiceError:  # a realm that is away ends nothing
            return True
        except InnkeeperError:
            return False
        return now is not None and (now.person, now.grants) == (caller.person, caller.grants)


def _offering(send: Send) -> Send:
    """Return a ``send`` that adds the Kerberos offer to answers with status 401."""

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
