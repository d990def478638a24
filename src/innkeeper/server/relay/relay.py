"""Requests about what another server looks after go on to that server."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator
from typing import Final, cast

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from innkeeper.errors import InnkeeperError
from innkeeper.identity.caller import Caller
from innkeeper.identity.roles import Resource
from innkeeper.server.http.body_limit import BodyLimit
from innkeeper.server.http.callers import CALLER
from innkeeper.server.http.checked_text import check_json
from innkeeper.server.http.kept_slashes import with_slashes
from innkeeper.server.http.problems import response_of
from innkeeper.server.identity.acts import is_act, tell_refused
from innkeeper.server.identity.needs import Need, caller_of, declared_in, refuse
from innkeeper.server.identity.sessions import refuse_forgery
from innkeeper.server.identity.subjects import Kind, resource_of
from innkeeper.server.relay.gathering import gather
from innkeeper.server.relay.neighbours import Elsewhere, Neighbours
from innkeeper.server.relay.transport import NOT_MINE, NotMine, Unanswered, unanswered
from innkeeper.server.relay.vouching import FROM_PEER

_V1: Final = "/v1"
#: A host may go to another server while its request is on the way: that one is asked too.
_ATTEMPTS: Final = 2


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Route:
    """A route whose requests one server answers, or all together."""

    path: re.Pattern[str]
    methods: frozenset[str]
    need: Need
    route: object


class Relay:
    """Middleware: sends a request on to the server that looks after what it is about.

    Which that is follows from what the route has declared that its requests are about (``Subject.where``).
    The caller has been authenticated here, and their role is checked here and there; the act is audited
    there. A request that a peer has sent on is never sent on again.
    """

    def __init__(self, app: ASGIApp, *, operations: Iterable[BaseRoute], neighbours: Neighbours) -> None:
        """``operations`` are the routes of the interface."""
        self._app = app
        self._neighbours = neighbours
        self._transport = neighbours.transport
        self._routes = tuple(_routes(operations))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, here or to its owner; what is wrong with it is answered here."""
        try:
            await self.raising(scope, receive, send)
        except InnkeeperError as error:
            await _answer(response_of(error), scope, receive, send)

    async def raising(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As a call, raising what is wrong with the request."""
        found = self._route_of(scope)
        if found is None:
            await self._app(scope, receive, send)
            return
        if (gathered := found.need.on.gathered) is not None:
            caller = caller_of(HTTPConnection(scope))
            await gather(self._app, self._neighbours, gathered, caller, scope, receive, send)
            return
        request = await _Request.read(scope, receive)
        check_json(request.body)
        place = await self._place(found, request)
        if place is None:
            await self._app(scope, request.receive, send)
        elif FROM_PEER in scope:
            await _answer(Response(status_code=NOT_MINE), scope, request.receive, send)
        else:
            await self._elsewhere(found, place, request, send)

    def _route_of(self, scope: Scope) -> _Route | None:
        """The route of a request, its parameters in the scope; ``None`` where any server may answer."""
        if scope["type"] not in ("http", "websocket") or not scope["path"].startswith(f"{_V1}/"):
            return None
        method, path = scope.get("method", "WEBSOCKET"), scope["path"][len(_V1) :]
        for each in self._routes:
            if method in each.methods and (match := each.path.match(path)):
                if (
                    each.need.on.gathered is not None
                    and FROM_PEER not in scope
                    and scope.get(CALLER) is not None
                ):
                    return each
                if each.need.on.where is None:
                    return None
                scope["path_params"] = {name: with_slashes(part) for name, part in match.groupdict().items()}
                return each
        return None

    async def _place(self, route: _Route, request: _Request) -> Elsewhere | None:
        assert route.need.on.where is not None  # or it had not been found
        reference = await route.need.on.where(request.connection())
        return None if reference is None else await self._neighbours.find(reference)

    async def _elsewhere(self, route: _Route, place: Elsewhere, request: _Request, send: Send) -> None:
        caller = await self._admitted(route, place, request.connection())
        waits, asked = route.need.on.waits, 0
        while place.answers and asked < _ATTEMPTS and not (waits and self._is_silent(place)):
            asked += 1
            try:
                await self._carry(place, caller, request, send)
                return
            except NotMine:
                self._neighbours.look_again()
                found = await self._place(route, request)
                if found is None:  # it is this server's now
                    await self._app(request.scope, request.receive, send)
                    return
                place = found
            except Unanswered as silence:
                self._neighbours.did_not_answer(silence.server)
                if not waits or (silence.was_sent and request.changes):
                    raise silence.error() from silence
        if waits:
            await self._app(request.scope, request.receive, send)
        elif place.answers:
            assert place.server is not None  # it answers
            raise unanswered(place.server, "it does not look after this any more")
        else:
            raise place.away()

    def _is_silent(self, place: Elsewhere) -> bool:
        return place.server is not None and self._neighbours.is_silent(place.server)

    async def _carry(self, place: Elsewhere, caller: Caller, request: _Request, send: Send) -> None:
        assert place.server is not None  # it answers
        scope = request.scope
        if scope["type"] == "websocket":
            await self._transport.join(place.server, caller, scope, request.receive, send)
        else:
            await self._transport.carry(place.server, caller, scope, request.body, request.rest, send)

    async def _admitted(self, route: _Route, place: Elsewhere, connection: HTTPConnection) -> Caller:
        """Check the caller's role at this door, as the route itself would."""
        need = route.need
        caller = caller_of(connection)
        if connection.scope.get("method") not in ("GET", "HEAD"):
            await refuse_forgery(connection, caller)
        resource = await self._resource(need, place, connection)
        if resource is None or need.role is None:
            return caller
        try:
            refuse(caller, need.role, resource)
        except InnkeeperError as refusal:
            if is_act(connection):
                connection.scope["route"] = route.route
                await tell_refused(connection, caller, resource, refusal)
            raise
        return caller

    @staticmethod
    async def _resource(need: Need, place: Elsewhere, connection: HTTPConnection) -> Resource | None:
        if place.machine is not None:
            asked = await need.on.where(connection) if need.on.where is not None else None
            name = "" if asked is None else asked.name
            return dataclasses.replace(resource_of(place.machine), asked=name)
        return (
            await need.on.find(connection) if need.on.find is not None and need.on.kind is Kind.INN else None
        )


@dataclasses.dataclass(slots=True)
class _Request:
    """A request whose body has been read, and can be read again by whoever answers it."""

    scope: Scope
    body: bytes
    rest: Receive
    _is_given: bool = False

    @classmethod
    async def read(cls, scope: Scope, receive: Receive) -> _Request:
        """Read a request's body, if it has one that may be of use."""
        if scope["type"] == "websocket":
            return cls(scope, b"", receive, _is_given=True)
        pieces = bytearray()

        async def take(_scope: Scope, limited: Receive, _send: Send) -> None:
            while True:
                message = await limited()
                pieces.extend(message.get("body", b""))
                if not message.get("more_body", False):
                    return

        await BodyLimit(take)(scope, receive, _unused)
        return cls(scope, bytes(pieces), receive)

    async def receive(self) -> Message:
        """Give the body as one piece, then what follows it."""
        if self._is_given:
            return await self.rest()
        self._is_given = True
        return {"type": "http.request", "body": self.body, "more_body": False}

    @property
    def changes(self) -> bool:
        """Whether something may be changed by it."""
        return self.scope.get("method") not in ("GET", "HEAD")

    def connection(self) -> HTTPConnection:
        """Return the request as rules look at it; they take nothing away from it."""
        if self.scope["type"] == "websocket":
            return WebSocket(self.scope, self.rest, _unused)
        body = self.body

        async def again() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        return Request(self.scope, again)


async def _unused(message: Message) -> None:
    raise AssertionError("rules answer nothing")


def _routes(operations: Iterable[BaseRoute]) -> Iterator[_Route]:
    for route, need in declared_in(operations):
        pattern = cast("re.Pattern[str] | None", getattr(route, "path_regex", None))
        if need is not None and pattern is not None:
            methods = getattr(route, "methods", None) or {"WEBSOCKET"}
            yield _Route(path=pattern, methods=frozenset(methods), need=need, route=route)


async def _answer(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request, or an attempt at a WebSocket, which Starlette turns into a refusal of it."""
    await response(scope, receive, send)
