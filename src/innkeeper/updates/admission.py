"""Look whether a machine can be maintained: what a run asks first, and a check asks beforehand."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Sequence

from innkeeper.channels.ports import GuestAgents
from innkeeper.errors import (
    AgentError,
    DiskError,
    ErrorCode,
    MachineBusy,
    MachineError,
    MachineUnfit,
    NotSupported,
)
from innkeeper.machines.machine import Machine, MachineState
from innkeeper.machines.ports.host import Host
from innkeeper.machines.service import Machines
from innkeeper.machines.undo.children import Users
from innkeeper.machines.undo.fitness import Examination, Obstacle, UndoRules, examine
from innkeeper.machines.undo.freezing import refuse_frozen
from innkeeper.machines.undo.leftovers import unnamed_files
from innkeeper.machines.undo.overlay_names import run_of

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
        refuse_frozen(machine)
    with _noted(obstacles):
        _refuse_no_port(machine)
    with _noted(obstacles):
        await _refuse_leftovers(host, machine, run, rules)
    found = await examine(host, machine, run, rules, others, known)
    return dataclasses.replace(found, obstacles=(*obstacles, *found.obstacles))


async def refuse_busy(machine: Machine, machines: Machines) -> None:
    """Raises ``MachineUnfit`` while a task, as its own update, holds the machine."""
    try:
        await machines.refuse_busy(machine)
    except MachineBusy as busy:
        raise MachineUnfit(
            busy.sentence,
            machine=machine.title,
            code=ErrorCode.ERROR_BUSY,
            advice=f"Follow it: innkeeper task watch {busy.task_id}",
            way_out=f"innkeeper task watch {busy.task_id}",
        ) from busy


def refuse_silent_agent(machine: Machine, agents: GuestAgents) -> None:
    """Raises ``AgentError`` where a guest runs and nobody in it answers: a run waits a moment for it only.

    A machine that is off is woken first, and its agent is waited for.
    """
    if machine.state is not MachineState.RUNNING or agents.is_connected(machine.key):
        return
    if (reason := agents.silence(machine.key)) is not None:
        raise reason
    if not machine.has_agent_port:
        raise AgentError(
            f"{machine.title} runs, and qemu-guest-agent in it does not answer; it has no other agent.",
            machine=machine.title,
            advice="Where it has just started, wait a minute and look again. Else see that qemu-guest-agent "
            "is installed and runs in the guest.",
        )
    raise AgentError(
        f"{machine.title} runs, and its task agent does not answer.",
        machine=machine.title,
        advice="Where it has just started, wait a minute and look again. Else install the agent anew: "
        f"innkeeper machine prepare {machine.title} --force",
        way_out=f"innkeeper machine prepare {machine.title} --force",
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
            f"{machine.title} is {machine.state.words}, and must finish that first.",
            machine=machine.title,
            code=ErrorCode.ERROR_BUSY,
            advice="Wait until its present operation has ended.",
        )


def _prepare(machine: Machine) -> str:
    """How the agent gets into the guest: while that runs."""
    start = f"Start it first: innkeeper machine start {machine.title}. When it has booted: "
    runs = machine.state is MachineState.RUNNING
    return f"{'Run: ' if runs else start}innkeeper machine prepare {machine.title}"


def _refuse_no_port(machine: Machine) -> None:
    if not (machine.has_agent_port or machine.has_guest_agent_port):
        raise AgentError(
            f"{machine.title} has no port for the task agent, and none for qemu-guest-agent, so nothing in "
            "it can be asked to update.",
            machine=machine.title,
            advice=_prepare(machine),
            way_out=f"innkeeper machine prepare {machine.title}",
        )


async def _refuse_leftovers(host: Host, machine: Machine, run: int, rules: UndoRules) -> None:
    """A run that ended well has left no file: a person has to look before the next one."""
    files: Sequence[str] = ()
    # Where the folders cannot be looked at, that is an obstacle of its own.
    with contextlib.suppress(DiskError, NotSupported):
        files = await unnamed_files(host, machine, rules.undo_directory)
    left = [path for path in files if run_of(path) != run]
    if left:
        task, more = run_of(left[0]), f" and {len(left) - 1} more" if len(left) > 1 else ""
        raise MachineError(
            f"{machine.title} needs help: task {task} has left {left[0]}{more} of its undo point.",
            machine=machine.title,
            code=ErrorCode.VM_E_DRIVE_IN_USE,
            advice=f"See what happened: innkeeper task log {task}. Then turn it off, and delete what is "
            f"left: innkeeper machine undo {machine.title} --discard",
            way_out=f"innkeeper machine undo {machine.title} --discard",
        )
