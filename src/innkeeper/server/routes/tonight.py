"""Route of the plan of the next 24 hours."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Sequence

from fastapi import APIRouter

from innkeeper.identity.caller import Caller
from innkeeper.identity.roles import Role
from innkeeper.server.forgotten import host_called
from innkeeper.server.house import House
from innkeeper.server.identity.needs import needs
from innkeeper.server.identity.subjects import resource_of, what_they_see
from innkeeper.server.identity.visibility import sees_machine
from innkeeper.server.messages import tonight_message
from innkeeper.server.relay.machines import why_waits
from innkeeper.server.relay.neighbours import Neighbours
from innkeeper.server.routes.asking import TheCaller, TheHouse
from innkeeper.updates.nights import NightEntry
from innkeeper.wire import messages as wire

router = APIRouter(prefix="/tonight", tags=["updates"])


@router.get(
    "",
    operation_id="get_tonight",
    dependencies=needs(
        Role.VIEWER,
        what_they_see.of_all_servers(
            same=("key", "identifier"), entries=("start", "machine", "identifier"), all_true=("fits",)
        ),
    ),
)
async def get_tonight(house: TheHouse, caller: TheCaller) -> wire.TonightMessage:
    """The plan of the next 24 hours; starts nothing."""
    night = house.checks.judge(await house.trigger.tonight())
    here, elsewhere = await _parted(house, night.entries)
    seen = [entry for entry in here if sees_machine(house, caller, entry.key or entry.machine)]
    if house.neighbours is not None:
        seen += await _of_servers_away(house.neighbours, caller, elsewhere)
    hosted = [await _with_host(house, entry) for entry in seen]
    return tonight_message(dataclasses.replace(night, entries=tuple(hosted)))


async def _parted(
    house: House, entries: Iterable[NightEntry]
) -> tuple[Sequence[NightEntry], Sequence[NightEntry]]:
    """Part the entries of this server's machines, and of those that are gone, from those of other servers."""
    here: list[NightEntry] = []
    elsewhere: list[NightEntry] = []
    for entry in entries:
        part = elsewhere if await _is_elsewhere(house, entry) else here
        part.append(entry)
    return here, elsewhere


async def _with_host(house: House, entry: NightEntry) -> NightEntry:
    """Name the host of a machine that no host which answers has."""
    if entry.host or not entry.key:
        return entry
    return dataclasses.replace(entry, host=await host_called(house, _host_id(entry)))


async def _is_elsewhere(house: House, entry: NightEntry) -> bool:
    if house.neighbours is None or house.board.known(entry.key) is not None:
        return False
    care = await house.neighbours.care_elsewhere(_host_id(entry))
    return care is not None and (care.owner is not None or care.last is not None)


async def _of_servers_away(
    neighbours: Neighbours, caller: Caller, entries: Iterable[NightEntry]
) -> Sequence[NightEntry]:
    """Return what servers that are away have to do, with the names from the directory and the reason.

    Those that can be asked tell of their own entries, and know most of them.
    """
    by_host: dict[str, list[NightEntry]] = defaultdict(list)
    for entry in entries:
        by_host[_host_id(entry)].append(entry)
    found = (_of_host(neighbours, caller, host_id, its) for host_id, its in by_host.items())
    return [entry for each in await asyncio.gather(*found) for entry in each]


async def _of_host(
    neighbours: Neighbours, caller: Caller, host_id: str, entries: Iterable[NightEntry]
) -> Sequence[NightEntry]:
    care = await neighbours.care_of(host_id)
    if care.answers:
        return ()
    known = {machine.key: machine for machine in await neighbours.directory.of_host(host_id)}
    return [
        dataclasses.replace(
            entry,
            machine=machine.title,
            host=machine.host,
            fits=False,
            reason=why_waits(care, machine.host),
            end=None,
            next_chance=None,
        )
        for entry in entries
        if (machine := known.get(entry.key)) is not None and caller.may(Role.VIEWER, resource_of(machine))
    ]


def _host_id(entry: NightEntry) -> str:
    return entry.key.partition("/")[0]
