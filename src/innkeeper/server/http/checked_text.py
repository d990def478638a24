"""Refuse what is no text in what is asked: halves of characters, bytes that are no UTF-8, the NUL character.

No name has them; files, databases and answers cannot take them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote_to_bytes

from starlette.types import ASGIApp, Receive, Scope, Send

from innkeeper.errors import ErrorCode, InvalidArgument
from innkeeper.server.http.problems import response_of
from innkeeper.wire.text import is_unicode

#: Fields that hold a text and name nothing: the documents have another identifier for a bad one.
_TEXTS: Final = frozenset({"value", "text", "notes", "description"})
#: A line of a header has no control character but the tab (RFC 9110, 5.5).
_NO_HEADER: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")

#: Bytes without which no text of a body of JSON holds a NUL, or half of a character.
_SUSPECT: Final = re.compile(rb"\0|\\u(?:0000|[dD][89a-fA-F])")
#: What may hold a text: of numbers a body can have hundreds of thousands.
_NESTED: Final = (str, dict, list)

_NUL: Final = "a NUL character, which is in no name and no text"
_HALF: Final = "half of a character (a lone surrogate), which is no Unicode text"
_BYTES: Final = "bytes that are no UTF-8"
_CONTROL: Final = "a control character"


class CheckedText:
    """Middleware: refuses a request whose path, query or headers are no text."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        refused = _refusal(scope) if scope["type"] in ("http", "websocket") else None
        if refused is None:
            await self._app(scope, receive, send)
            return
        await response_of(refused)(scope, receive, send)


def check_json(body: bytes) -> None:
    r"""Raise ``InvalidArgument`` for a body of JSON in which a text, or a field's name, is no text.

    ``\\u0000`` and ``\\ud800`` are none of it: those are a backslash, and a word.
    """
    if _SUSPECT.search(body) is None and _is_utf8(body):
        return
    try:
        value = json.loads(body)  # as routes read it: halves of characters pass
    except (ValueError, RecursionError):  # whoever reads it says so
        return
    for field, text in _texts(value):
        if (fault := _fault(text)) is not None:
            raise _refused("body", fault, is_text=field in _TEXTS)


def check_form(values: Iterable[object]) -> None:
    """Raise ``InvalidArgument`` for a form in which a value is no text."""
    for value in values:
        if isinstance(value, str) and (fault := _fault(value)) is not None:
            raise _refused("form", fault)


def _texts(value: object) -> Iterable[tuple[str, str]]:
    """List the texts of a JSON value, each with the name of its field; those names are texts themselves."""
    left = [("", value)]
    while left:  # and no recursion: a body may be deeper than our stack
        field, each = left.pop()
        if isinstance(each, str):
            yield field, each
        elif isinstance(each, dict):
            left += [("", name) for name in each]
            left += [(str(name), part) for name, part in each.items() if isinstance(part, _NESTED)]
        elif isinstance(each, list):
            left += [(field, part) for part in each if isinstance(part, _NESTED)]


def _fault(text: str) -> str | None:
    if "\0" in text:
        return _NUL
    return None if is_unicode(text) else _HALF


def _refusal(scope: Scope) -> InvalidArgument | None:
    """Return why the head of a request is refused; ``None`` where it is not."""
    for part in (scope.get("raw_path") or b"", scope["query_string"]):
        if b"%" in part or b"\0" in part or not part.isascii():
            plain = unquote_to_bytes(part)
            if b"\0" in plain:
                return _refused("path or query", _NUL)
            if not _is_utf8(plain):
                return _refused("path or query", _BYTES)
    if any(_NO_HEADER.search(value) for _, value in scope["headers"]):
        return _refused("headers", _CONTROL, is_text=True)
    return None


def _refused(where: str, what: str, *, is_text: bool = False) -> InvalidArgument:
    return InvalidArgument(
        f"The request's {where} {'hold' if where == 'headers' else 'holds'} {what}.",
        code=ErrorCode.E_INVALIDARG if is_text else ErrorCode.ERROR_INVALID_NAME,
        advice="Send Unicode text without it.",
    )


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
