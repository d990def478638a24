"""Describe the messages that say whether machines can be maintained."""

from __future__ import annotations

import enum

from pydantic import AwareDatetime

from innkeeper.wire.messages import Message
from innkeeper.wire.states import GuestWay, RollBack


class DiskUndo(enum.StrEnum):
    """What an undo point does with a disk."""

    #: An overlay file takes the writes; a roll back deletes it.
    OVERLAY = "overlay"
    #: The guest cannot write to it: there is nothing to undo.
    READ_ONLY = "read_only"
    #: It is left out, by name or as a floppy: a roll back does not undo what is written to it.
    EXCLUDED = "excluded"
    #: No undo disk can be put over it, so the machine is not maintained.
    REFUSED = "refused"


class ObstacleMessage(Message):
    """One reason why a machine cannot be maintained."""

    #: The disk that it is about; empty where it is about the machine.
    disk: str
    sentence: str
    advice: str
    #: The one command that changes it; empty where no single command does.
    command: str
    #: The documented identifier, by name.
    code: str


class DiskCheckMessage(Message):
    """What an undo point does with one drive."""

    disk: str
    #: The image, device or volume behind it.
    path: str
    undo: DiskUndo
    #: Where its overlay file will lie; empty where there is none.
    directory: str


class MachineCheckMessage(Message):
    """Whether a machine can be maintained tonight, by the checks that an update run makes first."""

    machine: str
    host: str
    #: When it was looked at.
    at: AwareDatetime
    can_be_maintained: bool
    roll_back: RollBack
    #: Everything that is in the way; a run would be refused for the first.
    obstacles: tuple[ObstacleMessage, ...]
    disks: tuple[DiskCheckMessage, ...]
    #: What a roll back will not undo, and other remarks.
    notes: tuple[str, ...]
    #: How the guest is asked to update; nothing where nobody in it answers now.
    updates_through: GuestWay | None = None


class SilentHostMessage(Message):
    """A host whose machines could not be looked at."""

    host: str
    sentence: str
    advice: str


class CheckList(Message):
    """Checks of machines, by name."""

    machines: tuple[MachineCheckMessage, ...]
    #: Hosts that did not answer in time: nothing is known of their machines.
    silent: tuple[SilentHostMessage, ...] = ()

    @property
    def all_can(self) -> bool:
        """Whether every machine can be maintained, and every host answered."""
        return not self.silent and all(each.can_be_maintained for each in self.machines)
