"""Machines that a scheduled task names to be found later: what could not be done then is refused now."""

from __future__ import annotations

from innkeeper.errors import HypervisorError, InvalidArgument, MachineNotFound
from innkeeper.machines.asking import is_away
from innkeeper.schedule.model.definition import TaskDefinition
from innkeeper.server.house import House
from innkeeper.server.operations import machines_of


async def refuse_machines_of(definition: TaskDefinition, house: House) -> None:
    """Refuse a scheduled task on a machine that is not known, or on machines of several servers.

    One server starts the task, and finds those of its own hosts alone. Raises ``MachineNotFound``,
    ``MachineAmbiguous``, ``InvalidArgument``, or ``HypervisorError`` where only a host that is away may know.
    """
    servers = {named: await _server_of(house, named) for named in machines_of(definition)}
    if len(set(servers.values())) > 1:
        told = ", ".join(f"{named} ({server or 'no server'})" for named, server in servers.items())
        raise InvalidArgument(
            f"The task works on machines that several servers look after: {told}.",
            advice="Register one task for the machines of each server.",
        )


async def _server_of(house: House, named: str) -> str:
    """Return the name of the server that looks after a machine, or did last; empty where none is known."""
    if house.neighbours is not None and (entry := await house.neighbours.entry_of_machine(named)):
        care = await house.neighbours.care_of(entry.host_id)
        server = care.owner or care.last
        return "" if server is None else server.name
    try:
        await house.machines.get(named)
    except MachineNotFound as error:
        raise MachineNotFound(
            f"There is no machine “{named}”, on which the task is to work.",
            machine=named,
            advice="innkeeper machine list shows all of them.",
        ) from error
    except HypervisorError as error:
        if not is_away(error) or house.machines.places.only(named) is None:
            raise
    return "" if house.neighbours is None else house.neighbours.own.name
