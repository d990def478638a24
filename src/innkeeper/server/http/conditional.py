"""Conditional requests: an unchanged answer is not sent again, a changed one is not overwritten."""

from __future__ import annotations

import asyncio
import hashlib
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from innkeeper.errors import AlreadyThere, ChangedMeanwhile, InnkeeperError
from innkeeper.server.http.problems import response_of

_CHANGES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class ConditionalRequests:
    """Middleware: adds an ``ETag`` to JSON, and honours ``If-None-Match`` and ``If-Match`` (RFC 9110).

    A request that changes something with ``If-Match`` is carried out only where a GET of the same address
    answers with that tag, one with ``If-None-Match`` only where it does not (with ``*``, where nothing is
    there); those with a condition on one address take turns. What other servers may change too is compared
    again by its route, in the statement that writes it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._turns: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on where its condition holds."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if scope["method"] == "GET":
            await self._app(scope, receive, _Tagging(send, headers.get("if-none-match", "")))
        elif scope["method"] in _CHANGES and ("if-match" in headers or "if-none-match" in headers):
            await self._change(scope, receive, send, headers)
        else:
            await self._app(scope, receive, send)

    async def _change(self, scope: Scope, receive: Receive, send: Send, headers: Headers) -> None:
        async with self._turn(scope["path"]):
            refusal = _refusal(await self._hear(scope), headers, scope["path"])
            if refusal is None:
                await self._app(scope, receive, send)
                return
        await response_of(refusal)(scope, receive, send)

    @asynccontextmanager
    async def _turn(self, path: str) -> AsyncIterator[None]:
        lock = self._turns.setdefault(path, asyncio.Lock())
        async with lock:
            yield

    async def _hear(self, scope: Scope) -> _Heard:
        """Return what a GET of this address would be answered now, without a condition."""
        heard = _Heard()
        others = (b"content-", b"if-")
        headers = [(name, value) for name, value in scope["headers"] if not name.startswith(others)]
        asked = {**scope, "method": "GET", "headers": headers, "state": dict(scope.get("state", {}))}
        await self._app(asked, _no_body, _Tagging(heard, ""))
        return heard


class _Tagging:
    """Sends an answer with its ETag, or status 304 in its place."""

    def __init__(self, send: Send, known: str) -> None:
        self._send = send
        self._known = known
        self._start: Message | None = None

    async def __call__(self, message: Message) -> None:
        """Hold back the head of a JSON answer until its body, which comes in one piece, is there."""
        if message["type"] == "http.response.start" and _may_be_tagged(message):
            self._start = message
        elif self._start is not None and message["type"] == "http.response.body":
            start, self._start = self._start, None
            await self._send_tagged(start, message)
        else:
            await self._send(message)

    async def _send_tagged(self, start: Message, body: Message) -> None:
        headers = MutableHeaders(scope=start)
        if "etag" not in headers and not body.get("more_body", False):
            headers["ETag"] = tag_of(body.get("body", b""))
        headers.setdefault("Cache-Control", "no-cache")
        if is_known(headers.get("etag", ""), self._known):
            start["status"] = 304
            del headers["content-length"]
            del headers["content-type"]
            body = {"type": "http.response.body", "body": b""}
        await self._send(start)
        await self._send(body)


class _Heard:
    """Records the ETag of an answer and drops the rest."""

    def __init__(self) -> None:
        self.tag = ""
        self.is_there = False

    async def __call__(self, message: Message) -> None:
        """Record the ETag of a successful answer."""
        if message["type"] == "http.response.start" and message["status"] == 200:
            self.is_there = True
            self.tag = Headers(raw=message["headers"]).get("etag", "")


def _refusal(heard: _Heard, conditions: Headers, path: str) -> InnkeeperError | None:
    """Return why a request with these conditions is not carried out; ``None`` where they hold."""
    wanted, unwanted = conditions.get("if-match"), conditions.get("if-none-match", "")
    if wanted is not None and not (heard.tag and is_known(heard.tag, wanted)):
        return ChangedMeanwhile(path)
    return AlreadyThere(path) if heard.is_there and is_known(heard.tag, unwanted) else None


def tag_of(body: bytes) -> str:
    """Return the ETag of an answer with these bytes."""
    return f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'


def is_known(tag: str, if_none_match: str) -> bool:
    """Whether the caller already has the answer with this ETag."""
    known = _tags(if_none_match) if if_none_match else ()
    return tag in known or "*" in known


def _may_be_tagged(start: Message) -> bool:
    headers = Headers(raw=start["headers"])
    is_json = headers.get("content-type", "").startswith("application/json")
    return start["status"] == 200 and (is_json or "etag" in headers)


def _tags(header: str) -> frozenset[str]:
    """Return the ETags of a condition; weak ones count as strong, as a GET may compare them."""
    return frozenset(tag.strip().removeprefix("W/") for tag in header.split(",") if tag.strip())


async def _no_body() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}
