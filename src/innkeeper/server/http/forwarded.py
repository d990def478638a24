"""The caller behind a trusted proxy: who it was, and by which scheme they came (RFC 7239)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NoReturn, TypeAlias

import structlog
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from innkeeper.errors import ErrorCode, InvalidArgument, ServiceError
from innkeeper.server.http.crowd import Crowd
from innkeeper.server.http.problems import response_of
from innkeeper.server.http.proxies import Network, is_trusted

_log = structlog.get_logger(__name__)

#: Address and scheme of each hop, nearest first; no address for one that hides it.
Hops: TypeAlias = Iterator[tuple[str | None, str]]

#: More proxies in a row than anybody has; what is longer is cut.
_MOST_HOPS: Final = 32
#: A longer line is no proxy's.
_MOST_CHARACTERS: Final = 8192
#: A word of a proxy's. What stands in quotes ends nothing, and may be the caller's (``host``), who writes
#: before it too: no character is tried twice, whatever they are.
_WORD: Final = re.compile(
    r"""\s*+([\w!#$%&'*+.^`|~-]++)\s*+=\s*+(?:"([^"\\]*+(?:\\.[^"\\]*+)*)"|([^\s;,"\\]*+))""", re.ASCII
)
#: What ends a word: ``;`` before the proxy's next one, ``,`` before the next proxy's.
_END: Final = re.compile(r"\s*+([;,]|\Z)")
_SECURE: Final = {"http": "https", "ws": "wss"}


class Forwarded:
    """Middleware: takes a request's caller and scheme from the header that trusted proxies set.

    That is ``X-Forwarded-For`` with ``X-Forwarded-Proto``, or ``Forwarded``, as the service is told: proxies
    set one, and pass the other on as the caller wrote it. Read from the right, where the nearest proxy has
    written: the first address that is no trusted proxy's is the caller's. What cannot be read there is
    refused: else its caller would count as the proxy. What anybody else sends so means nothing.
    """

    def __init__(
        self, app: ASGIApp, proxies: Sequence[Network], crowd: Crowd, header: str = "X-Forwarded-For"
    ) -> None:
        """``header`` is the one that the proxies set, a key of ``HEADERS``; ``crowd`` counts by caller."""
        self._app = app
        self._proxies = proxies
        self._crowd = crowd
        self._header = header
        self._has_warned = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on as its caller's, or answer 503 where they have too many under way.

        Answers 400 where the header is malformed.
        """
        if scope["type"] not in ("http", "websocket") or not is_trusted(self._proxies, _peer(scope)):
            await self._app(scope, receive, send)
            return
        try:
            scope = {**scope, **self._caller(scope)}
        except InvalidArgument as error:
            await response_of(error, status=400)(scope, receive, send)
            return
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
        headers = Headers(scope=scope)
        self._warn_of_another(headers)
        for address, scheme in HEADERS[self._header](headers):
            if scheme == "https":
                found["scheme"] = _SECURE.get(scope["scheme"], scope["scheme"])
            if address is not None:
                found["client"] = (address, 0)
            if address is None or not is_trusted(self._proxies, address):
                break
        return found

    def _warn_of_another(self, headers: Headers) -> None:
        """Warn once where a proxy seems to set the header that is not read: all callers count as one then."""
        other = next((name for name in HEADERS if name != self._header and name in headers), None)
        if other is None or self._header in headers or self._has_warned:
            return
        self._has_warned = True
        _log.warning(
            "callers_not_told_apart",
            found=other,
            setting="proxy_header",
            value=self._header,
            advice=f"Have the proxy set {self._header}, or set proxy_header to the one that it sets.",
        )


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
    addresses = [text.strip() for text in ",".join(headers.getlist("x-forwarded-for")).split(",")]
    scheme = ",".join(headers.getlist("x-forwarded-proto")).rpartition(",")[2].strip().lower()
    if addresses == [""]:
        yield None, scheme
        return
    for text in reversed(addresses[-_MOST_HOPS:]):
        yield _address(text) or _refuse("X-Forwarded-For", text), scheme


def _standard_hops(headers: Headers) -> Hops:
    """Each hop by ``Forwarded``."""
    for line in reversed(headers.getlist("forwarded")[-_MOST_HOPS:]):
        for words in reversed(_elements(line)[-_MOST_HOPS:]):
            yield _node(words.get("for", "unknown")), words.get("proto", "").lower()


def _elements(line: str) -> Sequence[Mapping[str, str]]:
    """The words of each proxy in a line, the first of each name."""
    elements: list[dict[str, str]] = [{}]
    place = 0
    while len(line) <= _MOST_CHARACTERS:
        if (word := _WORD.match(line, place)) is not None:
            name, quoted, plain = word.groups()
            elements[-1].setdefault(name.lower(), plain if quoted is None else quoted)
            place = word.end()
        if (end := _END.match(line, place)) is None:
            break
        if not end[1]:
            return elements
        if end[1] == ",":
            elements.append({})
        place = end.end()
    return _refuse("Forwarded", line)


def _node(text: str) -> str | None:
    """The address of a node; ``None`` for one that is hidden, as ``unknown`` or ``_name``."""
    if text.startswith("_") or text.partition(":")[0].lower() == "unknown":
        return None
    return _address(text) or _refuse("Forwarded", f"for={text}")


def _refuse(header: str, text: str) -> NoReturn:
    raise InvalidArgument(
        f"The header {header} is malformed: “{text[:60]}”.",
        advice="Have the trusted proxy set it, or add its own word to what is well-formed.",
    )


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
