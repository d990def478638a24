"""What happened, as one stream of values."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
from collections.abc import Callable, Mapping
from typing import Self

Json = str | int | float | bool | None | list["Json"] | Mapping[str, "Json"]


class EventGroup(enum.StrEnum):
    """Groups of events: the first word of their kinds."""

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

    MACHINE_DEFINED = "machine.defined", "A machine was defined, or its definition was replaced."
    MACHINE_UNDEFINED = "machine.undefined", "A machine was removed."
    MACHINE_STARTED = "machine.started", "A machine was started, or restored from its saved state."
    MACHINE_PAUSED = "machine.paused", "A machine was paused, by a command or by its host."
    MACHINE_RESUMED = "machine.resumed", "A paused machine was resumed."
    MACHINE_REBOOTED = "machine.rebooted", "The guest has rebooted, or was reset."
    MACHINE_STOPPING = "machine.stopping", "The guest has powered off, and the machine is about to stop."
    MACHINE_STOPPED = "machine.stopped", "A machine was turned off."
    MACHINE_SAVED = "machine.saved", "A machine's memory was saved, and it is off."
    MACHINE_CRASHED = "machine.crashed", "The guest or its hypervisor crashed."
    MACHINE_MERGING = "machine.merging", "A machine's undo disks are being merged."
    MACHINE_CONFIGURATION_CHANGED = "machine.configuration_changed", "A machine's configuration was changed."
    MACHINE_MEDIUM_INSERTED = "machine.medium_inserted", "A medium was put into a drive."
    MACHINE_MEDIUM_EJECTED = "machine.medium_ejected", "A medium was taken out of a drive."
    MACHINE_AGENT_PORT_CHANGED = (
        "machine.agent_port_changed",
        "The task agent's port was added to a machine.",
    )
    MACHINE_GUEST_AGENT_CHANGED = (
        "machine.guest_agent_changed",
        "qemu-guest-agent was connected or disconnected.",
    )
    MACHINE_GUEST_LOGGED_OFF = (
        "machine.guest_logged_off",
        "A session in the guest was logged off by a command.",
    )
    MACHINE_HEARTBEAT_STOPPED = (
        "machine.heartbeat_stopped",
        "A guest that sent heartbeats has sent none for a minute.",
    )
    MACHINE_DISK_OUT_OF_SPACE = (
        "machine.disk_out_of_space",
        "The host has little space left for a running machine's disks.",
    )
    MACHINE_NOT_THAWED = (
        "machine.not_thawed",
        "A guest that was asked to freeze its file systems has not said for a minute that they are thawed.",
    )
    TASK_CREATED = "task.created", "A task was created, and will run."
    TASK_CHANGED = (
        "task.changed",
        "A task's progress has changed, its cancel was requested, or the effect of one has changed.",
    )
    TASK_ENDED = "task.ended", "A task has ended."
    TASK_LOGGED = "task.logged", "A line was added to a task's log."
    UPDATE_BOOKED = "update.booked", "An update was booked, or its booking replaced."
    UPDATE_DELETED = "update.deleted", "A booking was deleted."
    UPDATE_STARTED = "update.started", "The run of a booked update has started."
    UPDATE_STATE_CHANGED = (
        "update.state_changed",
        "The state of an update has changed, in its guest or on its host.",
    )
    UPDATE_ENDED = "update.ended", "A booked update has its verdict."
    UPDATE_PUT_OFF = (
        "update.put_off",
        "The run of a booked update changed nothing, as it could not begin: it is tried again.",
    )
    UPDATE_ON_PROBATION = (
        "update.on_probation",
        "An update is kept past its window, and its machine runs on undo disks that somebody holds.",
    )
    UPDATE_SCANNED = "update.scanned", "The updates available to a guest were listed."
    AGENT_CONNECTED = (
        "agent.connected",
        "A guest's task agent has connected, or its guest answers through qemu-guest-agent.",
    )
    AGENT_LOST = (
        "agent.lost",
        "A guest's task agent has disconnected, or its guest no longer answers through qemu-guest-agent.",
    )
    AGENT_QUARANTINED = (
        "agent.quarantined",
        "A guest broke the protocol too often, and is ignored for a while.",
    )
    AGENT_RELEASED = "agent.released", "A guest that was ignored is accepted again."
    CHANNEL_OPENED = "channel.opened", "A channel to a port of a guest was opened."
    CHANNEL_CLOSED = "channel.closed", "A channel was closed."
    HOST_CONNECTED = "host.connected", "A host was connected."
    HOST_LOST = "host.lost", "The connection to a host was lost."
    HOST_SILENT = "host.silent", "A host does not answer in time."
    UNDO_NEEDS_HELP = "undo.needs_help", "An undo disk was found about which an administrator has to decide."
    UNDO_LEFTOVER_DELETED = "undo.leftover_deleted", "An unused undo disk was deleted."
    EVENTS_LOST = "events.lost", "Events before this one are no longer available: read again what you follow."

    @property
    def group(self) -> EventGroup:
        """Group that the kind belongs to."""
        return EventGroup(self.value.partition(".")[0])


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One thing that happened."""

    kind: EventKind
    #: What it happened to: a machine as people call it, a task's id, a booking's machine and identifier.
    subject: str
    #: When, aware and in UTC.
    at: dt.datetime
    #: What else is known.
    data: Mapping[str, Json] = dataclasses.field(default_factory=dict)

    @property
    def about(self) -> str:
        """The subject, for programs: a machine's key where it is known, else as ``subject``."""
        key, host = self.data.get("key"), self.data.get("host")
        if isinstance(key, str):
            return key
        is_named = self.kind.group is EventGroup.MACHINE and isinstance(host, str) and "/" not in self.subject
        return f"{host}/{self.subject}" if is_named else self.subject


def filter_of(*kinds: EventKind | EventGroup) -> str:
    """These kinds as a filter of the stream: patterns parted by commas."""
    return ",".join(kind.pattern if isinstance(kind, EventGroup) else kind for kind in kinds)


#: How a room tells the house what happened. It never blocks and never raises.
Publish = Callable[[Event], None]
