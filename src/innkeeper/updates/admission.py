"""Look whether a machine can be maintained: what a run asks first, and a check asks beforehand."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator

from innkeeper.channels.ports import GuestAgents
from innkeeper.errors import AgentError, ErrorCode, MachineError, MachineUnfit
from innkeeper.machines.machine import Machine, MachineState
from innkeeper.machines.ports.host import Host
from innkeeper.machines.undo.children import Users
from innkeeper.machines.undo.fitness import Examination, Obstacle, UndoRules, examine

#: The states that a machine is taken up in, and left in afterwards.
FOUND = (MachineState.RUNNING, MachineState.PAUSED, MachineState.SAVED, MachineState.TURNED_OFF)


async def admission(
    host: Host,
    machine: Machine,
    run: int,
    rules: UndoRules,
    others: Iterable[Host] = (),
    known: Users | None = None,
) -> Examination:
    """All that is in the way of an update run, the machine itself first; nothing is touched."""
    obstacles: list[Obstacle] = []
    with _noted(obstacles):
        _refuse_state(machine)
    with _noted(obstacles):
        _refuse_no_port(machine)
    found = await examine(host, machine, run, rules, others, known)
    return dataclasses.replace(found, obstacles=(*obstacles, *found.obstacles))


def refuse_silent_agent(machine: Machine, agents: GuestAgents) -> None:
    """Raises ``AgentError`` where a guest runs whose agent has no session: a run waits a moment for it only.

    A machine that is off is woken first, and its agent is waited for.
    """
    if machine.state is not MachineState.RUNNING or agents.is_connected(machine.name):
        return
    raise AgentError(
        f"{machine.name} runs, and its task agent does not answer.",
        machine=machine.name,
        advice=f"Install it anew: innkeeper machine prepare {machine.name} --force",
        way_out=f"innkeeper machine prepare {machine.name} --force",
    )


@contextlib.contextmanager
def _noted(obstacles: list[Obstacle]) -> Iterator[None]:
    try:
        yield
    except MachineError as error:
        obstacles.append(Obstacle(target="", error=error))


def _refuse_state(machine: Machine) -> None:
    if machine.state not in FOUND:
        raise MachineUnfit(
            f"{machine.name} is {machine.state.words}, and must finish that first.",
            machine=machine.name,
            code=ErrorCode.ERROR_BUSY,
            advice="Wait until its present operation has ended.",
        )


def _refuse_no_port(machine: Machine) -> None:
    if not machine.has_agent_port:
        raise AgentError(
            f"{machine.name} has no port for the task agent, so nothing in it can be asked to update.",
            machine=machine.name,
            way_out=f"innkeeper machine prepare {machine.name}",
        )
