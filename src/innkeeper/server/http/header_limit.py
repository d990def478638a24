"""Limit on the size of request lines and headers."""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from innkeeper.errors import ErrorCode, InvalidArgument
from innkeeper.server.http.problems import response_of

#: A request's line and headers, all together.
MAX_HEAD_BYTES: Final = 64 * 1024


class HeadLimit:
    """Middleware: refuses line and headers over the limit; h11 checks only those that come in pieces."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 431."""
        if scope["type"] != "http" or _bytes_of(scope) <= MAX_HEAD_BYTES:
            await self._app(scope, receive, send)
            return
        refused = InvalidArgument(
            f"The request's line and headers have more than {MAX_HEAD_BYTES:,} bytes.",
            code=ErrorCode.ERROR_BUFFER_OVERFLOW,
            advice="Send a smaller request.",
        )
        await response_of(refused, status=431)(scope, receive, send)


def _bytes_of(scope: Scope) -> int:
    line = len(scope.get("raw_path") or b"") + len(scope["query_string"])
    return line + sum(len(name) + len(value) for name, value in scope["headers"])
