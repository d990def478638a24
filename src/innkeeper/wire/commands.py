"""The commands that machines can be given: one table, which every door reads.

The command line's verbs, the routes, the client's methods, the buttons of the pages, the operations of
scheduled tasks and the reference are made from it, so that one act has one name everywhere.
"""

from __future__ import annotations

import abc
import dataclasses
import enum
from collections.abc import Iterable, Mapping
from typing import Final, Generic, TypeVar

from innkeeper.errors import ErrorCode, InvalidArgument
from innkeeper.wire.states import CancelEffect, MachineState, RoleName

Started = TypeVar("Started")

_CLASS_ID: Final = "{{6F1D2A10-8C0E-4E7B-9C55-1B1F0E5A{:04X}}}"

_OFF, _SAVED = MachineState.TURNED_OFF, MachineState.SAVED
_ON, _PAUSED = MachineState.RUNNING, MachineState.PAUSED


@dataclasses.dataclass(frozen=True, slots=True)
class Passage:
    """Where a command leads from a state, and what the machine is seen doing on the way."""

    #: ``None`` where the command is over too soon to be seen.
    via: MachineState | None
    to: MachineState


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Declaration:
    """Declaration of one command; its name is the member's own."""

    #: What it does, in a sentence: the verb's help, the button's text, the route's description.
    what: str
    #: The documented member that it carries; empty where it is our own.
    documented: str = ""
    #: The caption of its button.
    label: str
    #: The symbol of its button, of ``server/pages/static/icons.svg``.
    icon: str
    #: What is lost, where something is: then the page asks first.
    warning: str = ""
    #: Where it leads from each state that allows it; every other state refuses it.
    life: Mapping[MachineState, Passage]
    #: The documented identifiers with which states refuse it, where they are not the usual ones.
    refusals: Mapping[MachineState, ErrorCode] = dataclasses.field(default_factory=dict)
    #: What a cancel of its task does; most are over too soon, or cannot be taken back.
    cancel_effect: CancelEffect = CancelEffect.NONE
    #: The role on the machine that it needs.
    role: RoleName = RoleName.OPERATOR
    #: The number in its class id, by which scheduled tasks call it. A number that was given stays.
    number: int
    #: The last part of its route, ``POST /v1/machines/{name}/…``, where it is not the command's name.
    route: str = ""
    #: The verb that the command line's help shows.
    verb: str = ""
    #: Another verb's option that stands for it, where it has no verb of its own.
    option: str = ""
    #: Everyday names that are accepted too.
    aliases: tuple[str, ...] = ()
    #: What it is called in sentences (“cannot …”), where that is not its name in words.
    words: str = ""
    #: Whether it works on undo disks, so that it is offered only where there are some.
    on_undo_disks: bool = False
    #: Whether it is a single act of the host (``Lifecycle.act``), and over at once.
    is_one_act: bool = False
    #: Whether it waits for the guest, and can be told how long.
    has_timeout: bool = False


