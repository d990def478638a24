"""Read libvirt's own grammar of its documents (RELAX NG), and write documents by it.

What is written is steered: of all that the grammar leaves to choice, only what leads to the wanted parts is
taken. So each document is short, and every part of the grammar can be had.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from lxml import etree

from tests.hypervisor.matching_texts import matching

_NAMESPACE = "{http://relaxng.org/ns/structure/1.0}"
#: How often an element may stand within one of its own name: images below images.
_DEPTH = 2
_NOTHING: frozenset[str] = frozenset()
#: The largest whole number that is written; libvirt multiplies some.
_LARGEST = 4096
_WORD = "[a-z]{1,8}"


@dataclasses.dataclass(frozen=True, slots=True)
class _Place:
    """Where in a document one stands: the path from its root, as ``disk/driver``."""

    path: str = ""

    def within(self, name: str) -> _Place:
        return _Place(f"{self.path}/{name}" if self.path else name)

    def is_too_deep(self, name: str) -> bool:
        return self.path.split("/").count(name) >= _DEPTH


class Grammar:
    """A grammar, with all that it includes.

    ``pinned`` has the texts of some places (by the end of their path), where the grammar would allow more.
    """

    def __init__(self, file: Path, pinned: Mapping[str, Sequence[str]] | None = None) -> None:
        self._pinned = pinned or {}
        self._defined: dict[str, list[etree._Element]] = {}
        self._parts: dict[tuple[etree._Element, str], frozenset[str]] = {}
        self._read(file)

    def parts(self, name: str) -> Sequence[str]:
        """Every element and attribute (``disk/driver/@cache``) that a document may have."""
        return sorted(self._parts_of_all(self._defined[name], _Place()))

    def write(self, name: str, wanted: frozenset[str], chance: random.Random) -> etree._Element:
        """A document with the wanted parts, as far as the grammar allows them together."""
        root = etree.Element("root")
        for node in self._defined[name]:
            self._write(node, _Place(), wanted, chance, root)
        return root[0]

    def _read(self, file: Path) -> None:
        for node in etree.parse(file).getroot():
            if node.tag == f"{_NAMESPACE}include":
                self._read(file.parent / str(node.get("href")))
            elif node.tag == f"{_NAMESPACE}define":
                self._define(str(node.get("name")), _children(node))

    def _define(self, name: str, nodes: list[etree._Element]) -> None:
        """Add a definition; what other files add to one is another choice in it."""
        known = [each for each in self._defined.get(name, []) if _kind(each) != "notAllowed"]
        if known:
            nodes = [_around("choice", [_around("group", known), _around("group", nodes)])]
        self._defined[name] = nodes

    # What may be there

    def _parts_of_all(self, nodes: Sequence[etree._Element], place: _Place) -> frozenset[str]:
        return _NOTHING.union(*(self._parts_of(node, place) for node in nodes))

    def _parts_of(self, node: etree._Element, place: _Place) -> frozenset[str]:
        key = (node, place.path)
        if key not in self._parts:
            self._parts[key] = self._read_parts(node, place)
        return self._parts[key]

    def _read_parts(self, node: etree._Element, place: _Place) -> frozenset[str]:
        kind = _kind(node)
        if kind == "attribute":
            return frozenset({place.within(f"@{node.get('name')}").path})
        if kind == "ref":
            return self._parts_of_all(self._defined[str(node.get("name"))], place)
        if kind == "element":
            name = str(node.get("name"))
            if place.is_too_deep(name):
                return _NOTHING
            inside = place.within(name)
            return self._parts_of_all(_children(node), inside) | {inside.path}
        return self._parts_of_all(_children(node), place)

    # Writing

    def _write(
        self,
        node: etree._Element,
        place: _Place,
        wanted: frozenset[str],
        chance: random.Random,
        to: etree._Element,
    ) -> None:
        kind = _kind(node)
        if kind == "attribute":
            name = str(node.get("name"))
            to.set(name, self._text(_children(node), place.within(f"@{name}"), chance))
        elif kind in ("data", "value", "text"):
            to.text = self._text([node], place, chance)
        elif kind == "element":
            name = str(node.get("name"))
            self._write_all(_children(node), place.within(name), wanted, chance, etree.SubElement(to, name))
        else:
            self._write_all(self._taken(node, place, wanted), place, wanted, chance, to)

    def _write_all(
        self,
        nodes: Sequence[etree._Element],
        place: _Place,
        wanted: frozenset[str],
        chance: random.Random,
        to: etree._Element,
    ) -> None:
        for each in nodes:
            self._write(each, place, wanted, chance, to)

    def _taken(self, node: etree._Element, place: _Place, wanted: frozenset[str]) -> Sequence[etree._Element]:
        """What is written of a part of the grammar that is no element and no text itself."""
        kind = _kind(node)
        if kind == "ref":
            return self._defined[str(node.get("name"))]
        if kind == "choice":
            return [self._chosen(node, place, wanted)]
        if kind in ("optional", "zeroOrMore") and not self._parts_of(node, place) & wanted:
            return ()
        return _children(node)

    def _chosen(self, node: etree._Element, place: _Place, wanted: frozenset[str]) -> etree._Element:
        """The choice that leads to most of what is wanted; where none leads to any, nothing or the first."""
        choices = _children(node)
        leads = [len(self._parts_of(each, place) & wanted) for each in choices]
        if not any(leads):
            return next((each for each in choices if self._may_be_nothing(each)), choices[0])
        return choices[leads.index(max(leads))]

    def _may_be_nothing(self, node: etree._Element) -> bool:
        kind = _kind(node)
        if kind == "ref":
            return all(map(self._may_be_nothing, self._defined[str(node.get("name"))]))
        return kind in ("optional", "zeroOrMore", "empty")

    def _text(self, nodes: Sequence[etree._Element], place: _Place, chance: random.Random) -> str:
        pinned = next((texts for end, texts in self._pinned.items() if place.path.endswith(end)), None)
        return chance.choice(pinned) if pinned else self._any_text(nodes, chance)

    def _any_text(self, nodes: Sequence[etree._Element], chance: random.Random) -> str:
        for node in nodes:
            kind = _kind(node)
            if kind == "value":
                return node.text or ""
            if kind == "data":
                return _datum(node, chance)
            if kind == "choice":
                return self._any_text([chance.choice(_children(node))], chance)
            if kind == "ref":
                return self._any_text(self._defined[str(node.get("name"))], chance)
        return matching(_WORD, chance)


def _datum(node: etree._Element, chance: random.Random) -> str:
    limits = {str(each.get("name")): each.text or "" for each in node.iterfind(f"{_NAMESPACE}param")}
    if "pattern" in limits:
        return matching(limits["pattern"], chance)
    if node.get("type") in _WHOLE:
        least, most = int(limits.get("minInclusive", 1)), int(limits.get("maxInclusive", _LARGEST))
        return str(chance.randint(least, min(most, _LARGEST)))
    return matching(_WORD, chance)


_WHOLE = frozenset(
    {"int", "integer", "positiveInteger", "unsignedInt", "unsignedLong", "unsignedShort", "long", "short"}
)


def _around(kind: str, nodes: Sequence[etree._Element]) -> etree._Element:
    outer = etree.Element(f"{_NAMESPACE}{kind}")
    outer.extend(nodes)
    return outer


def _kind(node: etree._Element) -> str:
    return etree.QName(node).localname


def _children(node: etree._Element) -> list[etree._Element]:
    return [each for each in node if isinstance(each.tag, str) and _kind(each) not in ("param", "name")]
