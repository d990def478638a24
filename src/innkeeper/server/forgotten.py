"""Machines that nothing but their bookings tells of: their host was forgotten with its server, or not met."""

from __future__ import annotations

import json
from collections.abc import Container, Sequence

from innkeeper.machines.directory import MachineEntry
from innkeeper.server.house import House
from innkeeper.wire.states import MachineState


async def only_booked(house: House, known: Container[str]) -> Sequence[MachineEntry]:
    """Return the machines of live bookings whose keys are not known, called as they were when booked."""
    bookings = await house.bookings.list(ended=False)
    found = {booking.key: booking.machine for booking in bookings if booking.key}
    return [await _entry(house, key, title) for key, title in found.items() if key not in known]


async def host_called(house: House, host_id: str) -> str:
    """Return the name of a host that is, or was, one of this server or another; empty for any other."""
    here = next((host.name for host in house.machines.hosts.values() if host.id == host_id), "")
    return here or ("" if house.neighbours is None else await house.neighbours.host_called(host_id))


async def _entry(house: House, key: str, title: str) -> MachineEntry:
    host_id, _, uuid = key.partition("/")
    return MachineEntry(
        key=key,
        host_id=host_id,
        host=await host_called(house, host_id),
        name=title.rpartition("/")[2],
        uuid=uuid,
        state=MachineState.INVALID,
        labels=(),
        summary=json.dumps({"title": title}),
    )
