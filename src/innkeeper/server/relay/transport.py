"""Requests to other servers at their peer doors: HTTP and WebSockets over TLS."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Final

import httpx
from starlette.types import Message, Receive, Scope, Send
from websockets.asyncio.client import ClientConnection, connect
from websockets.datastructures import Headers as SocketHeaders
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from innkeeper.errors import ErrorCode, ServiceError
from innkeeper.identity.caller import Caller
from innkeeper.server.http.serving import MAX_MESSAGE_BYTES
from innkeeper.server.relay.authority import Credentials, name_of
from innkeeper.server.relay.vouching import HEADER, vouch
from innkeeper.servers.server import Server
from innkeeper.tasks.waiting import first_of
from innkeeper.wire.events import Json

Headers = Sequence[tuple[bytes, bytes]]

#: The status with which a server says that it does not look after what was asked for.
NOT_MINE: Final = 421

#: The header that names the server that has answered in this one's place.
ANSWERED_BY: Final = b"innkeeper-server"

_CONNECT_SECONDS: Final = 5.0
#: Longer than the pause between two signs of life of an event stream, and than any call waits for a guest.
_SILENCE_SECONDS: Final = 300.0
#: What concerns one connection alone, and what proves the caller at the first door: it ends there.
_NOT_CARRIED: Final = frozenset(
    {
        *(b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"host"),
        *(b"proxy-authenticate", b"proxy-authorization", b"content-length", b"expect"),
        *(b"authorization", b"cookie", b"x-csrf-token", b"origin", b"referer", HEADER),
        *(b"forwarded", b"x-forwarded-for", b"x-forwarded-proto"),
        *(b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest", b"sec-fetch-user"),
        *(b"sec-websocket-key", b"sec-websocket-version", b"sec-websocket-extensions"),
        b"sec-websocket-protocol",
    }
)
_NOT_BROUGHT_BACK: Final = frozenset({b"connection", b"keep-alive", b"transfer-encoding", b"date", b"server"})


class NotMine(Exception):
    """The server that was asked does not look after what was asked for."""


class Unanswered(Exception):
    """The server that was asked did not answer."""

    def __init__(self, server: Server, why: object, *, was_sent: bool) -> None:
        super().__init__(_in_words(why))
        self.server = server
        #: Whether it may have been heard, and even be done.
        self.was_sent = was_sent

    def error(self) -> ServiceError:
        """Return the error for whoever has asked."""
        return unanswered(self.server, self)


class Transport:
    """Carries requests to other servers."""

    def __init__(self, credentials: Credentials) -> None:
        self.credentials = credentials
        self._http = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(
                verify=credentials.calling,
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
            ),
            timeout=httpx.Timeout(_SILENCE_SECONDS, connect=_CONNECT_SECONDS),
            # An answer is brought back as it is: compressed only where the caller asked for it.
            headers={"accept-encoding": "identity"},
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def carry(
        self, server: Server, caller: Caller, scope: Scope, body: bytes, receive: Receive, send: Send
    ) -> None:
        """Carry an HTTP request to the server, and its answer back as it comes; ends when the client goes.

        Raises ``NotMine`` or ``Unanswered`` before anything is sent back.
        """
        async with self._asked(server, caller, scope, body) as answer:
            await first_of(_bring_back(server, answer, send), _gone(receive))

    async def ask(
        self, server: Server, caller: Caller, path: str, query: bytes, *, timeout_seconds: float
    ) -> bytes:
        """Ask with a GET, and return the answer's JSON. Raises ``ServiceError``."""
        scope = {"method": "GET", "raw_path": path.encode(), "query_string": query, "headers": []}
        try:
            async with asyncio.timeout(timeout_seconds), self._asked(server, caller, scope, b"") as answer:
                content = await answer.aread()
        except (TimeoutError, NotMine, Unanswered, httpx.HTTPError) as error:
            raise unanswered(server, error) from error
        if answer.status_code != 200:
            raise unanswered(server, f"it answered {answer.status_code}")
        return content

    async def act(
        self, server: Server, caller: Caller, method: str, path: str, message: Json = None
    ) -> tuple[int, bytes]:
        """Make one request in the caller's name; returns the answer's status and JSON.

        Raises ``NotMine`` or ``Unanswered``.
        """
        scope = {
            "method": method,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(b"content-type", b"application/json")],
        }
        body = b"" if message is None else json.dumps(message).encode()
        async with self._asked(server, caller, scope, body) as answer:
            try:
                return answer.status_code, await answer.aread()
            except httpx.HTTPError as error:
                raise Unanswered(server, error, was_sent=True) from error

    @contextlib.asynccontextmanager
    async def _asked(
        self, server: Server, caller: Caller, scope: Scope, body: bytes
    ) -> AsyncIterator[httpx.Response]:
        url = httpx.URL(f"https://{server.address}", raw_path=_target(scope))
        request = self._http.build_request(
            scope["method"],
            url,
            headers=[(b"host", b"innkeeper"), *_carried(scope, caller)],
            content=body,
            extensions={"sni_hostname": name_of(server.id)},
        )
        try:
            answer = await self._http.send(request, stream=True)
        except httpx.HTTPError as error:
            is_unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
            raise Unanswered(server, error, was_sent=not is_unsent) from error
        try:
            if answer.status_code == NOT_MINE:
                raise NotMine
            yield answer
        finally:
            await answer.aclose()

    async def join(self, server: Server, caller: Caller, scope: Scope, receive: Receive, send: Send) -> None:
        """Join a client's WebSocket with one to the server; raises as ``carry``."""
        await receive()  # its request to connect
        try:
            there = await self._connected(server, caller, scope)
        except InvalidStatus as refused:
            if refused.response.status_code == NOT_MINE:
                raise NotMine from refused
            await _refuse(refused, send)
            return
        except (OSError, TimeoutError, InvalidHandshake) as error:
            raise Unanswered(server, error, was_sent=True) from error
        async with contextlib.AsyncExitStack() as closing:
            closing.push_async_callback(there.close)
            await send({"type": "websocket.accept", "subprotocol": there.subprotocol})
            await first_of(_forth(receive, there), _back(there, send))

    async def _connected(self, server: Server, caller: Caller, scope: Scope) -> ClientConnection:
        host, _, port = server.address.rpartition(":")
        headers = SocketHeaders()
        for name, value in _carried(scope, caller):
            headers[name.decode("latin-1")] = value.decode("latin-1")
        return await connect(
            f"wss://innkeeper{_target(scope).decode('latin-1')}",
            host=host.strip("[]"),
            port=int(port),
            ssl=self.credentials.calling,
            server_hostname=name_of(server.id),
            additional_headers=headers,
            subprotocols=[Subprotocol(each) for each in scope.get("subprotocols", ())] or None,
            compression=None,
            max_size=MAX_MESSAGE_BYTES,
            open_timeout=_CONNECT_SECONDS,
            user_agent_header=None,
            proxy=None,
        )


