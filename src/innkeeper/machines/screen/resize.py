"""Ask a display server for another size, as a viewer does (RFB, ``SetDesktopSize``)."""

from __future__ import annotations

import asyncio
import struct

from innkeeper.errors import ErrorCode, HypervisorError
from innkeeper.wire.byte_pipe import BytePipe

_VERSION = b"RFB 003.008\n"
_SECURITY_NONE = 1
_SHARED = b"\x01"
_EXTENDED_DESKTOP_SIZE = -308
_SET_ENCODINGS, _SET_DESKTOP_SIZE = 2, 251
_MAX_NAME_BYTES = 4096
#: A display server answers at once or not at all.
_ANSWER_SECONDS = 10.0


async def ask_for_size(pipe: BytePipe, width: int, height: int) -> None:
    """Ask the display server for a size; whether the guest follows, the screen shows.

    Raises ``HypervisorError`` for a server that speaks no RFB, or wants a password.
    """
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            await _greet(_Reader(pipe), pipe)
            await pipe.write(struct.pack(">BxHi", _SET_ENCODINGS, 1, _EXTENDED_DESKTOP_SIZE))
            screen = struct.pack(">IHHHHI", 0, 0, 0, width, height, 0)
            await pipe.write(struct.pack(">BxHHBx", _SET_DESKTOP_SIZE, width, height, 1) + screen)
    except TimeoutError as error:
        raise _foreign("it did not answer") from error


async def _greet(reader: _Reader, pipe: BytePipe) -> None:
    if not (await reader.take(12)).startswith(b"RFB 003."):
        raise _foreign("it speaks no RFB")
    await pipe.write(_VERSION)
    kinds = await reader.take((await reader.take(1))[0])
    if _SECURITY_NONE not in kinds:
        raise _foreign("it asks for a password")
    await pipe.write(bytes([_SECURITY_NONE]))
    if any(await reader.take(4)):
        raise _foreign("it refused")
    await pipe.write(_SHARED)
    *_, length = struct.unpack(">HH16sI", await reader.take(24))
    if length > _MAX_NAME_BYTES:
        raise _foreign("its name has no end")
    await reader.take(length)


class _Reader:
    """Takes exactly so many bytes from a pipe."""

    def __init__(self, pipe: BytePipe) -> None:
        self._pipe = pipe
        self._buffer = b""

    async def take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            data = await self._pipe.read()
            if not data:
                raise _foreign("it hung up")
            self._buffer += data
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken


def _foreign(why: str) -> HypervisorError:
    return HypervisorError(
        f"The display server cannot be asked for another size: {why}.", code=ErrorCode.ERROR_NOT_SUPPORTED
    )
