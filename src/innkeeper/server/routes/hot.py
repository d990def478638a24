"""Fast path for frequent reads, which are answered before the request passes the whole application.

FastAPI's routes of the same names describe these (OpenAPI), and call the same functions.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from innkeeper.errors import InnkeeperError
from innkeeper.identity.caller import Caller
from innkeeper.identity.roles import THE_INN, Reach, Role
from innkeeper.machines.asking import may_be_elsewhere
from innkeeper.machines.directory import Wanted
from innkeeper.server.board import AllowedTo, Notice
from innkeeper.server.house import House
from innkeeper.server.http.conditional import is_known, tag_of
from innkeeper.server.http.kept_slashes import with_slashes
from innkeeper.server.http.paging import wrong_place
from innkeeper.server.http.problems import malformed, response_of
from innkeeper.server.identity.needs import Endpoint, allowed, caller_of, guarded, needs
from innkeeper.server.identity.selected import Seen, role_elsewhere, selected
from innkeeper.server.identity.subjects import Kind, house_of, machine_in_path, resource_of, what_they_see
from innkeeper.server.relay.machines import ElsewhereNotice, one_elsewhere, page_of_elsewhere
from innkeeper.server.relay.neighbours import Neighbours
from innkeeper.wire.queries import MachineQuery

_JSON = b"application/json"
_CONDITION = b"if-none-match"
_MACHINES = "/v1/machines"
#: What a connection takes at once, more or less.
_PIECE_BYTES: Final = 256 * 1024


class HotReads:
    """Middleware: answers the reads of machines by itself, with the same answers as the routes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._many = guarded(needs(Role.VIEWER, what_they_see), list_machines)
        self._one = guarded(needs(Role.VIEWER, machine_in_path("name").waiting), get_machine)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass the request on."""
        endpoint = self._endpoint(scope)
        if endpoint is None:
            await self._app(scope, receive, send)
            return
        scope["endpoint"] = endpoint
        await (await _answer(endpoint, Request(scope)))(scope, receive, send)

    def _endpoint(self, scope: Scope) -> Endpoint | None:
        if scope["type"] != "http" or scope["method"] != "GET" or not scope["path"].startswith(_MACHINES):
            return None
        name = scope["path"][len(_MACHINES) :]
        if not name:
            return self._many
        if not name.startswith("/") or "/" in name[1:] or not name[1:] or scope["query_string"]:
            return None
        scope["path_params"] = {"name": with_slashes(name[1:])}
        return self._one


async def _answer(endpoint: Endpoint, request: Request) -> Response:
    try:
        return await endpoint(request)
    except InnkeeperError as refused:
        return response_of(refused)
    except RequestValidationError as refused:
        return malformed(refused)


class Ready(Response):
    """A prepared answer, or 304; sent without looking at each header."""

    def __init__(self, request: Request, body: bytes, tag: str) -> None:
        self.background = None
        headers = [(b"etag", tag.encode()), (b"cache-control", b"no-cache")]
        if is_known(tag, _condition(request)):
            self.status_code, self.body, self.raw_headers = 304, b"", headers
        else:
            headers += [(b"content-type", _JSON), (b"content-length", str(len(body)).encode())]
            self.status_code, self.body, self.raw_headers = 200, body, headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer; a long one in pieces, so that others are answered in between."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        body, sent = self.body, 0
        while len(body) - sent > _PIECE_BYTES:
            piece = body[sent : sent + _PIECE_BYTES]
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            sent += _PIECE_BYTES
        await send({"type": "http.response.body", "body": body[sent:]})


def _condition(request: Request) -> str:
    """Return the ``If-None-Match`` of a request; empty where there is none."""
    return next(
        (value.decode("latin-1") for name, value in request.scope["headers"] if name == _CONDITION), ""
    )


async def get_machine(request: Request) -> Response:
    """One machine."""
    notice = await _one(house_of(request), request.path_params["name"])
    role = caller_of(request).role_on(resource_of(notice.machine))
    return Ready(request, *notice.response(role or Role.VIEWER, _allowed(request)))


async def _one(house: House, name: str) -> Notice | ElsewhereNotice:
    """Return a machine of this server, or one whose owner is away as it was seen last."""
    try:
        return await house.board.one(name)
    except InnkeeperError as error:
        if house.neighbours is None or not may_be_elsewhere(error):
            raise
        known = await one_elsewhere(house.neighbours, name)
        if known is None:
            raise
        return known


async def list_machines(request: Request) -> Response:
    """The machines that the caller may see, and asks for."""
    house, caller, query = house_of(request), caller_of(request), _query(request)
    board, role = house.board, _role_on_each(caller)
    is_alone = house.neighbours is None
    if query == _EVERYTHING and role is not None and is_alone and await board.count() <= query.limit:
        return _whole_list(request, board.version, await board.all(), role)
    notices = await board.behind(None if query.after is None else _key(query.after))
    wanted = _wanted(_seen(notices, caller), query)
    if query.select is not None:
        wanted = await selected(house, wanted, query.select)
    met, page = board.met, list[Seen](itertools.islice(wanted, query.limit + 1))
    if house.neighbours is not None:
        page = sorted([*page, *await _elsewhere(house.neighbours, met, caller, query)], key=_order)
    more = None
    if len(page) > query.limit:
        del page[query.limit :]
        more = _place(page[-1][0])
    return Ready(request, *_as_list(page, more, _allowed(request)))


async def _elsewhere(
    neighbours: Neighbours, met: Collection[str], caller: Caller, query: MachineQuery
) -> Sequence[Seen]:
    """Return what follows on hosts that were not met here, one more than are asked for."""
    return await page_of_elsewhere(
        neighbours,
        Wanted(host=query.host, state=query.state, text=query.text),
        met=met,
        after=None if query.after is None else _key(query.after),
        limit=query.limit + 1,
        role_on=role_elsewhere(caller, query.select),
    )


def _order(seen: Seen) -> tuple[str, str]:
    return seen[0].machine.name, seen[0].machine.host


def _whole_list(request: Request, version: int, notices: Sequence[Notice], role: Role) -> Response:
    """Return the list of every machine, rebuilt only where something has changed."""
    lists: dict[Role, tuple[int, bytes, str]] = request.app.state.machine_lists
    known = lists.get(role)
    if known is None or known[0] != version:
        known = lists[role] = version, *_as_list([(each, role) for each in notices], None, _allowed(request))
    return Ready(request, known[1], known[2])


def _allowed(request: Request) -> AllowedTo:
    return lambda role: allowed(request.app, Kind.MACHINE, role)


def _query(request: Request) -> MachineQuery:
    """Parse the request's query; an invalid one is refused as FastAPI's own routes do."""
    if not request.scope["query_string"]:
        return _EVERYTHING
    try:
        return MachineQuery.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from error


_EVERYTHING = MachineQuery()


def _role_on_each(caller: Caller) -> Role | None:
    """Return the caller's role on every machine, where it is the same on each."""
    grants = (*caller.grants, *(caller.ceiling or ()))
    return caller.role_on(THE_INN) if all(grant.reach is Reach.INN for grant in grants) else None


