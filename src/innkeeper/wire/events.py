"""What happened, as one stream of values."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
from collections.abc import Callable, Mapping
from typing import Self

Json = str | int | float | bool | None | list["Json"] | Mapping[str, "Json"]


class EventGroup(enum.StrEnum):
    """What an event is about: the first word of its kind."""

    MACHINE = "machine"
    TASK = "task"
    UPDATE = "update"
    AGENT = "agent"
    CHANNEL = "channel"
    HOST = "host"
    UNDO = "undo"
    EVENTS = "events"

    @property
    def pattern(self) -> str:
        """The pattern of all its kinds, for a filter: ``task.*``."""
        return f"{self.value}.*"


class EventKind(enum.StrEnum):
    """What can happen: past tense and dotted, with a sentence each."""

    sentence: str

    def __new__(cls, value: str, sentence: str) -> Self:
        """A kind by its name on the wire."""
        kind = str.__new__(cls, value)
        kind._value_ = value
        kind.sentence = sentence
        return kind

    MACHINE_DEFINED = "machine.defined", "A machine is there that was not, or its definition was replaced."
    MACHINE_UNDEFINED = "machine.undefined", "A machine is no longer there."
    MACHINE_STARTED = "machine.started", "A machine runs: booted, or restored from its saved state."
    MACHINE_PAUSED = "machine.paused", "A machine was paused, by a command or by its host."
    MACHINE_RESUMED = "machine.resumed", "A paused machine goes on."
    MACHINE_REBOOTED = "machine.rebooted", "The guest has rebooted, or was reset."
    MACHINE_STOPPING = "machine.stopping", "The guest has powered off, and the machine is about to stop."
    MACHINE_STOPPED = "machine.stopped", "A machine is off."
    MACHINE_SAVED = "machine.saved", "A machine's memory is saved, and it is off."
    MACHINE_CRASHED = "machine.crashed", "The guest or its hypervisor broke."
    MACHINE_MERGING = "machine.merging", "A machine's undo disks are being merged."
    MACHINE_CONFIGURATION_CHANGED = "machine.configuration_changed", "A machine's configuration was changed."
    MACHINE_MEDIUM_INSERTED = "machine.medium_inserted", "A medium was put into a drive."
    MACHINE_MEDIUM_EJECTED = "machine.medium_ejected", "A medium was taken out of a drive."
    MACHINE_AGENT_PORT_CHANGED = (
        "machine.agent_port_changed",
        "A machine was given the port of the task agent.",
    )
    MACHINE_GUEST_AGENT_CHANGED = "machine.guest_agent_changed", "qemu-guest-agent has come or gone."
    MACHINE_GUEST_LOGGED_OFF = (
        "machine.guest_logged_off",
        "A session in the guest was logged off by a command.",
    )
    MACHINE_HEARTBEAT_STOPPED = (
        "machine.heartbeat_stopped",
        "A guest that gave signs of life has given none for a minute.",
    )
    MACHINE_DISK_OUT_OF_SPACE = (
        "machine.disk_out_of_space",
        "The host has little room left for a running machine's disks.",
    )
    TASK_CREATED = "task.created", "A task is written down, and will run."
    TASK_CHANGED = "task.changed", "A task's progress, its cancel or the effect of one has changed."
    TASK_ENDED = "task.ended", "A task has a result."
    TASK_LOGGED = "task.logged", "A task's log has one more line."
    UPDATE_BOOKED = "update.booked", "An update was booked, or its booking replaced."
    UPDATE_DELETED = "update.deleted", "A booking was deleted."
    UPDATE_STARTED = "update.started", "The run of a booked update has started."
    UPDATE_STATE_CHANGED = (
        "update.state_changed",
        "An update has another state in its guest, or another by its host.",
    )
    UPDATE_ENDED = "update.ended", "A booking has its verdict."
    UPDATE_SCANNED = "update.scanned", "A guest was asked for the updates that wait for it."
    AGENT_CONNECTED = "agent.connected", "A guest's task agent has a session with its host."
    AGENT_LOST = "agent.lost", "The session with a guest's task agent has ended."
    AGENT_QUARANTINED = (
        "agent.quarantined",
        "A guest broke the protocol too often, and is left alone for a while.",
    )
    AGENT_RELEASED = "agent.released", "A guest that was left alone is listened to again."
    CHANNEL_OPENED = "channel.opened", "A channel to a port of a guest was opened."
    CHANNEL_CLOSED = "channel.closed", "A channel has ended."
    HOST_CONNECTED = "host.connected", "A host answers."
    HOST_LOST = "host.lost", "The connection to a host is lost."
    HOST_SILENT = "host.silent", "A host does not answer in time."
    UNDO_NEEDS_HELP = "undo.needs_help", "An undo disk was found that a person has to decide about."
    UNDO_LEFTOVER_DELETED = "undo.leftover_deleted", "An undo disk that nothing stood on was deleted."
    EVENTS_LOST = "events.lost", "Events before this one can no longer be had: read anew what you follow."

    @property
    def group(self) -> EventGroup:
        """What it is about."""
        return EventGroup(self.value.partition(".")[0])


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One thing that happened."""

    kind: EventKind
    #: What it happened to: a machine's name, a task's id, a booking's key.
    subject: str
    #: When, aware and in UTC.
    at: dt.datetime
    #: What else is known.
    data: Mapping[str, Json] = dataclasses.field(default_factory=dict)


def filter_of(*kinds: EventKind | EventGroup) -> str:
    """These kinds as a filter of the stream: patterns parted by commas."""
    return ",".join(kind.pattern if isinstance(kind, EventGroup) else kind for kind in kinds)


#: How a room tells the house what happened. It never blocks and never raises.
Publish = Callable[[Event], None]
