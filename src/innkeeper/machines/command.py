"""The life of a machine: which command may be given in which state, and how the others are refused."""

from __future__ import annotations

from collections.abc import Mapping

from innkeeper.errors import ErrorCode, WrongState
from innkeeper.machines.machine import Machine, MachineState
from innkeeper.wire.commands import Command, Passage

#: The life of a machine: where a command leads from each state that allows it. All else is refused.
LIFE: Mapping[tuple[MachineState, Command], Passage] = {
    (state, command): passage for command in Command for state, passage in command.declaration.life.items()
}

#: The documented identifier where a state refuses a command that has declared no other.
_CODES: Mapping[MachineState, ErrorCode] = {
    MachineState.TURNED_OFF: ErrorCode.VM_E_VM_NOT_RUNNING,
    MachineState.SAVED: ErrorCode.VM_E_VM_NOT_RUNNING,
    MachineState.RUNNING: ErrorCode.VM_E_VM_RUNNING,
    MachineState.PAUSED: ErrorCode.VM_E_VM_RUNNING,
}

#: The kind of task that deletes a machine.
DELETE = "machine_delete"


def visible_state(state: MachineState, task_kind: str | None) -> MachineState:
    """The state to show: that of the task which holds the machine, where that is more precise."""
    if task_kind is None:
        return state
    if task_kind == DELETE:
        return MachineState.DELETE_MACHINE
    passages = (
        passage
        for (known, command), passage in LIFE.items()
        if known is state and command.kind == task_kind and passage.via is not None
    )
    return next((passage.via or state for passage in passages), state)


def refuse_state(machine: Machine, command: Command) -> None:
    """Raises ``WrongState``, naming state and command, where the machine's state does not allow it."""
    if (machine.state, command) in LIFE:
        return
    allowed = [state.words for (state, known) in LIFE if known is command]
    default = _CODES.get(machine.state, ErrorCode.ERROR_BUSY)
    raise WrongState.of(
        machine.title,
        machine.state,
        str(command),
        words=command.words,
        code=command.declaration.refusals.get(machine.state, default),
        advice=f"That is possible when it is {' or '.join(allowed)}.",
    )
