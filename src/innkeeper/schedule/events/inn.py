"""Show the inn's own events as events of the log, each kind under a number of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from innkeeper.schedule.events.record import Facts, Level, Record, record
from innkeeper.wire.events import Event, Json

PROVIDER: Final = "Innkeeper"
#: All of the inn's events; those about one noun are in a channel of their own beside it.
CHANNEL: Final = "Innkeeper"
#: By the first word of the kind.
CHANNELS: Final[Mapping[str, str]] = {
    "machine": "Innkeeper/Machines",
    "task": "Innkeeper/Tasks",
    "update": "Innkeeper/Updates",
    "agent": "Innkeeper/Agents",
    "host": "Innkeeper/Hosts",
    "undo": "Innkeeper/UndoDisks",
}
#: ``System/EventID`` of each kind. A number that was given stays.
EVENT_IDS: Final[Mapping[str, int]] = {
    "machine.defined": 100,
    "machine.undefined": 101,
    "machine.started": 102,
    "machine.stopped": 103,
    "machine.stopping": 104,
    "machine.saved": 105,
    "machine.paused": 106,
    "machine.resumed": 107,
    "machine.rebooted": 108,
    "machine.crashed": 109,
    "machine.agent_port_changed": 110,
    "machine.guest_agent_changed": 111,
    "machine.merging": 112,
    "task.created": 200,
    "task.changed": 201,
    "task.ended": 202,
    "task.logged": 203,
    "update.booked": 300,
    "update.deleted": 301,
    "update.started": 302,
    "update.state_changed": 303,
    "update.ended": 304,
    "update.scanned": 305,
    "agent.connected": 400,
    "agent.lost": 401,
    "agent.quarantined": 402,
    "agent.released": 403,
    "host.connected": 500,
    "host.lost": 501,
    "host.silent": 502,
    "undo.needs_help": 600,
    "undo.leftover_deleted": 601,
}
#: What has no number of its own yet.
OTHER: Final = 999

_LEVELS: Final[Mapping[str, Level]] = {
    "machine.crashed": Level.ERROR,
    "agent.lost": Level.WARNING,
    "agent.quarantined": Level.WARNING,
    "host.lost": Level.ERROR,
    "host.silent": Level.WARNING,
    "undo.needs_help": Level.ERROR,
}
_LOG_LEVELS: Final[Mapping[str, Level]] = {"warning": Level.WARNING, "error": Level.ERROR}
#: How the operations that carry instances are described.
_INSTANCE = "scheduled_task"


def channel_of(kind: str) -> str:
    """The channel of a kind of event."""
    return CHANNELS.get(kind.partition(".")[0], CHANNEL)


def of_event(event: Event, *, identifier: str, computer: str) -> Record:
    """The inn's event in the log's shape: its kind, its subject and its data are ``EventData``."""
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
    if event.kind == "task.ended":
        return Level.ERROR if event.data.get("error") else Level.INFORMATION
    if event.kind == "task.logged":
        return _LOG_LEVELS.get(str(event.data.get("level")), Level.VERBOSE)
    return _LEVELS.get(event.kind, Level.VERBOSE if event.kind == "task.changed" else Level.INFORMATION)


def _cause(event: Event) -> str:
    """The scheduled task that the event's operation carries an instance of."""
    if event.data.get("kind") != _INSTANCE:
        return ""
    return str(event.data.get("description", "")).removeprefix("Run ")


def _text(value: Json) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value)
