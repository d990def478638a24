"""Event subscriptions: the channels of a query, and what it selects and suppresses."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable

from innkeeper.errors import ErrorCode, ScheduleError
from innkeeper.schedule.events.record import Record
from innkeeper.schedule.events.xpath import XPath
from innkeeper.schedule.events.xpath_parser import XPathError
from innkeeper.schedule.xml.encoding import checked
from innkeeper.schedule.xml.node import Node, parse

#: More queries and selectors than this in one subscription are refused.
_MOST_SELECTORS = 32
_LONGEST = 64 << 10
_ADVICE = (
    'Write it as <QueryList><Query Id="0"><Select Path="Innkeeper">*[System[EventID=103]]</Select>'
    "</Query></QueryList>."
)


@dataclasses.dataclass(frozen=True, slots=True)
class Selector:
    """One ``Select`` or ``Suppress``: a channel and what is meant in it."""

    channel: str
    xpath: XPath

    def matches(self, record: Record, now: dt.datetime) -> bool:
        """Whether the selector matches the event."""
        return self.channel.casefold() in record.channels and self.xpath.matches(record.tree, now)


@dataclasses.dataclass(frozen=True, slots=True)
class Query:
    """What is selected, without what is suppressed."""

    selects: tuple[Selector, ...]
    suppresses: tuple[Selector, ...]


class Subscription:
    """A compiled ``QueryList``."""

    def __init__(self, text: str) -> None:
        """Raises ``ScheduleError`` (0x80041318, node ``Subscription``) where the text is no query."""
        try:
            self._queries = _queries(text)
        except (XPathError, ScheduleError) as problem:
            raise ScheduleError(
                f"The event query cannot be used: {problem}".rstrip(".") + ".",
                code=ErrorCode.SCHED_E_INVALIDVALUE,
                advice=_ADVICE,
                node="Subscription",
                value=text[:260],
            ) from problem

    @property
    def channels(self) -> frozenset[str]:
        """The subscription's channels, as written."""
        return frozenset(select.channel for query in self._queries for select in query.selects)

    def matches(self, record: Record, now: dt.datetime) -> bool:
        """Whether the event is selected and not suppressed."""
        return any(
            any(select.matches(record, now) for select in query.selects)
            and not any(suppress.matches(record, now) for suppress in query.suppresses)
            for query in self._queries
        )


def _queries(text: str) -> tuple[Query, ...]:
    if len(text) > _LONGEST:
        raise XPathError(f"it has {len(text):,} characters; {_LONGEST:,} are allowed")
    root = parse(checked(text).strip())
    if root.name != "QueryList":
        raise XPathError(f"it must be a QueryList, and not {root.name}")
    queries = tuple(_query(node) for node in _named(root, ("Query",)))
    if not any(query.selects for query in queries):
        raise XPathError("it selects nothing")
    if sum(len(query.selects) + len(query.suppresses) for query in queries) > _MOST_SELECTORS:
        raise XPathError(f"it has more than {_MOST_SELECTORS} selectors")
    return queries


def _query(node: Node) -> Query:
    found: dict[str, list[Selector]] = {"Select": [], "Suppress": []}
    for child in _named(node, found):
        found[child.name].append(_selector(child, node.attributes.get("Path", "")))
    return Query(tuple(found["Select"]), tuple(found["Suppress"]))


def _selector(node: Node, inherited: str) -> Selector:
    channel = node.attributes.get("Path", inherited).strip()
    if not channel:
        raise XPathError(f"{node.name} names no channel in its Path")
    if channel.casefold().startswith("file:"):
        raise XPathError("only live events can be selected, not those of a file")
    return Selector(channel, XPath(node.text.strip() or "*"))


def _named(node: Node, names: Iterable[str]) -> list[Node]:
    for child in node.children:
        if child.name not in names:
            raise XPathError(f"{node.name} holds {' and '.join(names)}, and no {child.name}")
    return list(node.children)
