"""Scheduled tasks: the server that starts each."""

from __future__ import annotations

from innkeeper.errors import InnkeeperError
from innkeeper.schedule.registered import Registered
from innkeeper.schedule.running.instance import definition_of
from innkeeper.server.operations import machine_of
from innkeeper.server.relay.neighbours import Neighbours
from innkeeper.server.relay.reference import Reference, ReferenceKind


def starter_of(task: Registered) -> Reference:
    """Return what decides which server starts a task: its machine, else where it was registered."""
    machine = machine_of(definition_of(task))
    if machine:
        return Reference(ReferenceKind.MACHINE, task.keys.get(machine, machine))
    return Reference(ReferenceKind.SERVER, task.server)


async def is_ours(neighbours: Neighbours | None, task: Registered) -> bool:
    """Whether this server starts a task; any does whose server is retired.

    One about a machine that the directory does not have is for whoever looks after the machine's host: after
    the end of the server that did, the next one finds it there.
    """
    if neighbours is None:
        return True
    starter = starter_of(task)
    try:
        if await neighbours.find(starter) is not None:
            return False
    except InnkeeperError:
        return True  # a name that several machines have: the start says so
    if starter.kind is not ReferenceKind.MACHINE or starter.name not in task.keys.values():
        return True
    host_id, _, uuid = starter.name.partition("/")
    own = neighbours.own_hosts()
    return host_id in own or any(entry.host_id in own for entry in await neighbours.directory.with_uuid(uuid))
