"""Composition of channels over machines, tasks and guest agents."""

from __future__ import annotations

from innkeeper.channels.channel import LookAtMachine, MachineStanding, Standing
from innkeeper.machines.service import Machines, lock_of
from innkeeper.tasks.service import Tasks
from innkeeper.tasks.task import TaskFilter
from innkeeper.wire.states import MachineState

_OFF = frozenset({MachineState.TURNED_OFF, MachineState.INVALID, MachineState.DELETE_MACHINE})


def looks_at(machines: Machines, tasks: Tasks) -> LookAtMachine:
    """Return the function that tells whether a machine can carry channels now.

    One that is off while a task works at it only rests: an update run that rolls back, a restart.
    """

    async def look_at(name: str) -> MachineStanding:
        machine = await machines.get(name)
        standing = Standing.RESTING
        if machine.state is MachineState.RUNNING:
            standing = Standing.RUNNING
        elif machine.state in _OFF:
            held = await tasks.list(TaskFilter(live=True, lock=lock_of(machine.key), limit=1))
            standing = Standing.RESTING if held else Standing.OFF
        return MachineStanding(machine=machine.title, key=machine.key, standing=standing, state=machine.state)

    return look_at
