"""Names with a slash in addresses: ``/v1/machines/attic%2Fweb-1/start``."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

from starlette.convertors import PathConvertor, StringConvertor, register_url_convertor
from starlette.types import ASGIApp, Receive, Scope, Send

#: Stands for a quoted slash in a path while its route is looked for. No name may hold it.
_STANDS_FOR_SLASH: Final = "\x1f"
_QUOTED: Final = re.compile(rb"%2f", re.IGNORECASE)


class KeptSlashes:
    """Middleware: keeps a quoted slash apart from those that part an address, until its route is found.

    ASGI's path is unquoted already. What a route gives its handler is as the caller meant it again.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        register_url_convertor("str", _Segment())
        register_url_convertor("path", _Rest())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with the path that its routes are looked for by."""
        raw = scope.get("raw_path") or b""
        if b"%2" in raw and _QUOTED.search(raw):
            kept = _QUOTED.sub(_STANDS_FOR_SLASH.encode(), raw.partition(b"?")[0])
            scope = {**scope, "path": unquote(kept.decode("latin-1"))}
        await self._app(scope, receive, send)


def kept(name: str) -> str:
    """A name as one segment of a path that is not quoted."""
    return name.replace("/", _STANDS_FOR_SLASH)


def with_slashes(part: str) -> str:
    """A part of a path as the caller meant it."""
    return part.replace(_STANDS_FOR_SLASH, "/")


class _Segment(StringConvertor):
    """One segment of a path."""

    def convert(self, value: str) -> str:
        return with_slashes(value)


class _Rest(PathConvertor):
    """The rest of a path."""

    def convert(self, value: str) -> str:
        return with_slashes(value)
