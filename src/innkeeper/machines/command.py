"""Say what each command does to a machine, and in which states it may be given."""

from __future__ import annotations

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
        return self.replace("_", " ")

    @property
    def kind(self) -> str:
        """The kind of task that carries it out."""
        return f"machine_{self}"


#: The life of a machine: where a command leads from each state that allows it. All else is refused.
LIFE: Mapping[tuple[MachineState, Command], MachineState] = {
    (MachineState.TURNED_OFF, Command.STARTUP): MachineState.RUNNING,
    (MachineState.SAVED, Command.STARTUP): MachineState.RUNNING,
    (MachineState.RUNNING, Command.SAVE): MachineState.SAVED,
    (MachineState.PAUSED, Command.SAVE): MachineState.SAVED,
    (MachineState.RUNNING, Command.TURN_OFF): MachineState.TURNED_OFF,
    (MachineState.PAUSED, Command.TURN_OFF): MachineState.TURNED_OFF,
    (MachineState.RUNNING, Command.SHUT_DOWN): MachineState.TURNED_OFF,
    (MachineState.RUNNING, Command.RESET): MachineState.RUNNING,
    (MachineState.RUNNING, Command.PAUSE): MachineState.PAUSED,
    (MachineState.PAUSED, Command.RESUME): MachineState.RUNNING,
    (MachineState.SAVED, Command.DISCARD_SAVED_STATE): MachineState.TURNED_OFF,
    (MachineState.TURNED_OFF, Command.MERGE_UNDO_DISKS): MachineState.TURNED_OFF,
    (MachineState.TURNED_OFF, Command.DISCARD_UNDO_DISKS): MachineState.TURNED_OFF,
}

#: What a cancel of the command's task does; the others are over too soon, or cannot be taken back.
CANCEL_EFFECTS: Mapping[Command, CancelEffect] = {Command.SAVE: CancelEffect.BACK_TO_START}

#: The documented identifier where a state refuses a command.
_CODES: Mapping[MachineState, ErrorCode] = {
    MachineState.TURNED_OFF: ErrorCode.VM_E_VM_NOT_RUNNING,
    MachineState.SAVED: ErrorCode.VM_E_VM_NOT_RUNNING,
    MachineState.RUNNING: ErrorCode.VM_E_VM_RUNNING,
    MachineState.PAUSED: ErrorCode.VM_E_VM_PAUSED,
}
_CODES_OF_COMMAND: Mapping[tuple[MachineState, Command], ErrorCode] = {
    (MachineState.PAUSED, Command.PAUSE): ErrorCode.E_FAIL,
    (MachineState.RUNNING, Command.RESUME): ErrorCode.E_FAIL,
    (MachineState.TURNED_OFF, Command.DISCARD_SAVED_STATE): ErrorCode.VM_E_VM_NO_SAVED_STATE,
    (MachineState.SAVED, Command.MERGE_UNDO_DISKS): ErrorCode.VM_E_VM_RUNNING_OR_SAVED,
    (MachineState.SAVED, Command.DISCARD_UNDO_DISKS): ErrorCode.VM_E_VM_RUNNING_OR_SAVED,
}


def refuse_state(machine: Machine, command: Command) -> None:
    """Raises ``WrongState``, naming state and command, where the machine's state does not allow it."""
    if (machine.state, command) in LIFE:
        return
    allowed = [state.name.lower().replace("_", " ") for (state, known) in LIFE if known is command]
    default = _CODES.get(machine.state, ErrorCode.ERROR_BUSY)
    raise WrongState(
        f"{machine.name} is {machine.state.name.lower().replace('_', ' ')}, which does not allow to "
        f"{command.words}.",
        machine=machine.name,
        state=machine.state.name,
        command=str(command),
        code=_CODES_OF_COMMAND.get((machine.state, command), default),
        advice=f"That is possible when it is {' or '.join(allowed)}.",
    )
