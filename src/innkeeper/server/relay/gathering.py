"""Lists of all servers: each is asked for its part, side by side, and the parts are put together."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Final

import structlog
from pydantic import TypeAdapter
from starlette.datastructures import QueryParams
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from innkeeper.errors import ServiceError
from innkeeper.identity.caller import Caller
from innkeeper.server.http.paging import PageWanted, by_fields, value_at
from innkeeper.server.relay.neighbours import Neighbours
from innkeeper.server.relay.reference import Gathered
from innkeeper.servers.server import Server
from innkeeper.wire.events import Json
from innkeeper.wire.queries import DEFAULT_LIMIT

_log = structlog.get_logger(__name__)

#: A server that does not answer within this is told of as one that does not.
_TIMEOUT_SECONDS: Final = 5.0
#: The header that names the servers whose part is missing.
MISSING: Final = b"innkeeper-missing-servers"

_OWN_CONDITIONS: Final = frozenset({b"if-none-match", b"if-match", b"accept-encoding"})
_OWN_ANSWER: Final = frozenset({b"etag", b"content-length"})

#: Where an answer names them too, of lists that say so nowhere else.
_MISSING_SERVERS: Final = "missing"

#: Where an answer says where the next page goes on.
_NEXT: Final = "next_after"
_LIMIT: Final = TypeAdapter(int)

Part = Mapping[str, Json]


async def gather(
    app: ASGIApp,
    neighbours: Neighbours,
    gathered: Gathered,
    caller: Caller,
    scope: Scope,
    receive: Receive,
    send: Send,
) -> None:
    """Answer with this server's part and those of the others; what an error says of its own part is told."""
    asked = [
        asyncio.ensure_future(_ask(neighbours, server.id, caller, scope))
        for server in await neighbours.living()
    ]
    try:
        own = _Heard()
        headers = [header for header in scope["headers"] if header[0] not in _OWN_CONDITIONS]
        await app({**scope, "headers": headers}, receive, own)
        if own.status != 200:
            await own.pass_on(send)
            return
        parts = [part for part in await asyncio.gather(*asked) if part is not None]
    finally:
        for each in asked:
            each.cancel()
    missing = await _missing(neighbours, {name for name, _ in parts})
    wanted = _page_of(scope) if gathered.pages_of else PageWanted()
    body = merged(json.loads(own.body), [part for _, part in parts], gathered, wanted)
    if _MISSING_SERVERS in body and wanted.is_first:
        body[_MISSING_SERVERS] = [
            {"server": server.name, "reason": neighbours.why_missing(server)} for server in missing
        ]
    if gathered.list_of_hosts and wanted.is_first:
        told_elsewhere = {name for name, _ in parts} if body.get(_NEXT) is not None else set()
        body = await _with_hosts_of_missing(neighbours, body, told_elsewhere)
    content = json.dumps(body, ensure_ascii=False).encode()
    await own.replaced(content, [server.name for server in missing], send)


def _page_of(scope: Scope) -> PageWanted:
    """Return the page that a request asks for, once the route has found nothing wrong with it."""
    query = QueryParams(scope["query_string"])
    return PageWanted(query.get("after"), _LIMIT.validate_python(query.get("limit", DEFAULT_LIMIT)))


def merged(own: Part, others: Sequence[Part], gathered: Gathered, wanted: PageWanted) -> dict[str, Json]:
    """Put the parts together: lists one behind the other, in their order; all else is this server's.

    Of items that are the same the one with more to say is taken: the owner knows most.
    """
    body = dict(own)
    for name, by in gathered.lists:
        items: dict[tuple[str, ...], Mapping[str, Json]] = {}
        for part in (own, *others):
            for item in _items(part, name):
                key = _key(item, gathered.same or by)
                if key not in items or _weight(item) > _weight(items[key]):
                    items[key] = item
        if name == gathered.pages_of:
            more = any(part.get(_NEXT) is not None for part in (own, *others))
            page = wanted.of(items.values(), by_fields(*by), more=more)
            body[name], body[_NEXT] = [*page.entries], page.next_after
        elif gathered.pages_of and not wanted.is_first:
            body[name] = []
        else:
            body[name] = _sorted(items.values(), by)
    for name in gathered.all_true:
        body[name] = all(bool(part.get(name)) for part in (own, *others))
    return body


