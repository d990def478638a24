"""The page of all machines: cards with screens and states, and a search."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from innkeeper.identity.roles import Role
from innkeeper.machines.accountant import Account
from innkeeper.server.http.kept_slashes import kept
from innkeeper.server.identity.needs import caller_of
from innkeeper.server.identity.subjects import house_of, resource_of
from innkeeper.server.pages import words
from innkeeper.server.pages.door import Door, whole
from innkeeper.server.pages.numbers import number_in
from innkeeper.server.pages.rendering import answer, is_fragment, show
from innkeeper.wire.events import EventGroup, EventKind, filter_of
from innkeeper.wire.messages import MachineList, MachineMessage
from innkeeper.wire.states import MachineState

#: Cards that come at once; the next ones come as one scrolls.
PAGE = 60

#: So many machines' figures at once.
MAX_FIGURES = 200

#: States in which a machine has a screen.
SHOWING = frozenset({MachineState.RUNNING, MachineState.PAUSED})


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """The search: which machines a visitor asks for."""

    text: str = ""
    state: str = ""
    host: str = ""
    label: str = ""

    def holds(self, machine: MachineMessage) -> bool:
        """Whether a machine matches the search."""
        return (
            self.text.casefold() in machine.title.casefold()
            and self.state in ("", words.machine_sign(machine.state).word)
            and self.host in ("", machine.host)
            and (not self.label or self.label in labels_of(machine))
        )

    def url(self, **other: str | int) -> str:
        """Return the address of this search, with changes where ``other`` gives them."""
        fields = {"q": self.text, "state": self.state, "host": self.host, "label": self.label} | other
        query = urlencode({name: value for name, value in fields.items() if value not in ("", 1)})
        return f"/machines?{query}" if query else "/machines"


async def machines(request: Request) -> Response:
    """Show the machines that the visitor may see, a page of cards at a time."""
    everyone = (await whole(Door(request), "/machines", MachineList)).machines
    wanted = _wanted(request)
    found = [machine for machine in everyone if wanted.holds(machine)]
    page = number_in(request.query_params.get("page"), "page", least=1) or 1
    cards = found[(page - 1) * PAGE : page * PAGE]
    values = {
        "cards": cards,
        "figures": figures_of(request, cards),
        "count": len(found),
        "of": len(everyone),
        "wanted": wanted,
        "page": page,
        "more": wanted.url(page=page + 1) if len(found) > page * PAGE else "",
        "showing": SHOWING,
    }
    if is_fragment(request):
        more = request.headers.get("hx-target") == "more"
        return await answer(request, "machines_cards.html" if more else "machines_found.html", values)
    values |= {
        "stuck": sum(each.can_be_maintained is False for each in everyone),
        "states": _states(everyone),
        "hosts": _counted(each.host for each in everyone),
        "silent": sorted(
            {*house_of(request).machines.silent, *(each.host for each in everyone if each.as_of)}
        ),
        "labels": _counted(label for each in everyone for label in labels_of(each)),
    }
    live = filter_of(EventGroup.MACHINE, EventKind.TASK_CREATED, EventKind.TASK_ENDED)
    return await show(request, "machines.html", values, here="Machines", live=live)


async def card(request: Request) -> Response:
    """Render one machine's card again."""
    machine = await Door(request).get(f"/machines/{kept(request.path_params['name'])}", MachineMessage)
    values = {"machine": machine, "showing": SHOWING, "figures": figures_of(request, [machine])}
    return await answer(request, "machines_card.html", values)


def figures_of(request: Request, machines: Iterable[MachineMessage]) -> Mapping[str, Account]:
    """Return the current usage of machines that the visitor may see."""
    house = house_of(request)
    known = [found for machine in machines if (found := house.board.known(machine.key)) is not None]
    return {account.machine: account for account in house.accountant.accounts(known)}


async def figures(request: Request) -> Response:
    """Return the current usage of the machines in view."""
    house, caller = house_of(request), caller_of(request)
    asked = request.query_params.get("names", "").split(",")[:MAX_FIGURES]
    known = [found for name in asked if (found := house.board.known(name)) is not None]
    seen = [machine for machine in known if caller.may(Role.VIEWER, resource_of(machine))]
    message = {account.machine: _figures(account) for account in house.accountant.accounts(seen)}
    return JSONResponse(message, headers={"Cache-Control": "no-store"})


def _figures(account: Account) -> dict[str, float]:
    return {"cpu": round(account.rates.cpu_percent, 1), "memory": account.rates.memory_bytes}


def labels_of(machine: MachineMessage) -> Sequence[str]:
    """Return a machine's labels."""
    return machine.labels


def _wanted(request: Request) -> Wanted:
    query = request.query_params
    return Wanted(
        text=query.get("q", "").strip(),
        state=query.get("state", ""),
        host=query.get("host", ""),
        label=query.get("label", ""),
    )


def _states(machines: Iterable[MachineMessage]) -> list[tuple[str, int]]:
    return _counted(words.machine_sign(machine.state).word for machine in machines)


def _counted(names: Iterable[str]) -> list[tuple[str, int]]:
    return sorted(collections.Counter(names).items())
