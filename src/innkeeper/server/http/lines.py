"""Answer with a whole list, one JSON object a line, to whoever asks for ``application/x-ndjson``.

Lists come in pages. For such a caller the service turns the pages itself, and holds one of them at a time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from innkeeper.errors import ServiceError

MEDIA_TYPE: Final = "application/x-ndjson"
_JSON: Final = "application/json"

Query = list[tuple[str, str]]

#: Before the name of a query's parameter, in the answer: where the next page begins.
_NEXT: Final = "next_"
#: What the whole list is not about: a page's own.
_NOT_ASKED: Final = frozenset({b"accept", b"accept-encoding", b"if-none-match"})


class Lines:
    """Middleware: turns the pages of a list into lines."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and the following ones for what is left of the list."""
        if scope["type"] != "http" or scope["method"] != "GET" or not _asks_for_lines(scope):
            await self._app(scope, receive, send)
            return
        query = parse_qsl(scope["query_string"].decode(), keep_blank_values=True)
        page = await self._read(scope, receive, query, send)
        if page is None:
            return
        await send(page.head)
        while (place := page.next) and "limit" not in dict(query):
            await _send_lines(send, page, more=True)
            query = [(key, value) for key, value in query if key not in place] + [*place.items()]
            page = await self._read(scope, receive, query, None)
            if page is None:
                # Nothing can be taken back: a list that is cut off is to look like one.
                raise ServiceError(f"{scope['path']} could not be read to its end.")
        await _send_lines(send, page, more=False)

    async def _read(self, scope: Scope, receive: Receive, query: Query, send: Send | None) -> _Page | None:
        """Read one page. An answer of another kind is sent as it is."""
        answer = _Answer(send)
        await self._app(_asking(scope, query), _bodiless(receive), answer)
        return await answer.page()


class _Page:
    """One page of a list."""

    def __init__(self, head: Message, items: list[object], place: Mapping[str, str]) -> None:
        self._head = head
        self.items = items
        #: What the query of the next page has; nothing after the last one.
        self.next = place

    @property
    def head(self) -> Message:
        """The head of the whole list."""
        headers = MutableHeaders(raw=list(self._head["headers"]))
        headers["Content-Type"] = MEDIA_TYPE
        for name in ("Content-Length", "ETag"):
            del headers[name]
        return {**self._head, "headers": headers.raw}


class _Answer:
    """One answer: kept where it is JSON, and passed on at once where it is not."""

    def __init__(self, send: Send | None) -> None:
        self._send = send
        self._head: Message | None = None
        self._body = bytearray()

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _is_json(message):
            self._head = message
        elif self._head is not None and message["type"] == "http.response.body":
            self._body += message.get("body", b"")
        elif self._send is not None:
            await self._send(message)

    async def page(self) -> _Page | None:
        """Return the page of a list that it is; ``None`` once another answer has been sent."""
        if self._head is None:
            return None
        answer = json.loads(self._body)
        fields = answer if isinstance(answer, dict) else {}
        place = {key.removeprefix(_NEXT): value for key, value in fields.items() if key.startswith(_NEXT)}
        (items, *others) = [value for key, value in fields.items() if not key.startswith(_NEXT)] or [None]
        if isinstance(items, list) and not others:
            given = {key: str(value) for key, value in place.items() if value is not None}
            return _Page(self._head, items, given)
        if self._send is not None:
            await self._send(self._head)
            await self._send({"type": "http.response.body", "body": bytes(self._body)})
        return None


async def _send_lines(send: Send, page: _Page, *, more: bool) -> None:
    lines = [json.dumps(each, separators=(",", ":"), ensure_ascii=False) for each in page.items]
    text = "".join([line + "\n" for line in lines])
    await send({"type": "http.response.body", "body": text.encode(), "more_body": more})


def _bodiless(receive: Receive) -> Receive:
    """Give an empty body to each page, and after it what really comes: that the caller has gone."""
    pending: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def received() -> Message:
        return pending.pop() if pending else await receive()

    return received


def _asking(scope: Scope, query: Query) -> Scope:
    headers = [(name, value) for name, value in scope["headers"] if name not in _NOT_ASKED]
    return {
        **scope,
        "query_string": urlencode(query).encode(),
        "headers": [*headers, (b"accept", _JSON.encode()), (b"accept-encoding", b"identity")],
        "state": dict(scope.get("state", {})),
    }


def _asks_for_lines(scope: Scope) -> bool:
    return MEDIA_TYPE in Headers(scope=scope).get("accept", "")


def _is_json(head: Message) -> bool:
    kind = Headers(raw=head["headers"]).get("content-type", "")
    return head["status"] == 200 and kind.startswith(_JSON)