def _seen(notices: Iterable[Notice], caller: Caller) -> Iterator[Seen]:
    for notice in notices:
        role = caller.role_on(resource_of(notice.machine))
        if role is not None:
            yield notice, role


def _wanted(seen: Iterable[Seen], query: MachineQuery) -> Iterable[Seen]:
    if query.host is not None:
        host = query.host.casefold()
        seen = (each for each in seen if each[0].machine.host.casefold() == host)
    if query.state is not None:
        seen = (each for each in seen if each[0].machine.state is query.state)
    if query.text is not None:
        text = query.text.casefold()
        seen = (each for each in seen if text in each[0].machine.title.casefold())
    return seen


def _place(notice: Notice | ElsewhereNotice) -> str:
    return f"{notice.machine.name}@{notice.machine.host}"


def _key(place: str) -> tuple[str, str]:
    name, at, host = place.rpartition("@")
    if not at:
        raise wrong_place()
    return name, host


def _as_list(page: Iterable[Seen], more: str | None, allowed_to: AllowedTo) -> tuple[bytes, str]:
    """Return the list and its ETag, which is made of the machines' own."""
    message = [notice.response(role, allowed_to) for notice, role in page]
    end = b'],"next_after":' + json.dumps(more).encode() + b"}"
    tag = tag_of("".join([tag for _, tag in message]).encode() + end)
    machines = [body for body, _ in message] or [b""]
    machines[0] = b'{"machines":[' + machines[0]
    machines[-1] += end
    return b",".join(machines), tag  # once copied: that is most of the work
