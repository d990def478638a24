"""Machines of hosts that this server has seen nothing of, in lists and alone, as the directory has them."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from innkeeper.identity.roles import Role
from innkeeper.machines.directory import MachineEntry, Wanted
from innkeeper.server.board import AllowedTo
from innkeeper.server.http.conditional import tag_of
from innkeeper.server.relay.care import Care
from innkeeper.server.relay.neighbours import Neighbours
from innkeeper.updates.booking import Booking

#: As these stand in every summary: no text in it can look like them, since its quotes are escaped.
_NOTHING_ALLOWED: Final = b'"allowed":[]'
_NOW: Final = b'"as_of":null'

#: At the most so many rows at once.
_MOST_ROWS: Final = 1000

#: The caller's role on a machine; ``None`` where they may not see it.
RoleOn = Callable[[MachineEntry], Role | None]


@dataclasses.dataclass(frozen=True, slots=True)
class ElsewhereNotice:
    """One machine as it stands in the directory: of another server's host, or of one not met yet."""

    machine: MachineEntry
    #: When it was seen last, where its host or its owner is away.
    as_of: dt.datetime | None = None

    def response(self, role: Role, allowed: AllowedTo) -> tuple[bytes, str]:
        """Return the machine's JSON for a caller with this role, and its ETag."""
        body = self.machine.summary.encode().replace(
            _NOTHING_ALLOWED, b'"allowed":' + json.dumps(allowed(role)).encode(), 1
        )
        if self.as_of is not None:
            body = body.replace(_NOW, f'"as_of":"{self.as_of.isoformat()}"'.encode(), 1)
        return body, tag_of(body)


async def page_of_elsewhere(
    neighbours: Neighbours,
    wanted: Wanted,
    *,
    met: Collection[str],
    after: tuple[str, str] | None,
    limit: int | None,
    role_on: RoleOn,
) -> Sequence[tuple[ElsewhereNotice, Role]]:
    """Return machines by name and host, with the caller's role on each, but those of hosts that were met.

    ``met``: the ids of hosts whose machines this server has seen by itself (``Board.met``).
    """
    wanted = dataclasses.replace(wanted, but_hosts=met)
    away = await _away(neighbours)
    found: list[tuple[ElsewhereNotice, Role]] = []
    while limit is None or len(found) < limit:
        size = _MOST_ROWS if limit is None else min(limit, _MOST_ROWS)
        entries = await neighbours.directory.page(wanted, after=after, limit=size)
        roles = ((entry, role_on(entry)) for entry in entries)
        found += [
            (ElsewhereNotice(entry, away.get(entry.host_id)), role)
            for entry, role in roles
            if role is not None
        ]
        if len(entries) < size:
            break
        after = entries[-1].place
    return found[:limit]


async def one_elsewhere(neighbours: Neighbours, name: str) -> ElsewhereNotice | None:
    """Return a machine of another server's host, as it was seen last."""
    place = await neighbours.machine_elsewhere(name)
    if place is None or place.machine is None:
        return None
    return ElsewhereNotice(place.machine, (await _away(neighbours)).get(place.machine.host_id))


async def told_elsewhere(neighbours: Neighbours, bookings: Sequence[Booking]) -> Sequence[Booking]:
    """The same bookings: those of hosts that this server does not look after with why they wait.

    What waits at a server that answers has its reason from there, and none here.
    """
    known = {host.host_id: host.name for host in await neighbours.hosts_elsewhere()}
    return [await _told(neighbours, known, booking) for booking in bookings]


async def _told(neighbours: Neighbours, known: Mapping[str, str], booking: Booking) -> Booking:
    host_id = booking.key.partition("/")[0]
    if not booking.is_waiting or host_id not in known:
        return booking
    care = await neighbours.care_of(host_id)
    return dataclasses.replace(booking, reason=why_waits(care, known[host_id]), next_chance=None)


def why_waits(care: Care, host: str) -> str:
    """Return why an update waits on a host of another server, or of nobody; empty where that one knows."""
    if care.answers:
        return ""
    goes_on = "It goes on when one does." if care.owner is None else "It goes on when that one is back."
    return f"{care.reason(f'the host {host}')} {goes_on}"


async def _away(neighbours: Neighbours) -> Mapping[str, dt.datetime | None]:
    """When the hosts were seen last that are away, or whose owners are, by their ids.

    One of this server's own that the directory is asked about has not answered it yet.
    """
    own, found = neighbours.own_hosts(), {}
    for host in await neighbours.directory.hosts():
        if host.reason or host.host_id in own or not (await neighbours.care_of(host.host_id)).answers:
            found[host.host_id] = host.seen_at
    return found
