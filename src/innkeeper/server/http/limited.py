"""Connections with limits: on their number, and on the time that a request's head may take."""

from __future__ import annotations

import asyncio
from typing import Final, cast

import h11
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from innkeeper.server.http.connections import HttpProtocol
from innkeeper.server.http.crowd import Crowd
from innkeeper.server.http.serving import FULL

#: A TLS handshake, and a request's line and headers, must be there within this.
TIMEOUT_SECONDS: Final = 10.0


class LimitedProtocol(HttpProtocol):
    """HTTP from callers of whom each may have a number of connections."""

    crowd: Crowd
    _entered_as: str | None = None
    _deadline: asyncio.TimerHandle | None = None

    def who(self) -> str:
        """Return as whose the connection counts."""
        return self.client[0] if self.client else ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Admit the connection, or answer 503."""
        super().connection_made(transport)
        who = self.who()
        if not self.crowd.enter(who):
            transport.write(FULL)
            transport.close()
            return
        self._entered_as = who
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Read on; a head must be complete in time, however slowly its bytes drip in."""
        if self._entered_as is None:
            return
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._await_head()
        else:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Free the connection's place."""
        self._leave()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand the connection over to the WebSocket protocol, which counts it from now on."""
        self._leave()
        super().handle_websocket_upgrade(event)

    def _await_head(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(TIMEOUT_SECONDS, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _leave(self) -> None:
        self._stop_waiting()
        if self._entered_as is not None:
            self.crowd.leave(self._entered_as)
            self._entered_as = None


class SocketProtocol(WebSocketsSansIOProtocol):
    """WebSockets whose application may refuse them with an HTTP answer."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep uvicorn from taking a refusal for a missing answer."""
        super().connection_made(transport)
        inner = cast(ASGIApp, self.app)

        async def answered(scope: Scope, receive: Receive, send: Send) -> None:
            await inner(scope, receive, send)
            self.handshake_complete = self.handshake_complete or self.initial_response is not None

        self.app = answered


class LimitedSocketProtocol(SocketProtocol):
    """WebSockets of such callers; each counts as the connection that it was before."""

    crowd: Crowd
    _entered_as: str | None = None

    def who(self) -> str:
        """Return as whose the connection counts."""
        return self.client[0] if self.client else ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the place that the connection has just left."""
        super().connection_made(transport)
        who = self.who()
        self._entered_as = who if self.crowd.enter(who) else None

    def connection_lost(self, exc: Exception | None) -> None:
        """Free the connection's place."""
        if self._entered_as is not None:
            self.crowd.leave(self._entered_as)
        super().connection_lost(exc)
