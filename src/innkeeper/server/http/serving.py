"""The HTTP server on given sockets, without uvicorn's signal handlers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator, Sequence
from typing import Final, cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from innkeeper.server.http.header_limit import MAX_HEAD_BYTES
from innkeeper.wire.descriptors import Door

#: What a caller is told for whom there is no place.
FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\nRetry-After: 5\r\n\r\n"
)

#: How long requests under way may take to end when the service stops.
_GRACE_SECONDS: Final = 5

#: One message of a WebSocket.
MAX_MESSAGE_BYTES: Final = 1024 * 1024


def config(
    app: ASGIApp, protocol: type[H11Protocol], socket_protocol: type[WebSocketsSansIOProtocol]
) -> uvicorn.Config:
    """Return uvicorn's configuration for an application behind these protocols."""
    return uvicorn.Config(
        app,
        http=protocol,
        ws=socket_protocol,
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )


class HttpServer(uvicorn.Server):
    """uvicorn on given sockets, without its signal handlers, which would end the process too early."""

    def __init__(
        self,
        config: uvicorn.Config,
        listening: Sequence[socket.socket],
        tls: ssl.SSLContext | None = None,
        handshake_seconds: float | None = None,
        *,
        goodbye_seconds: float | None = None,
    ) -> None:
        """A TLS handshake must be done within ``handshake_seconds``, its goodbye within the others."""
        super().__init__(config)
        self._listening = listening
        self._tls = tls
        self._handshake_seconds = handshake_seconds if tls is not None else None
        self._goodbye_seconds = goodbye_seconds if tls is not None else None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening."""
        await self.lifespan.startup()
        loop = asyncio.get_running_loop()
        self.servers = [
            await loop.create_server(
                self._protocol,
                sock=Door(each, b"" if self._tls else FULL),
                ssl=self._tls,
                ssl_handshake_timeout=self._handshake_seconds,
                ssl_shutdown_timeout=self._goodbye_seconds,
            )
            for each in self._listening
        ]
        self.started = True

    def _protocol(self) -> asyncio.Protocol:
        protocol = cast("type[H11Protocol]", self.config.http_protocol_class)
        return protocol(self.config, self.server_state, self.lifespan.state)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the service."""
        yield
