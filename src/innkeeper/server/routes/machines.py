"""Routes of machines: questions, and commands carried out by tasks."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from innkeeper.identity.roles import Role
from innkeeper.machines.service import Machines
from innkeeper.server.identity.needs import needs
from innkeeper.server.identity.subjects import machine_in_path, what_they_see
from innkeeper.server.messages import task_message
from innkeeper.server.routes import hot
from innkeeper.server.routes.asking import TheHouse, TheUser
from innkeeper.tasks.task import Task
from innkeeper.wire import messages as wire
from innkeeper.wire.queries import MachineQuery

router = APIRouter(prefix="/machines", tags=["machines"])


class Verb(enum.StrEnum):
    """What a machine can be told."""

    STARTUP = "startup"
    SAVE = "save"
    TURN_OFF = "turn_off"
    SHUTDOWN = "shutdown"
    PAUSE = "pause"
    RESUME = "resume"
    RESET = "reset"
    DISCARD_SAVED_STATE = "discard_saved_state"
    MERGE_UNDO_DISKS = "merge_undo_disks"
    DISCARD_UNDO_DISKS = "discard_undo_disks"


def _command(machines: Machines, verb: Verb) -> Callable[..., Awaitable[Task]]:
    return {
        Verb.STARTUP: machines.startup,
        Verb.SAVE: machines.save,
        Verb.TURN_OFF: machines.turn_off,
        Verb.SHUTDOWN: machines.shut_down,
        Verb.PAUSE: machines.pause,
        Verb.RESUME: machines.resume,
        Verb.RESET: machines.reset,
        Verb.DISCARD_SAVED_STATE: machines.discard_saved_state,
        Verb.MERGE_UNDO_DISKS: machines.merge_undo_disks,
        Verb.DISCARD_UNDO_DISKS: machines.discard_undo_disks,
    }[verb]


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
    dependencies=needs(Role.VIEWER, machine_in_path("name")),
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
async def command_machine(name: str, verb: Verb, house: TheHouse, user: TheUser) -> wire.Accepted:
    """Give the machine a command; a task carries it out."""
    task = await _command(house.machines, verb)(name, owner=user)
    return wire.Accepted(task=task_message(task, house.clock.now()))
