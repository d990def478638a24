"""XML forms of each kind of value."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import re
import uuid
from collections.abc import Callable, Mapping
from typing import Generic, Protocol, TypeVar

from innkeeper.schedule.boundary import Boundary
from innkeeper.schedule.duration import Duration
from innkeeper.schedule.xml.deviation import Findings
from innkeeper.schedule.xml.markup import Tag, Verbatim
from innkeeper.schedule.xml.node import NAMESPACE, Node

T = TypeVar("T")
E = TypeVar("E", bound=enum.IntEnum)
F = TypeVar("F", bound=enum.IntFlag)

_SPACE = " \t\n"
# What XML 1.0 cannot carry, not even as a reference.
_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


class Form(Protocol[T]):
    """How one kind of value is read, written and taken from a caller."""

    def read(self, node: Node, findings: Findings) -> T | None:
        """Return the value, or ``None`` where there is none; what is wrong goes to ``findings``."""

    def write(self, name: str, value: T) -> Tag | Verbatim | None:
        """Return the value's element, or ``None`` where XML has none for it."""

    def coerce(self, value: object) -> T:
        """Return a caller's value in the field's type. Raises ``ValueError`` with the rule it breaks."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Leaf(Generic[T]):
    """A value that stands as the text of its element."""

    parse: Callable[[str], T]
    #: Its text, or ``None`` where XML has no word for it.
    show: Callable[[T], str | None]
    #: Takes what callers give in the value's place; raises ``ValueError``.
    take: Callable[[object], T]
    #: Whether the white space around it counts.
    verbatim: bool = False
    #: Whether a lenient reader takes what it cannot read as absent.
    forgiven: bool = False

    def read(self, node: Node, findings: Findings) -> T | None:
        for child in node.children:
            findings.unexpected(child, f"{node.name} holds text only")
        text = node.text if self.verbatim else node.text.strip(_SPACE)
        if not text and not self.verbatim:
            findings.invalid(node, "it is empty", forgiven=True)
            return None
        try:
            return self.parse(text)
        except ValueError as problem:
            findings.invalid(node, str(problem), forgiven=self.forgiven or not text)
            return None

    def write(self, name: str, value: T) -> Tag | None:
        shown = self.show(value)
        return None if shown is None else Tag(name=name, text=shown)

    def coerce(self, value: object) -> T:
        return self.take(value)


def text(longest: int | None = None, *, shortest: int = 0) -> Leaf[str]:
    """Text, kept to the character."""

    def parse(value: str) -> str:
        if len(value) < shortest:
            raise ValueError("it is empty")
        if longest is not None and len(value) > longest:
            raise ValueError(f"it is longer than {longest} characters")
        if _UNWRITABLE.search(value):
            raise ValueError("it holds a character that XML cannot carry")
        return value

    def take(value: object) -> str:
        if not isinstance(value, str):
            raise ValueError("it is not text")
        return parse(value)

    return Leaf(parse=parse, show=str, take=take, verbatim=True)


def _flag(text: str) -> bool:
    if text not in ("true", "false", "1", "0"):
        raise ValueError("it is neither true nor false, in small letters")
    return text in ("true", "1")


def _take_flag(value: object) -> bool:
    if isinstance(value, str):
        return _flag(value)
    if value not in (True, False):
        raise ValueError("it is neither true nor false")
    return bool(value)


FLAG = Leaf(parse=_flag, show=lambda value: "true" if value else "false", take=_take_flag)


def integer(least: int, most: int) -> Leaf[int]:
    """A whole number within bounds."""

    def bounded(value: int) -> int:
        if not least <= value <= most:
            raise ValueError(f"it is not between {least} and {most}")
        return value

    def parse(text: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,9}", text):
            raise ValueError("it is not a whole number")
        return bounded(int(text))

    def take(value: object) -> int:
        if isinstance(value, str):
            return parse(value)
        if not isinstance(value, int):
            raise ValueError("it is not a whole number")
        return bounded(int(value))

    return Leaf(parse=parse, show=str, take=take)


def duration(least: str = "PT0S", most: str | None = None) -> Leaf[Duration]:
    """A length of time within bounds."""

    def parse(text: str) -> Duration:
        value = Duration(text)
        if value.nominal < Duration(least).nominal:
            raise ValueError(f"it is shorter than {least}")
        if most is not None and value.nominal > Duration(most).nominal:
            raise ValueError(f"it is longer than {most}")
        return value

    def take(value: object) -> Duration:
        if not isinstance(value, str | dt.timedelta):
            raise ValueError("it is not a duration")
        return parse(Duration.of(value))

    return Leaf(parse=parse, show=str, take=take)


def _take_boundary(value: object) -> Boundary:
    if not isinstance(value, str | dt.datetime):
        raise ValueError("it is not a moment")
    return Boundary.of(value)


BOUNDARY = Leaf(parse=Boundary, show=str, take=_take_boundary)

_GUID = re.compile(r"\{?([0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12})\}?")


def _guid(text: str) -> str:
    match = _GUID.fullmatch(text)
    if match is None or text.startswith("{") != text.endswith("}"):
        raise ValueError("it is not a GUID such as {01234567-89ab-cdef-0123-456789abcdef}")
    # Their schema lets the braces go, their protocol does not: read both, write them.
    return "{" + match.group(1) + "}"


def _take_guid(value: object) -> str:
    if not isinstance(value, str | uuid.UUID):
        raise ValueError("it is not a GUID")
    return _guid(str(value))


GUID = Leaf(parse=_guid, show=str, take=_take_guid)


def choice(names: Mapping[str, E], kind: type[E], *, forgiven: bool = False) -> Leaf[E]:
    """One of a closed set, each with its word in XML."""
    words = {member: word for word, member in names.items()}

    def parse(text: str) -> E:
        if text not in names:
            raise ValueError("it is none of " + ", ".join(names))
        return names[text]

    def take(value: object) -> E:
        if isinstance(value, str):
            return parse(value)
        if not isinstance(value, int):
            raise ValueError("it is none of " + ", ".join(names))
        return kind(value)

    return Leaf(parse=parse, show=words.get, take=take, forgiven=forgiven)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Flags(Generic[F]):
    """A set that stands as one empty element for each member: ``<Monday />``."""

    kind: type[F]

    def read(self, node: Node, findings: Findings) -> F | None:
        found = self.kind(0)
        for child in node.children:
            member = self.kind.__members__.get(child.name.upper()) if child.name.istitle() else None
            if member is None or child.namespace != NAMESPACE:
                findings.unexpected(child, f"{node.name} does not know it", forgiven=False)
            else:
                found |= member
        if not node.children:
            findings.missing(node, node.name, "it names no member")
        return found or None

    def write(self, name: str, value: F) -> Tag:
        return Tag(name=name, children=tuple(Tag(name=str(member.name).title()) for member in value))

    def coerce(self, value: object) -> F:
        return _mask(self.kind, value)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Numbers(Generic[F]):
    """A set that stands as one numbered element for each member: ``<Day>15</Day>``, ``<Day>Last</Day>``."""

    kind: type[F]
    item: str
    #: The highest number; ``Last`` is the bit above it.
    most: int

    def read(self, node: Node, findings: Findings) -> F | None:
        found = 0
        for child in node.children:
            text = child.text.strip(_SPACE)
            if child.name != self.item or child.namespace != NAMESPACE:
                findings.unexpected(child, f"{node.name} holds {self.item} only", forgiven=False)
            elif text == "Last":
                found |= 1 << self.most
            elif re.fullmatch(r"0?[0-9]{1,2}", text) and 1 <= int(text) <= self.most:
                found |= 1 << (int(text) - 1)
            else:
                findings.invalid(child, f"it is neither 1 to {self.most} nor Last")
        if not node.children:
            findings.missing(node, node.name, f"it names no {self.item}")
        return self.kind(found) if found else None

    def write(self, name: str, value: F) -> Tag:
        numbers = [str(bit + 1) for bit in range(self.most) if value >> bit & 1]
        if value >> self.most & 1:
            numbers.append("Last")
        return Tag(name=name, children=tuple(Tag(name=self.item, text=number) for number in numbers))

    def coerce(self, value: object) -> F:
        return _mask(self.kind, value)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Texts:
    """Several texts in elements of one name: ``<File>a</File>``."""

    item: str
    most: int

    def read(self, node: Node, findings: Findings) -> tuple[str, ...]:
        found = []
        for child in node.children:
            if child.name != self.item or child.namespace != NAMESPACE:
                findings.unexpected(child, f"{node.name} holds {self.item} only")
            elif not child.text:
                findings.invalid(child, "it is empty", forgiven=True)
            else:
                found.append(child.text)
        if len(found) > self.most:
            findings.invalid(node, f"it holds more than {self.most}", value=str(len(found)))
        return tuple(found)

    def write(self, name: str, value: tuple[str, ...]) -> Tag:
        return Tag(name=name, children=tuple(Tag(name=self.item, text=text) for text in value))

    def coerce(self, value: object) -> tuple[str, ...]:
        if not isinstance(value, list | tuple) or not all(isinstance(text, str) for text in value):
            raise ValueError("it is not a list of texts")
        return tuple(value)


def _mask(kind: type[F], value: object) -> F:
    if not isinstance(value, int) or not 0 <= value < 1 << 32:
        raise ValueError("it is not a mask")
    allowed = 0
    for member in kind:
        allowed |= member.value
    if value & ~allowed:
        raise ValueError(f"it has bits that {kind.__name__} does not know")
    return kind(value)
