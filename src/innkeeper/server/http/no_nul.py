"""Refuse the NUL character in what is asked: it is in no name, and PostgreSQL takes no text with it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from starlette.types import ASGIApp, Receive, Scope, Send

from innkeeper.errors import ErrorCode, InvalidArgument
from innkeeper.server.http.problems import response_of

#: Fields that hold a text and name nothing: the documents have another identifier for a bad one.
_TEXTS = frozenset({"value", "text", "notes", "description"})


class NoNul:
    """Middleware: refuses a request with a NUL character in its path or its query."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] not in ("http", "websocket") or not _has_nul(scope):
            await self._app(scope, receive, send)
            return
        await response_of(_refused("path or query", "%00"))(scope, receive, send)


def refuse_nul_in_json(body: bytes) -> None:
    r"""Raise ``InvalidArgument`` for a body of JSON with a NUL character in a text or in a name of a field.

    ``\\u0000`` is none: that is a backslash, and a word.
    """
    if b"u0000" not in body and b"\0" not in body:
        return
    try:
        where = _nul_in(json.loads(body))
    except (ValueError, RecursionError):  # whoever reads it says so
        return
    if where is not None:
        raise _refused("body", r"\u0000", is_text=where in _TEXTS)


def _nul_in(value: object, key: str = "") -> str | None:
    """Return the name of the field whose text has a NUL character; ``None`` where there is none."""
    if isinstance(value, str):
        return key if "\0" in value else None
    if isinstance(value, dict):
        inside = [*((each, "") for each in value), *((part, str(each)) for each, part in value.items())]
    elif isinstance(value, list):
        inside = [(each, key) for each in value]
    else:
        return None
    found = (_nul_in(each, within) for each, within in inside)
    return next((where for where in found if where is not None), None)


def refuse_nul_in_form(values: Iterable[object]) -> None:
    """Raise ``InvalidArgument`` for a form with a NUL character in a text."""
    if any(isinstance(value, str) and "\0" in value for value in values):
        raise _refused("form", "it")


def _refused(where: str, what: str, *, is_text: bool = False) -> InvalidArgument:
    return InvalidArgument(
        f"The request's {where} holds a NUL character, which is in no name and no text.",
        code=ErrorCode.E_INVALIDARG if is_text else ErrorCode.ERROR_INVALID_NAME,
        advice=f"Leave out {what}.",
    )


def _has_nul(scope: Scope) -> bool:
    query = scope["query_string"]
    return "\0" in scope["path"] or ((b"%00" in query or b"\0" in query) and b"\0" in unquote_to_bytes(query))
