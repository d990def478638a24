"""Show all machines as cards: what their screens show, their state, and a search."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Sequence
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from innkeeper.server.pages import words
from innkeeper.server.pages.door import Door
from innkeeper.server.pages.numbers import number_in
from innkeeper.server.pages.rendering import answer, is_fragment, show
from innkeeper.wire.messages import MachineList, MachineMessage
from innkeeper.wire.states import MachineState

#: Cards that come at once; the next ones come as one scrolls.
PAGE = 60

#: States in which a machine has a screen.
SHOWING = frozenset({MachineState.RUNNING, MachineState.PAUSED})


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """Which machines a visitor asks for."""

    text: str = ""
    state: str = ""
    host: str = ""
    label: str = ""

    def holds(self, machine: MachineMessage) -> bool:
        """Whether it is one of them."""
        return (
            self.text.casefold() in machine.name.casefold()
            and self.state in ("", words.machine_sign(machine.state).word)
            and self.host in ("", machine.host)
            and (not self.label or self.label in labels_of(machine))
        )

    def url(self, **other: str | int) -> str:
        """The address that asks for these, or for others where ``other`` says so."""
        fields = {"q": self.text, "state": self.state, "host": self.host, "label": self.label} | other
        query = urlencode({name: value for name, value in fields.items() if value not in ("", 1)})
        return f"/machines?{query}" if query else "/machines"


async def machines(request: Request) -> Response:
    """The machines that the visitor may see, a page of cards at a time."""
    everyone = (await Door(request).get("/machines", MachineList)).machines
    wanted = _wanted(request)
    found = [machine for machine in everyone if wanted.holds(machine)]
    page = number_in(request.query_params.get("page"), "page", least=1) or 1
    values = {
        "cards": found[(page - 1) * PAGE : page * PAGE],
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
        "states": _states(everyone),
        "hosts": _counted(each.host for each in everyone),
        "labels": _counted(label for each in everyone for label in labels_of(each)),
    }
    live = "machine.*,task.created,task.ended"
    return await show(request, "machines.html", values, here="Machines", live=live)


async def card(request: Request) -> Response:
    """One machine's card anew."""
    machine = await Door(request).get(f"/machines/{request.path_params['name']}", MachineMessage)
    return await answer(request, "machines_card.html", {"machine": machine, "showing": SHOWING})


def labels_of(machine: MachineMessage) -> Sequence[str]:
    """The labels that it carries."""
    labels: Sequence[str] = getattr(machine, "labels", ())
    return labels


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
