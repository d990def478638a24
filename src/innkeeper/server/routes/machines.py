"""Routes of machines: questions, and commands carried out by tasks."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from innkeeper.identity.roles import Role
from innkeeper.server.identity.needs import needs, refuse
from innkeeper.server.identity.subjects import machine_called, machine_in_path, what_they_see
from innkeeper.server.messages import task_message
from innkeeper.server.routes import hot
from innkeeper.server.routes.asking import TheCaller, TheHouse, TheUser
from innkeeper.wire import messages as wire
from innkeeper.wire.commands import Command, command_of
from innkeeper.wire.queries import MachineQuery

router = APIRouter(prefix="/machines", tags=["machines"])


#: A command without a body.
_AS_USUAL = wire.CommandRequest()

#: What a machine is told, by any name of the command; the description lists those of the routes.
Verb = Annotated[str, Path(json_schema_extra={"enum": [command.route for command in Command]})]


@router.get(
    "",
    operation_id="list_machines",
    response_model=wire.MachineList,
    dependencies=needs(Role.VIEWER, what_they_see),
)
async def list_machines(request: Request, query: Annotated[MachineQuery, Query()]) -> Response:
    """Machines of the hosts that answer, by name: those that the caller may see, and asks for."""
    return await hot.list_machines(request)


@router.get(
    "/{name}",
    operation_id="get_machine",
    response_model=wire.MachineMessage,
    dependencies=needs(Role.VIEWER, machine_in_path("name").waiting),
)
async def get_machine(name: str, request: Request) -> Response:
    """One machine."""
    return await hot.get_machine(request)


@router.post(
    "/{name}/prepare",
    status_code=202,
    operation_id="prepare_machine",
    dependencies=needs(Role.OPERATOR, machine_in_path("name")),
)
async def prepare_machine(
    name: str, request: wire.PrepareRequest, house: TheHouse, user: TheUser
) -> wire.Accepted:
    """Install the task agent in the guest, through qemu-guest-agent."""
    task = await house.preparations.start(name, owner=user, force=request.force)
    return wire.Accepted(task=task_message(task, house.clock.now()))


@router.post(
    "/{name}/{verb}",
    status_code=202,
    operation_id="command_machine",
    dependencies=needs(Role.OPERATOR, machine_in_path("name")),
)
async def command_machine(
    name: str,
    verb: Verb,
    house: TheHouse,
    caller: TheCaller,
    request: wire.CommandRequest = _AS_USUAL,
) -> wire.Accepted:
    """Give the machine a command; a task carries it out."""
    command = command_of(verb)
    refuse(caller, Role[command.declaration.role.name], machine_called(house, name))
    task = await house.machines.command(
        name, command, owner=caller.name, timeout_seconds=request.timeout_seconds
    )
    return wire.Accepted(task=task_message(task, house.clock.now()))
