"""Machines that a request names to be found later: now it is said which of them nobody knows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from innkeeper.errors import ErrorCode, HypervisorError, InvalidArgument, MachineAmbiguous, MachineNotFound
from innkeeper.identity.caller import Caller
from innkeeper.identity.roles import Resource, Role, machine
from innkeeper.machines.asking import is_away
from innkeeper.machines.sight import seeing
from innkeeper.schedule.model.definition import TaskDefinition
from innkeeper.server.house import House
from innkeeper.server.identity.needs import refuse
from innkeeper.server.identity.subjects import machine_called, resource_of
from innkeeper.server.operations import machines_of
from innkeeper.updates.machine_name import is_glob
from innkeeper.updates.window import Window


@dataclasses.dataclass(frozen=True, slots=True)
class KnownMachine:
    """A machine that is there, or was when its host was seen last."""

    #: The host and the name: ``attic/web-1``.
    full_name: str
    resource: Resource


async def known_machine(house: House, reference: str) -> KnownMachine | None:
    """Return a machine of any server, its host away or not; ``None`` for one that nobody knows.

    Raises ``MachineAmbiguous``, or ``HypervisorError`` where only a host that is away may know it.
    """
    if house.neighbours is not None and (entry := await house.neighbours.entry_of_machine(reference)):
        return KnownMachine(f"{entry.host}/{entry.name}", resource_of(entry))
    try:
        found = await house.machines.get(reference)
    except MachineNotFound:
        return None
    except HypervisorError as error:
        place = house.machines.places.only(reference) if is_away(error) else None
        if place is None:
            raise
        return KnownMachine(place.full_name, machine_called(house, place.key))
    return KnownMachine(f"{found.host}/{found.name}", resource_of(found))


async def refuse_machines_of(definition: TaskDefinition, house: House, caller: Caller) -> None:
    """Refuse a scheduled task on a machine that is not known, or that the caller may not command.

    The service commands it later, and to the service a name means one of all machines. Raises
    ``MachineNotFound``, ``MachineAmbiguous``, ``NotPermitted``, or ``InvalidArgument`` where the name is
    that of one more machine, which the caller does not see.
    """
    for named in machines_of(definition):
        found = await known_machine(house, named)
        resource = machine(named) if found is None else dataclasses.replace(found.resource, asked=named)
        refuse(caller, Role.OPERATOR, resource)
        if found is None:
            raise MachineNotFound(
                f"There is no machine “{named}”, on which the task is to work.",
                machine=named,
                advice="innkeeper machine list shows all of them.",
            )
        try:
            with seeing(None):
                await known_machine(house, named)
        except MachineAmbiguous as error:
            raise InvalidArgument(
                f"“{named}” is not enough in a scheduled task: the service may know others by this name.",
                code=ErrorCode.VM_E_CONFIG_DUPLICATE_NAME,
                advice=f"Write the machine with its host: {found.full_name}",
            ) from error


async def unknown_machines(house: House, window: Window) -> Sequence[str]:
    """Return the names in a window that no machine has which is known; patterns are for whatever may come.

    Raises ``MachineAmbiguous``.
    """
    await house.board.all()
    return [name for name in window.machines if not is_glob(name) and not await _is_known(house, name)]


async def _is_known(house: House, name: str) -> bool:
    if house.machines.places.only(name) is not None:
        return True
    return house.neighbours is not None and await house.neighbours.entry_of_machine(name) is not None
