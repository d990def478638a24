"""Do with running machines what is to be done when the service ends (``ShutdownActionOnQuit``)."""

from __future__ import annotations

import asyncio

import structlog

from innkeeper.errors import InnkeeperError, MachineBusy
from innkeeper.machines.machine import Machine, MachineState
from innkeeper.machines.service import Machines
from innkeeper.tasks.service import Tasks
from innkeeper.tasks.task import Task, TaskResult
from innkeeper.wire.commands import Command
from innkeeper.wire.virtual_pc import ShutdownAction

#: The owner of the tasks.
OWNER = "innkeeper"
_UP = frozenset({MachineState.RUNNING, MachineState.PAUSED})

_log = structlog.get_logger(__name__)


async def apply_shutdown_actions(machines: Machines, tasks: Tasks, *, timeout_seconds: float) -> None:
    """Save, turn off or shut down every machine that is on, each as it says; all at once.

    A machine whose guest cannot be shut down is saved. One that a task holds, or that does not come to
    its end in time, is left as it is: machines outlive the service.
    """
    running = [machine for machine in await machines.list() if machine.state in _UP]
    ends = [_quit(machines, tasks, machine, timeout_seconds) for machine in running]
    await asyncio.gather(*ends)


async def _quit(machines: Machines, tasks: Tasks, machine: Machine, timeout_seconds: float) -> None:
    try:
        made = await machines.hosts[machine.host].configurations.read(machine.name)
        task = await _begin(machines, machine, made.extras.shutdown_action)
        ended = await tasks.wait(task.id, timeout_seconds)
        if ended and _failed(await tasks.get(task.id)) and task.kind != "machine_save":
            saving = await machines.command(machine.name, Command.SAVE, owner=OWNER)
            ended = await tasks.wait(saving.id, timeout_seconds)
        if not ended:
            _log.warning("quit.not_in_time", machine=machine.title, seconds=timeout_seconds)
    except MachineBusy as busy:
        _log.warning("quit.busy", machine=machine.title, task_id=busy.task_id)
    except InnkeeperError as error:
        _log.warning("quit.failed", machine=machine.title, error=str(error))


async def _begin(machines: Machines, machine: Machine, action: ShutdownAction) -> Task:
    if action is ShutdownAction.TURN_OFF:
        return await machines.stop_keeping_undo_disks(machine.name, Command.TURN_OFF, owner=OWNER)
    if action is ShutdownAction.SHUTDOWN and machine.state is MachineState.RUNNING:
        return await machines.stop_keeping_undo_disks(machine.name, Command.SHUT_DOWN, owner=OWNER)
    return await machines.command(machine.name, Command.SAVE, owner=OWNER)


def _failed(task: Task) -> bool:
    return task.result is not TaskResult.SUCCESS