class Command(enum.StrEnum):
    """Commands of a machine, in the order in which people see them."""

    declaration: Declaration

    def __new__(cls, value: str, declaration: Declaration) -> Command:
        """Keep each name with its declaration."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.declaration = declaration
        return member

    STARTUP = (
        "startup",
        Declaration(
            what="Turn a machine on, or restore its saved state.",
            documented="IVMVirtualMachine::Startup",
            label="Start",
            icon="on",
            life={
                _OFF: Passage(MachineState.TURNING_ON, _ON),
                _SAVED: Passage(MachineState.RESTORING, _ON),
            },
            number=0x01,
            verb="start",
            aliases=("turn_on", "power_on"),
            words="start",
        ),
    )
    RESUME = (
        "resume",
        Declaration(
            what="Continue a paused machine.",
            documented="IVMVirtualMachine::Resume",
            label="Resume",
            icon="on",
            life={_PAUSED: Passage(None, _ON)},
            refusals={_ON: ErrorCode.E_FAIL},
            number=0x09,
            verb="resume",
            aliases=("unpause",),
        ),
    )
    PAUSE = (
        "pause",
        Declaration(
            what="Stop a machine's processors; memory and disks stay as they are.",
            documented="IVMVirtualMachine::Pause",
            label="Pause",
            icon="pause",
            life={_ON: Passage(None, _PAUSED)},
            refusals={_PAUSED: ErrorCode.E_FAIL},
            number=0x08,
            verb="pause",
        ),
    )
    SAVE = (
        "save",
        Declaration(
            what="Save a machine's memory to the host's disk, and turn it off.",
            documented="IVMVirtualMachine::Save",
            label="Save",
            icon="save",
            # A machine that was paused when it was saved comes back paused.
            life={
                _ON: Passage(MachineState.SAVING, _SAVED),
                _PAUSED: Passage(MachineState.SAVING, _SAVED),
            },
            cancel_effect=CancelEffect.BACK_TO_START,
            number=0x02,
            verb="save",
        ),
    )
    SHUT_DOWN = (
        "shut_down",
        Declaration(
            what="Ask a machine's guest to shut down, and wait until it has.",
            documented="IVMGuestOS::Shutdown",
            label="Shut down",
            icon="off",
            life={_ON: Passage(MachineState.TURNING_OFF, _OFF)},
            refusals={_PAUSED: ErrorCode.VM_E_VM_PAUSED},
            number=0x03,
            route="shutdown",
            verb="stop",
            aliases=("power_down",),
            has_timeout=True,
        ),
    )
    RESET = (
        "reset",
        Declaration(
            what="Press a machine's reset button without asking its guest.",
            documented="IVMVirtualMachine::Reset",
            label="Reset",
            icon="reset",
            warning="What the guest has not written to its disks is lost.",
            life={_ON: Passage(None, _ON)},
            refusals={_PAUSED: ErrorCode.VM_E_VM_NOT_RUNNING},
            number=0x07,
            verb="reset",
            is_one_act=True,
        ),
    )
    INJECT_NMI = (
        "inject_nmi",
        Declaration(
            what="Send a machine a non-maskable interrupt, so that a hung guest reports or dumps its state.",
            label="Send NMI",
            words="interrupt",
            icon="help",
            warning="A guest that is set to panic at it stops or reboots; what it has not written is lost.",
            life={_ON: Passage(None, _ON)},
            number=0x0B,
            verb="nmi",
            is_one_act=True,
        ),
    )
    TURN_OFF = (
        "turn_off",
        Declaration(
            what="Cut a machine's power without asking its guest.",
            documented="IVMVirtualMachine::TurnOff",
            label="Turn off",
            icon="off",
            warning="What the guest has not written to disk is lost. “Shut down” asks the guest instead.",
            life={
                _ON: Passage(MachineState.TURNING_OFF, _OFF),
                _PAUSED: Passage(MachineState.TURNING_OFF, _OFF),
            },
            number=0x04,
            option="stop --force",
            aliases=("power_off",),
        ),
    )
    DISCARD_SAVED_STATE = (
        "discard_saved_state",
        Declaration(
            what="Delete a machine's saved memory; it is off afterwards.",
            documented="IVMVirtualMachine::DiscardSavedState",
            label="Discard saved state",
            icon="bad",
            warning="Whatever was running when it was saved is lost, as in a power cut.",
            life={_SAVED: Passage(None, _OFF)},
            refusals={_OFF: ErrorCode.VM_E_VM_NO_SAVED_STATE},
            number=0x0A,
            verb="discard-saved-state",
        ),
    )
    MERGE_UNDO_DISKS = (
        "merge_undo_disks",
        Declaration(
            what="Merge the changes in a machine's undo disks into its disks for good.",
            documented="IVMVirtualMachine::MergeUndoDisks",
            label="Merge undo disks",
            icon="layer",
            warning="Once a merge has begun it can only be finished: the changes can no longer be undone.",
            life={
                _OFF: Passage(MachineState.MERGING_DRIVES, _OFF),
                _SAVED: Passage(MachineState.MERGING_DRIVES, _SAVED),
                # Its guest runs on meanwhile.
                _ON: Passage(None, _ON),
                _PAUSED: Passage(None, _PAUSED),
            },
            cancel_effect=CancelEffect.BACK_TO_START,
            number=0x05,
            option="undo --merge",
            aliases=("keep_undo_disks",),
            on_undo_disks=True,
        ),
    )
    DISCARD_UNDO_DISKS = (
        "discard_undo_disks",
        Declaration(
            what="Discard what was written since a machine's undo disks were created.",
            documented="IVMVirtualMachine::DiscardUndoDisks",
            label="Discard undo disks",
            icon="back",
            warning="Everything that the machine has written since then is lost.",
            life={_OFF: Passage(None, _OFF)},
            refusals={
                _SAVED: ErrorCode.VM_E_VM_RUNNING_OR_SAVED,
                _ON: ErrorCode.VM_E_VM_RUNNING_OR_SAVED,
                _PAUSED: ErrorCode.VM_E_VM_RUNNING_OR_SAVED,
            },
            number=0x06,
            option="undo --discard",
            on_undo_disks=True,
        ),
    )
    GO_BACK_TO_RUNNING = (
        "go_back_to_running",
        Declaration(
            what="Go back to the running moment of a machine's undo point, whose memory was kept.",
            label="Go back to the running moment",
            icon="back",
            warning="Everything that the machine has done since then is lost.",
            life={
                _ON: Passage(MachineState.RESTORING, _ON),
                _PAUSED: Passage(MachineState.RESTORING, _ON),
                _OFF: Passage(MachineState.RESTORING, _ON),
            },
            number=0x0C,
            option="undo --to-running",
            on_undo_disks=True,
        ),
    )

    @property
    def words(self) -> str:
        """The command's name in sentences."""
        return self.declaration.words or self.replace("_", " ")

    @property
    def kind(self) -> str:
        """The kind of task that carries it out."""
        return f"machine_{self}"

    @property
    def route(self) -> str:
        """The last part of its route."""
        return self.declaration.route or str(self)

    @property
    def class_id(self) -> str:
        """The class id by which a scheduled task calls it."""
        return _CLASS_ID.format(self.declaration.number)

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that it answers to, its own first."""
        others = (self.route, self.declaration.verb, *self.declaration.aliases)
        return tuple(dict.fromkeys((str(self), *(_plain(name) for name in others if name))))


def _plain(name: str) -> str:
    """A name as it is compared: ``Turn-Off`` is ``turn_off``."""
    return name.strip().casefold().replace("-", "_").replace(" ", "_")


#: Every command, by each name that is accepted.
_BY_NAME: Final[Mapping[str, Command]] = {name: command for command in Command for name in command.names}


def find_command(name: str) -> Command | None:
    """The command of this name, whether documented or everyday; ``None`` where there is none."""
    return _BY_NAME.get(_plain(name))


def command_of(name: str) -> Command:
    """The command of this name. Raises ``InvalidArgument`` with the list of all names."""
    found = find_command(name)
    if found is None:
        raise no_command(name, Command)
    return found


def class_id_of(name: str, operations: Mapping[str, str]) -> str:
    """The class id of an operation that a scheduled task calls; ``operations`` are those of the service.

    Raises ``InvalidArgument`` with the list of all names.
    """
    command = find_command(name)
    plain = _plain(name) if command is None else str(command)
    if plain not in operations:
        raise no_command(name, operations)
    return operations[plain]


def no_command(name: str, known: Iterable[str]) -> InvalidArgument:
    """The error for a name that no command has."""
    return InvalidArgument(
        f"There is no operation “{name[:80]}”.",
        advice=f"There are {', '.join(_with_names(each) for each in known)}.",
    )


def _with_names(name: str) -> str:
    command = find_command(name)
    others = ", ".join(command.names[1:]) if command is not None else ""
    return f"{name} ({others})" if others else name


class MachineCommands(abc.ABC, Generic[Started]):
    """The commands as methods of a machine; each returns what stands for the task that was started."""

    @abc.abstractmethod
    def command(self, command: Command | str, *, timeout_seconds: float | None = None) -> Started:
        """Give a command, by any of its names. Raises ``InvalidArgument`` for a name that there is not."""

    def startup(self) -> Started:
        """Turn it on, or restore its saved state (``Startup``)."""
        return self.command(Command.STARTUP)

    def resume(self) -> Started:
        """Continue the paused machine (``Resume``)."""
        return self.command(Command.RESUME)

    def pause(self) -> Started:
        """Stop its processors (``Pause``)."""
        return self.command(Command.PAUSE)

    def save(self) -> Started:
        """Save its memory to disk and stop it (``Save``)."""
        return self.command(Command.SAVE)

    def shutdown(self, *, timeout_seconds: float | None = None) -> Started:
        """Ask its guest to shut down, and wait until it has (``GuestOS.Shutdown``).

        The task fails with VM_E_TIMED_OUT where that takes longer than ``timeout_seconds``, 300 if left out.
        """
        return self.command(Command.SHUT_DOWN, timeout_seconds=timeout_seconds)

    def reset(self) -> Started:
        """Press its reset button (``Reset``)."""
        return self.command(Command.RESET)

    def inject_nmi(self) -> Started:
        """Send it a non-maskable interrupt: a kernel that hangs may report, dump or reboot."""
        return self.command(Command.INJECT_NMI)

    def turn_off(self) -> Started:
        """Cut the power (``TurnOff``)."""
        return self.command(Command.TURN_OFF)

    def discard_saved_state(self) -> Started:
        """Delete the saved memory; the machine is off afterwards (``DiscardSavedState``)."""
        return self.command(Command.DISCARD_SAVED_STATE)

    def merge_undo_disks(self) -> Started:
        """Keep what was written since its undo disks were taken (``MergeUndoDisks``)."""
        return self.command(Command.MERGE_UNDO_DISKS)

    def discard_undo_disks(self) -> Started:
        """Throw away what was written since its undo disks were taken (``DiscardUndoDisks``)."""
        return self.command(Command.DISCARD_UNDO_DISKS)

    def go_back_to_running(self) -> Started:
        """Go back to the running moment of its undo point, if its memory was kept."""
        return self.command(Command.GO_BACK_TO_RUNNING)
