"""Routes of the event stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.responses import StreamingResponse

from innkeeper.errors import InvalidArgument
from innkeeper.identity.roles import Role
from innkeeper.machines.directory import MachineEntry
from innkeeper.machines.machine import Machine
from innkeeper.server.house import House
from innkeeper.server.http.event_stream import STREAM, event_stream
from innkeeper.server.identity.needs import needs
from innkeeper.server.identity.subjects import what_they_see
from innkeeper.server.identity.visibility import sees_event
from innkeeper.server.routes.asking import TheCaller, TheHouse
from innkeeper.wire.documented_events import DocumentedEvent
from innkeeper.wire.documented_events import documented as documented_events
from innkeeper.wire.events import Event, EventKind

router = APIRouter(prefix="/events", tags=["events"])


@router.get(
    "",
    operation_id="follow_events",
    response_class=StreamingResponse,
    responses=STREAM,
    dependencies=needs(Role.VIEWER, what_they_see),
)
async def follow_events(
    house: TheHouse,
    caller: TheCaller,
    kinds: str = "*",
    machine: str = "",
    documented: str = "",
    last_event_id: Annotated[str, Header()] = "",
) -> StreamingResponse:
    """Events from now on, or after ``Last-Event-ID``; ``kinds`` are patterns separated by commas.

    ``machine`` leaves the events of that machine, and ``documented`` those that are one of these documented
    events, parted by commas (``IVMVirtualMachineEvents.OnReset``).
    """
    sees, wanted = sees_event(house, caller), _wanted(await _names(house, machine), documented)

    async def sees_wanted(event: Event) -> bool:
        return event.kind is EventKind.EVENTS_LOST or (wanted(event) and await sees(event))

    return event_stream(house.events, last_event_id, tuple(kinds.split(",")), sees=sees_wanted)


async def _names(house: House, machine: str) -> frozenset[str]:
    """All that events of a machine call it, in small letters; none where none is asked for."""
    if not machine:
        return frozenset()
    known: Machine | MachineEntry | None = house.board.known(machine)
    if known is None and house.neighbours is not None:
        elsewhere = await house.neighbours.machine_elsewhere(machine)
        known = None if elsewhere is None else elsewhere.machine
    if known is None:
        return frozenset({machine.casefold()})
    return frozenset({known.title.casefold(), f"{known.host}/{known.name}".casefold(), known.key})


def _wanted(machine: frozenset[str], names: str) -> Callable[[Event], bool]:
    events = _documented_events(names)

    def wanted(event: Event) -> bool:
        told = (event.subject.casefold(), str(event.data.get("machine", "")).casefold(), event.about)
        if machine and machine.isdisjoint(told):
            return False
        return not events or not events.isdisjoint(documented_events(event.kind, event.data))

    return wanted


def _documented_events(names: str) -> frozenset[DocumentedEvent]:
    try:
        return frozenset(DocumentedEvent(name.strip()) for name in names.split(",") if name.strip())
    except ValueError as error:
        raise InvalidArgument(
            f"{error}.".replace("DocumentedEvent", "documented event"),
            advice="The reference has a table of them: IVMVirtualMachineEvents.OnReset and the like.",
        ) from None
