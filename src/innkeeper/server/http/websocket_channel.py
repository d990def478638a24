"""WebSocket to Unix socket: bytes both ways, each way with its own end."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from fastapi import WebSocket
from starlette.websockets import WebSocketDisconnect

from innkeeper.errors import ErrorCode, InvalidArgument
from innkeeper.wire.channels import END

_DONE = 1000
_PIECE_BYTES = 64 * 1024


async def carry(socket: WebSocket, path: Path) -> None:
    """Connect to the socket and carry bytes in binary messages; an empty one ends that way.

    Ends when both sides have said so, or either has gone.
    """
    try:
        reader, writer = await asyncio.open_unix_connection(str(path), limit=_PIECE_BYTES)
    except OSError as error:
        raise InvalidArgument(
            "The pipe of this channel does not answer.",
            code=ErrorCode.ERROR_PIPE_BUSY,
            advice="See its state: innkeeper channel list",
        ) from error
    await socket.accept()
    to_pipe = asyncio.create_task(_to_pipe(socket, writer))
    from_pipe = asyncio.create_task(_from_pipe(socket, reader))
    try:
        await asyncio.wait((to_pipe, from_pipe), return_when=asyncio.FIRST_COMPLETED)
        # The pipe's end is the end of all; the client's own end still waits for the answer.
        if not from_pipe.done() and to_pipe.result():
            await from_pipe
    finally:
        for way in (to_pipe, from_pipe):
            way.cancel()
        await asyncio.gather(to_pipe, from_pipe, return_exceptions=True)
        writer.close()
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # it may be closed already
            await socket.close(_DONE)


async def _to_pipe(socket: WebSocket, writer: asyncio.StreamWriter) -> bool:
    """Carry the client's bytes to the socket; returns whether the client ended its way in order."""
    try:
        async for data in socket.iter_bytes():
            if data == END:
                writer.write_eof()
                return True
            writer.write(data)
            await writer.drain()
    except (OSError, WebSocketDisconnect, KeyError):  # gone, or a text message
        return False
    return False


async def _from_pipe(socket: WebSocket, reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(OSError, WebSocketDisconnect, RuntimeError):
        while data := await reader.read(_PIECE_BYTES):
            await socket.send_bytes(data)
        await socket.send_bytes(END)