def _sorted(items: Iterable[Mapping[str, Json]], by: Sequence[str]) -> list[Json]:
    return [*sorted(items, key=lambda item: _key(item, by))]


def _key(item: Mapping[str, Json], fields: Sequence[str]) -> tuple[str, ...]:
    return by_fields(*fields).place(item)


def _items(part: Part, name: str) -> Sequence[Mapping[str, Json]]:
    found = part.get(name)
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, Sequence) else ()


def _weight(item: Mapping[str, Json]) -> int:
    return sum(bool(value) for value in item.values())


async def _ask(
    neighbours: Neighbours, server_id: str, caller: Caller, scope: Scope
) -> tuple[str, Part] | None:
    server = next(each for each in await neighbours.others() if each.id == server_id)
    try:
        content = await neighbours.transport.ask(
            server, caller, scope["path"], scope["query_string"], timeout_seconds=_TIMEOUT_SECONDS
        )
        part = json.loads(content)
    except (ServiceError, ValueError) as error:
        _log.warning("server.part_missing", server=server.name, path=scope["path"], error=str(error))
        return None
    return (server.name, part) if isinstance(part, Mapping) else None


async def _missing(neighbours: Neighbours, answered: Container[str]) -> Sequence[Server]:
    return [server for server in await neighbours.others() if server.name not in answered]


async def _with_hosts_of_missing(
    neighbours: Neighbours, body: Mapping[str, Json], told_elsewhere: Container[str]
) -> dict[str, Json]:
    """Add the hosts that no server has told of, with the reason; some servers tell theirs on other pages."""
    told = {item.get("id") for name in ("hosts", "away") for item in _items(body, name)}
    away = [*_items(body, "away")]
    for host in await neighbours.hosts_elsewhere():
        if host.host_id in told:
            continue
        care = await neighbours.care_of(host.host_id)
        if care.answers and care.owner is not None and care.owner.name in told_elsewhere:
            continue
        reason = (
            f"{care.reason()} {care.outlook}"
            if not care.answers
            else f"Its server {care.owner.name if care.owner else ''} did not answer in time."
        )
        away.append(
            {
                "name": host.name,
                "uri": host.uri,
                "reason": reason,
                "id": host.host_id,
                "server": "" if care.owner is None else care.owner.name,
                "seen_at": None if host.seen_at is None else host.seen_at.isoformat(),
            }
        )
    return {**body, "away": sorted(away, key=lambda item: str(value_at(item, "name")))}


@dataclasses.dataclass(slots=True)
class _Heard:
    """Collects an answer."""

    start: Message = dataclasses.field(default_factory=dict)
    body: bytes = b""

    async def __call__(self, message: Message) -> None:
        """Collect one more message of the answer."""
        if message["type"] == "http.response.start":
            self.start = message
        else:
            self.body += message.get("body", b"")

    @property
    def status(self) -> int:
        """The answer's status."""
        return int(self.start["status"])

    async def pass_on(self, send: Send) -> None:
        """Send the answer as it came."""
        await send(self.start)
        await send({"type": "http.response.body", "body": self.body})

    async def replaced(self, body: bytes, missing: Sequence[str], send: Send) -> None:
        """Send the answer with another body."""
        headers = [header for header in self.start["headers"] if header[0] not in _OWN_ANSWER]
        headers.append((b"content-length", str(len(body)).encode()))
        if missing:
            headers.append((MISSING, ", ".join(missing).encode()))
        await send({**self.start, "headers": headers})
        await send({"type": "http.response.body", "body": body})
