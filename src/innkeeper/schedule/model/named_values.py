"""Values by name (``ITaskNamedValueCollection``)."""

from __future__ import annotations

import dataclasses

from innkeeper.schedule.model.collection import Changeable
from innkeeper.schedule.xml.deviation import Findings
from innkeeper.schedule.xml.markup import Tag
from innkeeper.schedule.xml.node import NAMESPACE, Node, local

_MOST = 32


@dataclasses.dataclass(frozen=True, slots=True)
class NamedValuePair:
    """A name and its value (``ITaskNamedValuePair``)."""

    name: str
    value: str


class NamedValueCollection(Changeable[NamedValuePair]):
    """Values by name, numbered from 1 (``ITaskNamedValueCollection``)."""

    most = _MOST

    def create(self, name: str, value: str) -> NamedValuePair:
        """Add a pair at the end (``Create``)."""
        return self.append(NamedValuePair(name, value))


class _Pairs:
    """Shared part of the two XML forms of named values."""

    def coerce(self, value: object) -> NamedValueCollection:
        if not isinstance(value, NamedValueCollection):
            raise ValueError("it is not a NamedValueCollection")
        return value


class ValueQueries(_Pairs):
    """Named values as ``<Value name="user">Event/…</Value>``."""

    def read(self, node: Node, findings: Findings) -> NamedValueCollection:
        found = []
        for child in node.children:
            name = child.attributes.get("name", "")
            if child.name != "Value" or child.namespace != NAMESPACE:
                findings.unexpected(child, "ValueQueries holds Value only")
            elif not name:
                findings.missing(child, "name")
            else:
                found.append(NamedValuePair(name, child.text.strip()))
        return _collected(node, found, findings)

    def write(self, name: str, value: NamedValueCollection) -> Tag:
        children = tuple(Tag(name="Value", attributes={"name": pair.name}, text=pair.value) for pair in value)
        return Tag(name=name, children=children)


class HeaderFields(_Pairs):
    """Named values as ``<HeaderField><Name>…</Name><Value>…</Value></HeaderField>``."""

    def read(self, node: Node, findings: Findings) -> NamedValueCollection:
        found = []
        for child in node.children:
            name, value = local(child.children, "Name"), local(child.children, "Value")
            if child.name != "HeaderField" or child.namespace != NAMESPACE:
                findings.unexpected(child, "HeaderFields holds HeaderField only")
            elif name is None or value is None:
                findings.missing(child, "Name" if name is None else "Value")
            else:
                found.append(NamedValuePair(name.text, value.text))
        return _collected(node, found, findings)

    def write(self, name: str, value: NamedValueCollection) -> Tag:
        return Tag(name=name, children=tuple(_header(pair) for pair in value))


def _header(pair: NamedValuePair) -> Tag:
    return Tag(
        name="HeaderField", children=(Tag(name="Name", text=pair.name), Tag(name="Value", text=pair.value))
    )


def _collected(node: Node, found: list[NamedValuePair], findings: Findings) -> NamedValueCollection:
    if len(found) > _MOST:
        findings.invalid(node, f"it holds more than {_MOST}", value=str(len(found)))
    return NamedValueCollection(tuple(found[:_MOST]))
