"""Compress long answers for callers who come over a network.

What carries a secret is marked ``no-store`` and is never compressed: whoever puts texts of their own beside a
secret could read it off the length (BREACH). Pages compress themselves (``pages/rendering.py``).
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Iterator
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Shorter answers fit into a packet as they are.
_LEAST_BYTES: Final = 1_400
#: The quickest: JSON that says the same of many machines shrinks to a tenth at any level.
_LEVEL: Final = 1
#: A longer piece is compressed in a thread, so that others are answered meanwhile.
_LONG_BYTES: Final = 32 * 1024
#: What goes to the thread, and to the caller, at once.
_PIECE_BYTES: Final = 256 * 1024
_GZIP: Final = 16 + zlib.MAX_WBITS
_LINES: Final = "application/x-ndjson"
_KINDS: Final = frozenset(
    {"application/json", "application/problem+json", _LINES, "application/xml", "text/xml", "text/plain"}
)


class Compression:
    """Middleware: sends JSON and text as gzip to whoever takes it."""

    def __init__(self, app: ASGIApp, is_near: Callable[[Scope], bool]) -> None:
        """``is_near`` says of a request that it came over no network."""
        self._app = app
        self._is_near = is_near

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and compress its answer."""
        if scope["type"] != "http" or scope["method"] == "HEAD" or self._is_near(scope):
            await self._app(scope, receive, send)
            return
        takes = takes_gzip(Headers(scope=scope).get("accept-encoding", ""))
        await self._app(scope, receive, _Answer(send, takes_gzip=takes))


class _Answer:
    """One answer on its way."""

    def __init__(self, send: Send, *, takes_gzip: bool) -> None:
        self._send = send
        self._takes_gzip = takes_gzip
        #: The head, while it is not known yet whether the body is long enough.
        self._head: Message | None = None
        self._gzip: zlib._Compress | None = None
        self._is_lines = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _is_compressible(message):
            await self._hold(message)
        elif message["type"] == "http.response.body" and self._head is not None:
            await self._begin(self._head, message)
        elif message["type"] == "http.response.body" and self._gzip is not None:
            await self._squeeze(self._gzip, message)
        else:
            await self._send(message)

    async def _hold(self, head: Message) -> None:
        MutableHeaders(scope=head).add_vary_header("Accept-Encoding")
        if self._takes_gzip:
            self._head = head
        else:
            await self._send(head)

    async def _begin(self, head: Message, body: Message) -> None:
        """Send the head once the first piece of the body says whether compressing pays."""
        self._head = None
        headers = MutableHeaders(scope=head)
        if not body.get("more_body", False) and len(body.get("body", b"")) < _LEAST_BYTES:
            await self._send(head)
            await self._send(body)
            return
        self._is_lines = _kind(headers) == _LINES
        self._gzip = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        headers["Content-Encoding"] = "gzip"
        del headers["Content-Length"]
        await self._send(head)
        await self._squeeze(self._gzip, body)

    async def _squeeze(self, gzip: zlib._Compress, body: Message) -> None:
        more = body.get("more_body", False)
        for piece in _pieces(body.get("body", b"")):
            await self._send_some(await _compressed(gzip, piece), more=True)
        if not more:
            await self._send_some(gzip.flush(), more=False)
        elif self._is_lines:  # each line is to arrive when it is written
            await self._send_some(gzip.flush(zlib.Z_SYNC_FLUSH), more=True)

    async def _send_some(self, data: bytes, *, more: bool) -> None:
        if data or not more:
            await self._send({"type": "http.response.body", "body": data, "more_body": more})


def takes_gzip(accept_encoding: str) -> bool:
    """Whether a caller takes gzip, by its ``Accept-Encoding`` (RFC 9110, 12.5.3)."""
    asked = dict(_codings(accept_encoding.lower()))
    return asked.get("gzip", asked.get("*", False))


def _codings(accept_encoding: str) -> Iterator[tuple[str, bool]]:
    """Yield each coding, and whether it is taken."""
    for each in accept_encoding.split(","):
        coding, _, parameters = each.partition(";")
        weight = parameters.replace(" ", "").removeprefix("q=")
        yield coding.strip(), weight.strip("0.") != "" or not weight


def _is_compressible(head: Message) -> bool:
    headers = Headers(raw=head["headers"])
    length = headers.get("content-length")
    return (
        _kind(headers) in _KINDS
        and head["status"] not in (204, 206, 304)
        and "content-encoding" not in headers
        and "no-store" not in headers.get("cache-control", "")
        and (length is None or int(length) >= _LEAST_BYTES)
    )


def _kind(headers: Headers) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _pieces(body: bytes) -> Iterator[bytes]:
    for place in range(0, len(body), _PIECE_BYTES):
        yield body[place : place + _PIECE_BYTES]


async def _compressed(gzip: zlib._Compress, piece: bytes) -> bytes:
    if len(piece) < _LONG_BYTES:
        return gzip.compress(piece)
    return await asyncio.to_thread(gzip.compress, piece)
