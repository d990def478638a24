"""The peer door: HTTP over TLS for the other servers of the inn alone."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Final, cast

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from innkeeper.server.house import House
from innkeeper.server.http.connections import HttpProtocol
from innkeeper.server.http.limited import TIMEOUT_SECONDS, SocketProtocol
from innkeeper.server.http.serving import HttpServer, config
from innkeeper.server.relay.authority import RENEW_SECONDS, Credentials, server_in
from innkeeper.server.relay.vouching import FROM_PEER
from innkeeper.server.remote import Address, listening_on

_log = structlog.get_logger(__name__)

#: A peer that keeps its connection for later does not read, and answers no goodbye.
_GOODBYE_SECONDS: Final = 0.2


class PeerDoorProtocol(HttpProtocol):
    """HTTP from another server, whose id is put into each request's scope."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Read the server's id from its certificate, once a connection."""
        super().connection_made(transport)
        self.app = _from_peer(self.app, transport)


class PeerDoorSocketProtocol(SocketProtocol):
    """WebSockets from another server."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Read the server's id from its certificate, once a connection."""
        super().connection_made(transport)
        self.app = _from_peer(self.app, transport)


def _from_peer(app: object, transport: asyncio.BaseTransport) -> ASGIApp:
    server_id = server_in(transport.get_extra_info("peercert"))
    inner = cast(ASGIApp, app)

    async def from_peer(scope: Scope, receive: Receive, send: Send) -> None:
        scope[FROM_PEER] = server_id
        await inner(scope, receive, send)

    return from_peer


@contextlib.asynccontextmanager
async def peer_door(house: House, app: ASGIApp) -> AsyncIterator[None]:
    """Serve the other servers of the inn, where there can be any, and tell them where."""
    if house.neighbours is None:
        yield
        return
    credentials = house.neighbours.transport.credentials
    address = Address.parse(house.settings.peer_address_to_listen_on)
    listening = await asyncio.to_thread(listening_on, address)
    server = HttpServer(
        config(app, PeerDoorProtocol, PeerDoorSocketProtocol),
        [listening],
        credentials.accepting,
        TIMEOUT_SECONDS,
        goodbye_seconds=_GOODBYE_SECONDS,
    )
    serving = house.loops.start("peer door", server.serve)
    renewing = house.loops.start("certificate of the peer door", lambda: _renew(credentials))
    try:
        seen_as = await house.neighbours.seen_as()
        announced = house.settings.peer_address or _reached_at(address, listening, seen_as)
        await house.neighbours.announce(announced)
        _log.info("peer_door", address=announced)
        yield
    finally:
        renewing.cancel()
        server.should_exit = True
        if not server.started:  # it waits for its next start
            serving.cancel()
        await asyncio.gather(serving, renewing, return_exceptions=True)


async def _renew(credentials: Credentials) -> None:
    """Renew the certificate at once, so that a failure is mended by the next start of this loop."""
    while True:
        await asyncio.to_thread(credentials.renew)
        await asyncio.sleep(RENEW_SECONDS)


def _reached_at(address: Address, listening: socket.socket, seen_as: str) -> str:
    """The address to announce: the one listened on; where that is all addresses, this computer's."""
    port = listening.getsockname()[1]
    is_any = address.host in ("::", "0.0.0.0")  # noqa: S104  compared with, and not bound to
    host = (seen_as or socket.gethostname()) if is_any else address.host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
