"""Refuse the NUL character in paths and queries: it is in no name, and PostgreSQL takes no text with it."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from starlette.types import ASGIApp, Receive, Scope, Send

from innkeeper.errors import ErrorCode, InvalidArgument
from innkeeper.server.http.problems import response_of


class NoNul:
    """Middleware: refuses a request with a NUL character in its path or its query."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] not in ("http", "websocket") or not _has_nul(scope):
            await self._app(scope, receive, send)
            return
        refused = InvalidArgument(
            "The request's path or query holds a NUL character, which is in no name.",
            code=ErrorCode.ERROR_INVALID_NAME,
            advice="Leave out %00.",
        )
        await response_of(refused)(scope, receive, send)


def _has_nul(scope: Scope) -> bool:
    query = scope["query_string"]
    return "\0" in scope["path"] or ((b"%00" in query or b"\0" in query) and b"\0" in unquote_to_bytes(query))
