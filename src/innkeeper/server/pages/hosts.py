"""The page of hosts, and of the servers that look after them."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from innkeeper.errors import ErrorCode, InvalidArgument
from innkeeper.server.pages.door import Door, whole
from innkeeper.server.pages.forms import read_form
from innkeeper.server.pages.rendering import answer, is_fragment, show
from innkeeper.server.pages.visitor import visitor_of
from innkeeper.wire.events import EventGroup
from innkeeper.wire.host import HostList
from innkeeper.wire.servers import RetireRequest, ServerList, ServerMessage
from innkeeper.wire.states import ServerState

#: How often the page is read again: no event tells of a server that has died.
LOOK_SECONDS: Final = 10


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Act:
    """What an administrator may do with a server."""

    verb: str
    label: str
    icon: str
    #: What it does, in sentences.
    what: str

    @property
    def operation(self) -> str:
        """The operation of the interface that it takes."""
        return f"{self.verb}_server"


ACTS: Final = {
    act.verb: act
    for act in (
        Act(
            verb="drain",
            label="Drain",
            icon="moon",
            what="It begins nothing more, and hands its hosts over as they fall idle. What is in flight ends "
            "first. Hosts that no other server reaches stay with it, and begin nothing until it joins again.",
        ),
        Act(
            verb="join",
            label="Join",
            icon="on",
            what="It takes hosts again, and begins the work that is due on them.",
        ),
        Act(
            verb="retire",
            label="Retire",
            icon="bad",
            what="Its name is given up, and its hosts are free: another server that reaches them takes them. "
            "Its unfinished work goes on there, from its last recorded step.",
        ),
    )
}


async def hosts(request: Request) -> Response:
    """Show the servers and the hosts: what each does, and why one is away."""
    door = Door(request)
    servers = (await whole(door, "/servers", ServerList)).servers
    values = {
        "servers": servers,
        "hosts": await whole(door, "/hosts", HostList),
        "stand_ins": _stand_ins(servers),
        "acts": await _acts_for(request, servers),
        "look_seconds": LOOK_SECONDS,
    }
    if is_fragment(request):
        return await answer(request, "hosts_now.html", values)
    return await show(request, "hosts.html", values, here="Hosts", live=EventGroup.HOST.pattern)


async def ask(request: Request) -> Response:
    """Show what is done with a server, and ask for confirmation."""
    name = request.query_params.get("name", "")
    values = {"server": await Door(request).get(f"/servers/{name}", ServerMessage), "act": _act(request)}
    if is_fragment(request):
        return await answer(request, "hosts_server_form.html", values)
    return await show(request, "hosts_server.html", values, here="Hosts")


async def change(request: Request) -> Response:
    """Drain, join or retire a server."""
    act, form = _act(request), await read_form(request)
    body = RetireRequest(living=form.ticked("living")) if act.verb == "retire" else None
    await Door(request).post(f"/servers/{form.text('name')}/{act.verb}", ServerMessage, body)
    return RedirectResponse("/hosts", 303)


def acts_on(server: ServerMessage) -> Sequence[Act]:
    """Return what fits a server's state."""
    if not server.alive:
        return (ACTS["retire"],)
    back = server.state is ServerState.DRAINING
    return (ACTS["join" if back else "drain"], ACTS["retire"])


async def _acts_for(request: Request, servers: Iterable[ServerMessage]) -> Mapping[str, Sequence[Act]]:
    """Return what the visitor may do with each server; nothing with one that has its database for itself."""
    visitor = await visitor_of(request)
    return {
        server.name: [act for act in acts_on(server) if server.address and visitor.may(act.operation)]
        for server in servers
    }


def _stand_ins(servers: Iterable[ServerMessage]) -> Mapping[str, Sequence[str]]:
    """Return the servers that stand in for each host."""
    found: dict[str, list[str]] = defaultdict(list)
    for server in servers:
        for host in server.stands_in_for:
            found[host].append(server.name)
    return dict(found)


def _act(request: Request) -> Act:
    found = ACTS.get(request.path_params["verb"])
    if found is None:
        raise InvalidArgument(
            "There is no such command for a server.",
            code=ErrorCode.ERROR_NOT_FOUND,
            advice="Go back to the page of hosts, which lists the commands.",
        )
    return found
