"""Answer for machines: look at them, and command them by tasks."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable

from fastapi import APIRouter

from innkeeper.identity.roles import Role
from innkeeper.machines.machine import Machine
from innkeeper.machines.service import Machines, lock_of
from innkeeper.server.house import House
from innkeeper.server.identity.needs import needs
from innkeeper.server.identity.seen import sees_machine
from innkeeper.server.identity.subjects import Kind, machine_called, machine_in_path, what_they_see
from innkeeper.server.messages import machine_message, task_message
from innkeeper.server.routes.asking import Allowed, TheAllowed, TheCaller, TheHouse, TheUser
from innkeeper.tasks.task import Task
from innkeeper.wire import messages as wire

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


@router.get("", operation_id="list_machines", dependencies=needs(Role.VIEWER, what_they_see))
async def list_machines(house: TheHouse, caller: TheCaller, allowed: TheAllowed) -> wire.MachineList:
    """All machines of the hosts that answer, by name: those that the caller may see."""
    machines = [each for each in await house.machines.list() if sees_machine(house, caller, each.name)]
    holders = {task.lock: task.id for task in await house.tasks.list(live=True, limit=100_000)}
    return wire.MachineList(machines=tuple(_said(house, machine, holders, allowed) for machine in machines))


@router.get("/{name}", operation_id="get_machine", dependencies=needs(Role.VIEWER, machine_in_path("name")))
async def get_machine(name: str, house: TheHouse, allowed: TheAllowed) -> wire.MachineMessage:
    """One machine."""
    machine = await house.machines.get(name)
    held = await house.tasks.list(live=True, lock=lock_of(machine.name), limit=1)
    return _said(house, machine, {task.lock: task.id for task in held}, allowed)


@router.post(
    "/{name}/prepare",
    status_code=202,
    operation_id="prepare_machine",
    dependencies=needs(Role.OPERATOR, machine_in_path("name")),
)
async def prepare_machine(
    name: str, request: wire.PrepareRequest, house: TheHouse, user: TheUser
) -> wire.Accepted:
    """Put the task agent into its guest, through qemu-guest-agent."""
    task = await house.preparations.start(name, owner=user, force=request.force)
    return wire.Accepted(task=task_message(task, house.clock.now()))


@router.post(
    "/{name}/{verb}",
    status_code=202,
    operation_id="command_machine",
    dependencies=needs(Role.OPERATOR, machine_in_path("name")),
)
async def command_machine(name: str, verb: Verb, house: TheHouse, user: TheUser) -> wire.Accepted:
    """Tell it to do something; the task does it."""
    task = await _command(house.machines, verb)(name, owner=user)
    return wire.Accepted(task=task_message(task, house.clock.now()))


def _said(
    house: House, machine: Machine, holders: dict[str | None, int], allowed: Allowed
) -> wire.MachineMessage:
    return machine_message(
        machine,
        agent_connected=house.agents.is_connected(machine.name),
        task_id=holders.get(lock_of(machine.name)),
        allowed=allowed(Kind.MACHINE, machine_called(house, machine.name)),
    )
