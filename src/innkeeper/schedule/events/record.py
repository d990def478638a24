"""Events as records of the event log: the same shape for every source."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
from collections.abc import Mapping

from innkeeper.schedule.events.tree import LONGEST_VALUE, MOST_VALUES, Element
from innkeeper.schedule.xml.markup import Tag, render

NAMESPACE = "http://schemas.microsoft.com/win/2004/08/events/event"


class Level(enum.IntEnum):
    """Severity of an event (``System/Level``)."""

    CRITICAL = 1
    ERROR = 2
    WARNING = 3
    INFORMATION = 4
    VERBOSE = 5


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One event as queries see it."""

    #: Unique on this computer: what makes a start for it once alone.
    id: str
    at: dt.datetime
    #: The names of the channels it is in, folded.
    channels: frozenset[str]
    tree: Element
    #: The path of the scheduled task whose own instance it tells of; a task is not started by itself.
    caused_by: str = ""

    @property
    def xml(self) -> str:
        """The event as Event XML."""
        tag = _tag(self.tree)
        return render(dataclasses.replace(tag, attributes={"xmlns": NAMESPACE, **tag.attributes}))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What is known of an event before its record is made."""

    id: str
    at: dt.datetime
    provider: str
    event_id: int
    level: Level
    #: Its own channel, and others it can be found in.
    channel: str
    also_in: tuple[str, ...] = ()
    computer: str
    process: str = ""
    user: str = ""
    data: Mapping[str, str] = dataclasses.field(default_factory=dict)
    caused_by: str = ""


def record(facts: Facts) -> Record:
    """Return the event as a record: ``Event`` with ``System`` and ``EventData``."""
    shown = [
        Element("Data", value[:LONGEST_VALUE], {"Name": name})
        for name, value in list(facts.data.items())[:MOST_VALUES]
    ]
    return Record(
        id=facts.id,
        at=facts.at,
        channels=frozenset(name.casefold() for name in (facts.channel, *facts.also_in)),
        tree=Element("Event", children=(_system(facts), Element("EventData", children=tuple(shown)))),
        caused_by=facts.caused_by,
    )


def _system(facts: Facts) -> Element:
    moment = facts.at.astimezone(dt.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return Element(
        "System",
        children=(
            Element("Provider", attributes={"Name": facts.provider}),
            Element("EventID", str(facts.event_id)),
            Element("Version", "0"),
            Element("Level", str(int(facts.level))),
            Element("Task", "0"),
            Element("Opcode", "0"),
            Element("Keywords", "0x0"),
            Element("TimeCreated", attributes={"SystemTime": moment}),
            Element("EventRecordID", facts.id),
            Element("Execution", attributes={"ProcessID": facts.process} if facts.process else {}),
            Element("Channel", facts.channel),
            Element("Computer", facts.computer),
            Element("Security", attributes={"UserID": facts.user} if facts.user else {}),
        ),
    )


def _tag(element: Element) -> Tag:
    return Tag(
        name=element.name,
        attributes=dict(element.attributes),
        text=element.text,
        children=tuple(_tag(child) for child in element.children),
    )
