"""Machines that scheduled tasks name: each name means the machine that it meant at the registration."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Collection, Mapping
from typing import Final

from innkeeper.errors import InnkeeperError, InvalidArgument, MachineNotFound
from innkeeper.identity.caller import Caller
from innkeeper.identity.roles import Role
from innkeeper.machines.directory import MachineEntry
from innkeeper.machines.machine import Machine
from innkeeper.schedule.model.definition import TaskDefinition
from innkeeper.schedule.ports import ScheduleStore
from innkeeper.schedule.registered import Registered
from innkeeper.schedule.running.instance import definition_of
from innkeeper.server.house import House
from innkeeper.server.identity.subjects import resource_of
from innkeeper.server.operations import machines_of

#: So many definitions are read before others on the loop have their turn.
_AT_ONCE: Final = 20


async def keys_of_machines(definition: TaskDefinition, house: House) -> Mapping[str, str]:
    """Return the keys of the machines that a scheduled task names, by what it calls them.

    One server starts the task, and finds those of its own hosts alone. Raises ``MachineNotFound``,
    ``MachineAmbiguous``, ``InvalidArgument`` for machines of several servers, or ``HypervisorError`` where
    only a host that is away may know.
    """
    found = {named: await _server_and_key(house, named) for named in machines_of(definition)}
    if len({server for server, _ in found.values()}) > 1:
        told = ", ".join(f"{named} ({server or 'no server'})" for named, (server, _) in found.items())
        raise InvalidArgument(
            f"The task works on machines that several servers look after: {told}.",
            advice="Register one task for the machines of each server.",
        )
    return {named: key for named, (_, key) in found.items()}


async def _server_and_key(house: House, named: str) -> tuple[str, str]:
    """Return the name of the server that looks after a machine, or did last (empty for none), and its key."""
    if house.neighbours is not None and (entry := await house.neighbours.entry_of_machine(named)):
        care = await house.neighbours.care_of(entry.host_id)
        server = care.owner or care.last
        return "" if server is None else server.name, entry.key
    return "" if house.neighbours is None else house.neighbours.own.name, await _key_here(house, named)


async def _key_here(house: House, named: str) -> str:
    try:
        return (await house.machines.place_of(named)).key
    except MachineNotFound as error:
        raise MachineNotFound(
            f"There is no machine “{named}”, on which the task is to work.",
            machine=named,
            advice="innkeeper machine list shows all of them.",
        ) from error


async def called_now(task: Registered, house: House, caller: Caller) -> tuple[str, ...]:
    """Return the whole names that the machines of a task have now.

    One that is gone, or that the caller may not see, has the name that the task gives it.
    """
    names = []
    for named, key in task.keys.items():
        machine = await _with_key(house, key)
        is_seen = machine is not None and caller.may(Role.VIEWER, resource_of(machine))
        names.append(f"{machine.host}/{machine.name}" if machine is not None and is_seen else named)
    return tuple(names)


async def _with_key(house: House, key: str) -> Machine | MachineEntry | None:
    """Return a machine, wherever it was taken to, as it was seen last."""
    places = house.machines.places
    found = places.resolve(key) or places.with_uuid(key.partition("/")[2])
    if len(found) == 1 and (machine := house.board.with_key(found[0].key)) is not None:
        return machine
    if house.neighbours is not None:
        with contextlib.suppress(InnkeeperError):  # it is on several hosts
            return await house.neighbours.entry_of_machine(key)
    return None


@dataclasses.dataclass(frozen=True, slots=True)
class _Unsettled:
    """A task of which it is not known yet which machines it names."""

    task: Registered
    names: Collection[str]
    #: The keys of those that have been found, by what the task calls them.
    keys: dict[str, str]

    @property
    def found(self) -> Registered | None:
        """The task with the keys of all its machines; ``None`` while one is missing."""
        if self.keys.keys() < set(self.names):
            return None
        return dataclasses.replace(
            self.task, machines=tuple((named, self.keys[named]) for named in self.names)
        )


class ScheduledNames:
    """Names of machines in scheduled tasks from before their keys were kept (an ``AdoptionStore``)."""

    def __init__(self, store: ScheduleStore) -> None:
        self._store = store
        #: The tasks that wait for the machine of a name: each is written once all its names are found.
        self._waiting: dict[str, list[_Unsettled]] = {}

    async def names(self) -> Collection[str]:
        """The names whose machines are still to be found."""
        waiting: dict[str, list[_Unsettled]] = {}
        for number, task in enumerate(await self._store.unsettled(), start=1):
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
            each = _Unsettled(task, machines_of(definition_of(task)), {})
            await self._write(each)
            for named in each.names:
                waiting.setdefault(named, []).append(each)
        self._waiting = waiting
        return list(waiting)

    async def adopt(self, name: str, key: str) -> None:
        """Give those tasks that name a machine its key."""
        for each in self._waiting.pop(name, ()):
            each.keys[name] = key
            await self._write(each)

    async def _write(self, each: _Unsettled) -> None:
        if (found := each.found) is not None:
            await self._store.change(each.task, found)
