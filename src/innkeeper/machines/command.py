"""Say what each command does to a machine, and in which states it may be given."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping

from innkeeper.errors import ErrorCode, WrongState
from innkeeper.machines.machine import Machine, MachineState
from innkeeper.tasks.task import CancelEffect


class Command(enum.StrEnum):
    """What a machine can be told to do."""

    STARTUP = "startup"
    SAVE = "save"
    TURN_OFF = "turn_off"
    SHUT_DOWN = "shut_down"
    RESET = "reset"
    PAUSE = "pause"
    RESUME = "resume"
    DISCARD_SAVED_STATE = "discard_saved_state"
    MERGE_UNDO_DISKS = "merge_undo_disks"
    DISCARD_UNDO_DISKS = "discard_undo_disks"

    @property
    def words(self) -> str:
        """It, for a person."""
        return "start" if self is Command.STARTUP else self.replace("_", " ")

    @property
    def kind(self) -> str:
        """The kind of task that carries it out."""
        return f"machine_{self}"


@dataclasses.dataclass(frozen=True, slots=True)
class Passage:
    """Where a command leads, and what the machine is seen doing on the way."""

    via: MachineState | None
    to: MachineState


_OFF, _SAVED = MachineState.TURNED_OFF, MachineState.SAVED
_ON, _PAUSED = MachineState.RUNNING, MachineState.PAUSED

#: The life of a machine: where a command leads from each state that allows it. All else is refused.
#: A machine that was paused when it was saved comes back paused.
LIFE: Mapping[tuple[MachineState, Command], Passage] = {
    (_OFF, Command.STARTUP): Passage(MachineState.TURNING_ON, _ON),
    (_SAVED, Command.STARTUP): Passage(MachineState.RESTORING, _ON),
    (_ON, Command.SAVE): Passage(MachineState.SAVING, _SAVED),
    (_PAUSED, Command.SAVE): Passage(MachineState.SAVING, _SAVED),
    (_ON, Command.TURN_OFF): Passage(MachineState.TURNING_OFF, _OFF),
    (_PAUSED, Command.TURN_OFF): Passage(MachineState.TURNING_OFF, _OFF),
    (_ON, Command.SHUT_DOWN): Passage(MachineState.TURNING_OFF, _OFF),
    (_ON, Command.RESET): Passage(None, _ON),
    (_ON, Command.PAUSE): Passage(None, _PAUSED),
    (_PAUSED, Command.RESUME): Passage(None, _ON),
    (_SAVED, Command.DISCARD_SAVED_STATE): Passage(None, _OFF),
    (_OFF, Command.MERGE_UNDO_DISKS): Passage(MachineState.MERGING_DRIVES, _OFF),
    (_SAVED, Command.MERGE_UNDO_DISKS): Passage(MachineState.MERGING_DRIVES, _SAVED),
    (_OFF, Command.DISCARD_UNDO_DISKS): Passage(None, _OFF),
}

#: What a cancel of the command's task does; the others are over too soon, or cannot be taken back.
CANCEL_EFFECTS: Mapping[Command, CancelEffect] = {Command.SAVE: CancelEffect.BACK_TO_START}

#: The documented identifier where a state refuses a command.
_CODES: Mapping[MachineState, ErrorCode] = {
    _OFF: ErrorCode.VM_E_VM_NOT_RUNNING,
    _SAVED: ErrorCode.VM_E_VM_NOT_RUNNING,
    _ON: ErrorCode.VM_E_VM_RUNNING,
    _PAUSED: ErrorCode.VM_E_VM_RUNNING,
}
_CODES_OF_COMMAND: Mapping[tuple[MachineState, Command], ErrorCode] = {
    (_PAUSED, Command.PAUSE): ErrorCode.E_FAIL,
    (_ON, Command.RESUME): ErrorCode.E_FAIL,
    (_PAUSED, Command.RESET): ErrorCode.VM_E_VM_NOT_RUNNING,
    (_PAUSED, Command.SHUT_DOWN): ErrorCode.VM_E_VM_PAUSED,
    (_OFF, Command.DISCARD_SAVED_STATE): ErrorCode.VM_E_VM_NO_SAVED_STATE,
    (_SAVED, Command.DISCARD_UNDO_DISKS): ErrorCode.VM_E_VM_RUNNING_OR_SAVED,
    (_ON, Command.DISCARD_UNDO_DISKS): ErrorCode.VM_E_VM_RUNNING_OR_SAVED,
    (_PAUSED, Command.DISCARD_UNDO_DISKS): ErrorCode.VM_E_VM_RUNNING_OR_SAVED,
}


#: The kind of task that deletes a machine.
DELETE = "machine_delete"


def seen_state(state: MachineState, task_kind: str | None) -> MachineState:
    """What the machine is doing, where the task that holds it says more than its host."""
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
    allowed = [state.name.lower().replace("_", " ") for (state, known) in LIFE if known is command]
    default = _CODES.get(machine.state, ErrorCode.ERROR_BUSY)
    raise WrongState(
        f"{machine.name} is {machine.state.name.lower().replace('_', ' ')} and cannot {command.words}.",
        machine=machine.name,
        state=machine.state.name,
        command=str(command),
        code=_CODES_OF_COMMAND.get((machine.state, command), default),
        advice=f"That is possible when it is {' or '.join(allowed)}.",
    )
