"""WebSocket to a guest's pipe: bytes both ways until one of them ends."""

from __future__ import annotations

import contextlib
from urllib.parse import urlsplit

from fastapi import WebSocket
from starlette.websockets import WebSocketDisconnect

from innkeeper.errors import InnkeeperError, NotPermitted
from innkeeper.tasks.waiting import first_of
from innkeeper.wire.byte_pipe import BytePipe

#: Close codes: all went well, and the other side went away.
_DONE = 1000
_PIECE_BYTES = 64 * 1024


def expect_same_origin(socket: WebSocket) -> None:
    """Raise ``NotPermitted`` for a page of another site, which a browser would let open WebSockets."""
    origin = socket.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != socket.headers.get("host"):
        raise NotPermitted(
            f"A page of {origin[:200]} may not open this connection.",
            advice="Open it from the service's own pages.",
        )


async def join(socket: WebSocket, pipe: BytePipe) -> None:
    """Carry bytes both ways, in binary messages; closes both."""
    protocol = "binary" if "binary" in socket.scope.get("subprotocols", ()) else None
    await socket.accept(subprotocol=protocol)
    try:
        await first_of(_to_guest(socket, pipe), _from_guest(socket, pipe))
    finally:
        await pipe.close()
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # it may be closed already
            await socket.close(_DONE)


async def _to_guest(socket: WebSocket, pipe: BytePipe) -> None:
    with contextlib.suppress(WebSocketDisconnect, InnkeeperError, OSError):
        async for data in socket.iter_bytes():
            await pipe.write(data)


async def _from_guest(socket: WebSocket, pipe: BytePipe) -> None:
    with contextlib.suppress(WebSocketDisconnect, InnkeeperError, OSError, RuntimeError):
        while data := await pipe.read():
            for start in range(0, len(data), _PIECE_BYTES):
                await socket.send_bytes(data[start : start + _PIECE_BYTES])
