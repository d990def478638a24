"""Limits on request bodies: their size, and the time between two pieces."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from innkeeper.errors import ErrorCode, InvalidArgument
from innkeeper.wire.messages import MAX_REQUEST_BYTES

#: Within this the next piece of a body must come: one that drips in holds a place.
_TIMEOUT_SECONDS: Final = 20.0


class BodyLimit:
    """Middleware: refuses a body over the limit before it is read into memory."""

    def __init__(self, app: ASGIApp, timeout_seconds: float = _TIMEOUT_SECONDS) -> None:
        self._app = app
        self._timeout_seconds = timeout_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its body counted."""
        seen, whole = 0, False

        async def counted() -> Message:
            nonlocal seen, whole
            # Whoever has sent their body may wait for the answer as long as they like.
            message = await (receive() if whole else self._in_time(receive))
            whole = not message.get("more_body", False)
            seen += len(message.get("body", b""))
            if seen > MAX_REQUEST_BYTES:
                raise InvalidArgument(
                    f"The request has more than {MAX_REQUEST_BYTES:,} bytes.",
                    code=ErrorCode.ERROR_BUFFER_OVERFLOW,
                    advice="Send a smaller request.",
                )
            return message

        await self._app(scope, counted if scope["type"] == "http" else receive, send)

    async def _in_time(self, receive: Receive) -> Message:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await receive()
        except TimeoutError as error:
            raise InvalidArgument(
                f"The request's body stopped arriving: nothing came for {self._timeout_seconds:.0f} s.",
                code=ErrorCode.ERROR_TIMEOUT,
                advice="Send the request again, without a pause.",
            ) from error
