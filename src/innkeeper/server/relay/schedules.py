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
    """Whether this server starts a task; any does whose server is retired."""
    if neighbours is None:
        return True
    try:
        return await neighbours.find(starter_of(task)) is None
    except InnkeeperError:
        return True  # a name that several machines have: the start says so
