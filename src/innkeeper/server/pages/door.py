"""In-process client of the HTTP API, acting as the visitor of a page.

The pages know nothing that a client could not: they call the same operations, with the rights of the same
caller, and are refused by the same errors. No socket is crossed: the request goes straight to the routes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import quote, urlencode

from pydantic import BaseModel
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Scope

from innkeeper.errors import ErrorCode, ServiceError
from innkeeper.wire.messages import Paged, Problem
from innkeeper.wire.problems import revive

Answer = TypeVar("Answer", bound=BaseModel)
Page = TypeVar("Page", bound=Paged)
Value = str | int | float | bool | None
#: A message, or the fields of one: secrets travel in fields, since messages hide them.
Body = BaseModel | Mapping[str, Value] | None

#: Of the page's own request nothing else concerns the operations.
_CARRIED = {b"host", b"user-agent"}


class Door:
    """The operations of ``/v1``, called as the visitor of one page."""

    def __init__(self, connection: HTTPConnection) -> None:
        self._routes: ASGIApp = connection.app.state.inner_door
        self._scope = connection.scope

    async def get(self, path: str, answer: type[Answer], /, **query: Value) -> Answer:
        """Send a GET. Raises the operation's own error."""
        return answer.model_validate_json(await self._call("GET", path, query, None))

    async def post(self, path: str, answer: type[Answer], body: Body = None) -> Answer:
        """Send a POST. Raises the operation's own error."""
        return answer.model_validate_json(await self._call("POST", path, {}, body))

    async def put(self, path: str, answer: type[Answer], body: Body) -> Answer:
        """Send a PUT. Raises the operation's own error."""
        return answer.model_validate_json(await self._call("PUT", path, {}, body))

    async def patch(self, path: str, answer: type[Answer], body: Body) -> Answer:
        """Send a PATCH. Raises the operation's own error."""
        return answer.model_validate_json(await self._call("PATCH", path, {}, body))

    async def delete(self, path: str, /, **query: Value) -> None:
        """Send a DELETE. Raises the operation's own error."""
        await self._call("DELETE", path, query, None)

    async def _call(self, method: str, path: str, query: Mapping[str, Value], body: Body) -> bytes:
        exchange = _Exchange(_encoded(body))
        await self._routes(self._request(method, path, query), exchange.receive, exchange.send)
        if exchange.status >= 400 and exchange.answer:
            # Of another server, which could not raise it here.
            raise revive(Problem.model_validate_json(bytes(exchange.answer)))
        if exchange.status >= 400:
            raise ServiceError(
                f"{method} {path} answered {exchange.status}.",
                code=ErrorCode.E_UNEXPECTED,
                advice="The service's log says why.",
            )
        return bytes(exchange.answer) or b"{}"

    def _request(self, method: str, path: str, query: Mapping[str, Value]) -> Scope:
        given = {name: _text(value) for name, value in query.items() if value is not None}
        headers = [(name, value) for name, value in self._scope["headers"] if name in _CARRIED]
        return {
            **self._scope,
            "type": "http",
            "method": method,
            "path": "/v1" + path,
            "raw_path": quote("/v1" + path).encode(),
            "query_string": urlencode(given).encode(),
            "headers": [*headers, (b"content-type", b"application/json")],
            "path_params": {},
            # Nobody on the way turns an error into an answer: it comes out here as it was raised.
            "starlette.exception_handlers": ({}, {}),
            "state": {},
        }


async def whole(door: Door, path: str, answer: type[Page], /, **query: Value) -> Page:
    """Send a GET for each page of a list; returns all pages as one. Raises the operation's own error."""
    pages: list[Page] = []
    after: str | None = None
    while not pages or after is not None:
        pages.append(await door.get(path, answer, **query, after=after))
        after = pages[-1].next_after
    return answer.joined(pages)


class _Exchange:
    """One request and its collected answer."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.status = 0
        self.answer = bytearray()

    async def receive(self) -> Message:
        return {"type": "http.request", "body": self._body, "more_body": False}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif message["type"] == "http.response.body":
            self.answer += message.get("body", b"")


def _encoded(body: Body) -> bytes:
    if body is None:
        return b""
    return body.model_dump_json().encode() if isinstance(body, BaseModel) else json.dumps(body).encode()


def _text(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
