"""Innkeeper's own events in the shape of the event log, each kind with a number of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from innkeeper.schedule.events.record import Facts, Level, Record, record
from innkeeper.wire.events import Event, EventGroup, EventKind, Json

PROVIDER: Final = "Innkeeper"
#: All of Innkeeper's events; those about one noun are in a channel of their own beside it.
CHANNEL: Final = "Innkeeper"
#: By what they are about.
CHANNELS: Final[Mapping[EventGroup, str]] = {
    EventGroup.MACHINE: "Innkeeper/Machines",
    EventGroup.TASK: "Innkeeper/Tasks",
    EventGroup.UPDATE: "Innkeeper/Updates",
    EventGroup.AGENT: "Innkeeper/Agents",
    EventGroup.HOST: "Innkeeper/Hosts",
    EventGroup.UNDO: "Innkeeper/UndoDisks",
}
#: ``System/EventID`` of each kind. A number that was given stays.
EVENT_IDS: Final[Mapping[EventKind, int]] = {
    EventKind.MACHINE_DEFINED: 100,
    EventKind.MACHINE_UNDEFINED: 101,
    EventKind.MACHINE_STARTED: 102,
    EventKind.MACHINE_STOPPED: 103,
    EventKind.MACHINE_STOPPING: 104,
    EventKind.MACHINE_SAVED: 105,
    EventKind.MACHINE_PAUSED: 106,
    EventKind.MACHINE_RESUMED: 107,
    EventKind.MACHINE_REBOOTED: 108,
    EventKind.MACHINE_CRASHED: 109,
    EventKind.MACHINE_AGENT_PORT_CHANGED: 110,
    EventKind.MACHINE_GUEST_AGENT_CHANGED: 111,
    EventKind.MACHINE_MERGING: 112,
    EventKind.TASK_CREATED: 200,
    EventKind.TASK_CHANGED: 201,
    EventKind.TASK_ENDED: 202,
    EventKind.TASK_LOGGED: 203,
    EventKind.UPDATE_BOOKED: 300,
    EventKind.UPDATE_DELETED: 301,
    EventKind.UPDATE_STARTED: 302,
    EventKind.UPDATE_STATE_CHANGED: 303,
    EventKind.UPDATE_ENDED: 304,
    EventKind.UPDATE_SCANNED: 305,
    EventKind.UPDATE_PUT_OFF: 306,
    EventKind.UPDATE_ON_PROBATION: 307,
    EventKind.AGENT_CONNECTED: 400,
    EventKind.AGENT_LOST: 401,
    EventKind.AGENT_QUARANTINED: 402,
    EventKind.AGENT_RELEASED: 403,
    EventKind.HOST_CONNECTED: 500,
    EventKind.HOST_LOST: 501,
    EventKind.HOST_SILENT: 502,
    EventKind.UNDO_NEEDS_HELP: 600,
    EventKind.UNDO_LEFTOVER_DELETED: 601,
}
#: What has no number of its own yet.
OTHER: Final = 999

_LEVELS: Final[Mapping[EventKind, Level]] = {
    EventKind.TASK_CHANGED: Level.VERBOSE,
    EventKind.MACHINE_CRASHED: Level.ERROR,
    EventKind.UPDATE_PUT_OFF: Level.WARNING,
    EventKind.UPDATE_ON_PROBATION: Level.WARNING,
    EventKind.AGENT_LOST: Level.WARNING,
    EventKind.AGENT_QUARANTINED: Level.WARNING,
    EventKind.HOST_LOST: Level.ERROR,
    EventKind.HOST_SILENT: Level.WARNING,
    EventKind.UNDO_NEEDS_HELP: Level.ERROR,
}
_LOG_LEVELS: Final[Mapping[str, Level]] = {"warning": Level.WARNING, "error": Level.ERROR}
#: How the operations that carry instances are described.
_INSTANCE = "scheduled_task"


def channel_of(kind: EventKind) -> str:
    """The channel of a kind of event."""
    return CHANNELS.get(kind.group, CHANNEL)


def of_event(event: Event, *, identifier: str, computer: str) -> Record:
    """Return the event as a log record: its kind, subject and data are ``EventData``."""
    data = {"Kind": event.kind, "Subject": event.subject}
    data |= {name: _text(value) for name, value in event.data.items() if value is not None}
    return record(
        Facts(
            id=identifier,
            at=event.at,
            provider=PROVIDER,
            event_id=EVENT_IDS.get(event.kind, OTHER),
            level=_level(event),
            channel=channel_of(event.kind),
            also_in=(CHANNEL,),
            computer=computer,
            data=data,
            caused_by=_cause(event),
        )
    )


def _level(event: Event) -> Level:
    if event.kind is EventKind.TASK_ENDED:
        return Level.ERROR if event.data.get("error") else Level.INFORMATION
    if event.kind is EventKind.TASK_LOGGED:
        return _LOG_LEVELS.get(str(event.data.get("level")), Level.VERBOSE)
    return _LEVELS.get(event.kind, Level.INFORMATION)


def _cause(event: Event) -> str:
    """Return the scheduled task whose instance the event's operation carries."""
    if event.data.get("kind") != _INSTANCE:
        return ""
    return str(event.data.get("description", "")).removeprefix("Run ")


def _text(value: Json) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value)
