"""The caller behind a trusted proxy: who it was, and by which scheme they came (RFC 7239)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from innkeeper.errors import ErrorCode, ServiceError
from innkeeper.server.http.crowd import Crowd
from innkeeper.server.http.problems import response_of
from innkeeper.server.http.proxies import Network, is_trusted

#: Address and scheme of each hop, nearest first; no address for one that hides it or writes nonsense.
Hops: TypeAlias = Iterator[tuple[str | None, str]]

#: More proxies in a row than anybody has; what is longer is cut.
_MOST_HOPS: Final = 32
_PAIR: Final = re.compile(r'\s*([A-Za-z]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*))\s*')
#: What one proxy has written: a comma within quotes does not end it, and may be the caller's (``host``).
_ELEMENT: Final = re.compile(r'((?:[^",]|"(?:[^"\\]|\\.)*")*)(,|\Z)')
_SECURE: Final = {"http": "https", "ws": "wss"}


class Forwarded:
    """Middleware: takes a request's caller and scheme from the header that trusted proxies set.

    That is ``X-Forwarded-For`` with ``X-Forwarded-Proto``, or ``Forwarded``, as the service is told: proxies
    set one, and pass the other on as the caller wrote it. Read from the right, where the nearest proxy has
    written: the first address that is no trusted proxy's is the caller's. What anybody else sends under these
    names means nothing.
    """

    def __init__(
        self, app: ASGIApp, proxies: Sequence[Network], crowd: Crowd, header: str = "X-Forwarded-For"
    ) -> None:
        """``header`` is the one that the proxies set, a key of ``HEADERS``; ``crowd`` counts by caller."""
        self._app = app
        self._proxies = proxies
        self._crowd = crowd
        self._hops = HEADERS[header]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on as its caller's, or answer 503 where they have too many under way."""
        if scope["type"] not in ("http", "websocket") or not is_trusted(self._proxies, _peer(scope)):
            await self._app(scope, receive, send)
            return
        scope = {**scope, **self._caller(scope)}
        if is_trusted(self._proxies, _peer(scope)):  # it speaks for itself, or hides whom it speaks for
            await self._app(scope, receive, send)
        elif self._crowd.enter(_peer(scope)):
            try:
                await self._app(scope, receive, send)
            finally:
                self._crowd.leave(_peer(scope))
        else:
            await _full()(scope, receive, send)

    def _caller(self, scope: Scope) -> dict[str, object]:
        found: dict[str, object] = {}
        for address, scheme in self._hops(Headers(scope=scope)):
            if scheme == "https":
                found["scheme"] = _SECURE.get(scope["scheme"], scope["scheme"])
            if address is not None:
                found["client"] = (address, 0)
            if address is None or not is_trusted(self._proxies, address):
                break
        return found


def _full() -> Response:
    error = ServiceError(
        "Too many requests from this address are under way.",
        code=ErrorCode.VM_E_OUT_OF_RESOURCE,
        advice="Wait until some have ended.",
    )
    answer = response_of(error)
    answer.headers["Retry-After"] = "5"
    return answer


def _peer(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""


def _old_hops(headers: Headers) -> Hops:
    """Each hop by ``X-Forwarded-For``, and the scheme of the nearest, which is all that proxies write."""
    addresses = ",".join(headers.getlist("x-forwarded-for")).split(",")
    scheme = ",".join(headers.getlist("x-forwarded-proto")).rpartition(",")[2].strip().lower()
    for text in reversed(addresses[-_MOST_HOPS:]):
        yield _address(text.strip()), scheme


def _standard_hops(headers: Headers) -> Hops:
    """Each hop by ``Forwarded``."""
    for line in reversed(headers.getlist("forwarded")[-_MOST_HOPS:]):
        for element in reversed(_elements(line)[-_MOST_HOPS:]):
            pairs = {key.lower(): quoted or plain for key, quoted, plain in _PAIR.findall(element)}
            yield _address(pairs.get("for", "")), pairs.get("proto", "").lower()


def _elements(line: str) -> Sequence[str]:
    """The elements of a line; an empty one in the place of all for a line that is nonsense."""
    elements, end = [], 0
    while (found := _ELEMENT.match(line, end)) is not None:
        elements.append(found[1])
        end = found.end()
        if not found[2]:
            return elements
    return [""]


def _address(text: str) -> str | None:
    """``192.0.2.60``, ``192.0.2.60:4711``, ``[2001:db8::1]`` or ``[2001:db8::1]:4711`` as an address."""
    host = text[1:].partition("]")[0] if text.startswith("[") else text
    if host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return None


#: How the hops are read from the header that proxies set.
HEADERS: Final[Mapping[str, Callable[[Headers], Hops]]] = {
    "X-Forwarded-For": _old_hops,
    "Forwarded": _standard_hops,
}