def unanswered(server: Server, why: object) -> ServiceError:
    """Return the error for a server that lives by its own word, and does not answer."""
    return ServiceError(
        f"The server {server.name} at {server.address} did not answer this one: {_in_words(why)}.",
        code=ErrorCode.ERROR_ONLY_IF_CONNECTED,
        advice="See that its peer door can be reached from here (the settings peer_listen and peer_address).",
    )


def _in_words(why: object) -> str:
    """Why a server did not answer, for people."""
    text = str(why) or type(why).__name__
    if isinstance(why, (httpx.TimeoutException, TimeoutError)):
        return "nothing came from it in time"
    is_about_certificates = isinstance(why, ssl.SSLError) or "ssl" in text.casefold()
    if isinstance(why, (httpx.ConnectError, OSError)) and not is_about_certificates:
        return "no connection to it could be made"
    if isinstance(why, (httpx.NetworkError, httpx.RemoteProtocolError)):
        return "the connection to it broke off"
    return text


def _target(scope: Scope) -> bytes:
    path = bytes(scope.get("raw_path") or scope["path"].encode())
    query = bytes(scope.get("query_string", b""))
    return path.partition(b"?")[0] + (b"?" + query if query else b"")


def _carried(scope: Scope, caller: Caller) -> Iterable[tuple[bytes, bytes]]:
    yield HEADER, vouch(caller)
    for name, value in scope["headers"]:
        if name not in _NOT_CARRIED:
            yield name, value


async def _bring_back(server: Server, answer: httpx.Response, send: Send) -> None:
    headers = [(name.lower(), value) for name, value in answer.headers.raw]
    kept = [(name, value) for name, value in headers if name not in _NOT_BROUGHT_BACK]
    kept.append((ANSWERED_BY, server.name.encode()))
    await send({"type": "http.response.start", "status": answer.status_code, "headers": kept})
    try:
        async for piece in answer.aiter_raw():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    except httpx.HTTPError:
        return  # what was cut short there is cut short here: an end in good order would be a lie
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Receive) -> None:
    """Return when the client has gone; its whole request was read before."""
    if (await receive())["type"] != "http.disconnect":
        await asyncio.Event().wait()


async def _refuse(refused: InvalidStatus, send: Send) -> None:
    """Pass the server's refusal of a WebSocket on to the client."""
    answer = refused.response
    headers = [(name.lower().encode(), value.encode()) for name, value in answer.headers.raw_items()]
    kept = [(name, value) for name, value in headers if name not in _NOT_BROUGHT_BACK]
    head: Message = {"status": answer.status_code, "headers": kept}
    await send({"type": "websocket.http.response.start", **head})
    await send({"type": "websocket.http.response.body", "body": answer.body or b"", "more_body": False})


async def _forth(receive: Receive, there: ClientConnection) -> None:
    """Carry the client's messages to the server."""
    while (message := await receive())["type"] == "websocket.receive":
        data = message.get("bytes")
        with contextlib.suppress(ConnectionClosed):
            await there.send(message["text"] if data is None else data)
    await there.close(_sendable(message.get("code")))


async def _back(there: ClientConnection, send: Send) -> None:
    """Carry the server's messages to the client, and its end."""
    with contextlib.suppress(ConnectionClosed):
        async for data in there:
            await send({"type": "websocket.send", "text" if isinstance(data, str) else "bytes": data})
    await send(
        {"type": "websocket.close", "code": _sendable(there.close_code), "reason": there.close_reason or ""}
    )


def _sendable(code: int | None) -> int:
    """The close code to pass on; those that only tell of a missing one are never sent."""
    if code in (None, 1005):
        return 1000
    return 1011 if code in (1006, 1015) else code or 1000
