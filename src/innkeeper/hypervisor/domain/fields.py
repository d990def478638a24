"""Declare typed fields of XML elements: attributes, texts and marks, by where they are.

A field is declared once, with the path to its element and the form of its value; reading it gives the value,
and setting it writes the XML. A value that cannot be read raises ``InvalidArgument`` with the path.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Generic, Protocol, TypeVar, overload

from lxml import etree

from innkeeper.errors import InvalidArgument

T = TypeVar("T")
E = TypeVar("E", bound=enum.Enum)

_MEBI = 1 << 20
_UNITS: Mapping[str, int] = {
    "b": 1,
    "bytes": 1,
    "kb": 1000,
    "k": 1 << 10,
    "kib": 1 << 10,
    "mb": 1000**2,
    "m": _MEBI,
    "mib": _MEBI,
    "gb": 1000**3,
    "g": 1 << 30,
    "gib": 1 << 30,
    "tb": 1000**4,
    "t": 1 << 40,
    "tib": 1 << 40,
}


class Element:
    """A node with declared fields."""

    def __init__(self, node: etree._Element) -> None:
        self.node = node


class Form(Protocol[T]):
    """How values of one type stand in XML."""

    def read(self, text: str) -> T:
        """The value of a text. Raises ``ValueError``."""

    def write(self, value: T) -> str:
        """The text of a value."""


class Plain:
    """A text as it stands."""

    def read(self, text: str) -> str:
        """The text itself."""
        return text

    def write(self, value: str) -> str:
        """The text itself."""
        return value


class Whole:
    """A whole number, also as ``0x1f``."""

    def read(self, text: str) -> int:
        """The number."""
        return int(text.strip(), 0 if text.strip().startswith("0x") else 10)

    def write(self, value: int) -> str:
        """In decimal."""
        return str(value)


class YesNo:
    """A truth as libvirt writes it."""

    def read(self, text: str) -> bool:
        """Whether the text means yes."""
        return text == "yes"

    def write(self, value: bool) -> str:
        """``yes`` or ``no``."""
        return "yes" if value else "no"


class Words(Generic[E]):
    """A member of a closed set by libvirt's word for it."""

    def __init__(self, words: Mapping[E, str], *, unknown: E) -> None:
        self._words = words
        self._members = {word: member for member, word in words.items()}
        self._unknown = unknown

    def read(self, text: str) -> E:
        """The member; the declared one for a word that is not known."""
        return self._members.get(text, self._unknown)

    def write(self, value: E) -> str:
        """The member's word in XML."""
        return self._words[value]


class Attribute(Generic[T]):
    """One attribute of one element below a node; absent means the default."""

    @overload
    def __init__(self: Attribute[str], path: str, name: str, default: str = "") -> None: ...

    @overload
    def __init__(self, path: str, name: str, default: T, form: Form[T]) -> None: ...

    def __init__(self, path: str, name: str, default: object = "", form: object = None) -> None:
        self.path, self.name = path, name
        self._default: T = default  # type: ignore[assignment]  # as the overloads have it
        self._form: Form[T] = form or Plain()  # type: ignore[assignment]  # as the overloads have it

    def __get__(self, owner: Element, _type: type[Element]) -> T:
        found = owner.node.find(self.path)
        text = None if found is None else found.get(self.name)
        return self._default if text is None else _read(self._form, text, f"{self.path}/@{self.name}")

    def __set__(self, owner: Element, value: T) -> None:
        child(owner.node, self.path).set(self.name, self._form.write(value))


class Text(Generic[T]):
    """The text of one element below a node; absent or blank means the default, an empty text removes it."""

    @overload
    def __init__(self: Text[str], path: str) -> None: ...

    @overload
    def __init__(self, path: str, default: T, form: Form[T]) -> None: ...

    def __init__(self, path: str, default: object = "", form: object = None) -> None:
        self.path = path
        self._default: T = default  # type: ignore[assignment]  # as the overloads have it
        self._form: Form[T] = form or Plain()  # type: ignore[assignment]  # as the overloads have it

    def __get__(self, owner: Element, _type: type[Element]) -> T:
        text = self._strip(owner.node.findtext(self.path) or "")
        return _read(self._form, text, self.path) if text else self._default

    def __set__(self, owner: Element, value: T) -> None:
        text = self._form.write(value)
        if text:
            child(owner.node, self.path).text = text
        else:
            remove(owner.node, self.path)

    def _strip(self, text: str) -> str:
        return text.strip()


class Prose(Text[str]):
    """A text of people's own, whose blanks and line ends are kept."""

    def _strip(self, text: str) -> str:
        return text


class Memory:
    """An amount of memory in MiB; its element names the unit, and libvirt's own is KiB."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __get__(self, owner: Element, _type: type[Element]) -> int:
        found = owner.node.find(self.path)
        if found is None:
            return 0
        unit = _UNITS.get(found.get("unit", "KiB").lower(), 1 << 10)
        return _read(Whole(), found.text or "0", self.path) * unit // _MEBI

    def __set__(self, owner: Element, value: int) -> None:
        found = child(owner.node, self.path)
        found.set("unit", "MiB")
        found.text = str(value)


class Present:
    """Whether an element is there."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __get__(self, owner: Element, _type: type[Element]) -> bool:
        return owner.node.find(self.path) is not None


def _read(form: Form[T], text: str, where: str) -> T:
    try:
        return form.read(text)
    except ValueError as error:
        raise InvalidArgument(f"The machine's definition says “{text[:40]}” at {where}.") from error


def child(node: etree._Element, path: str) -> etree._Element:
    """The element at a path below a node, made where it is not there."""
    for name in path.split("/"):
        if name == ".":
            continue
        found = node.find(name)
        node = etree.SubElement(node, name) if found is None else found
    return node


def remove(node: etree._Element, *paths: str) -> None:
    """Remove every element at these paths below a node."""
    for path in paths:
        for found in node.findall(path):
            parent = found.getparent()
            if parent is not None:
                parent.remove(found)


def parse(text: str, root: str) -> etree._Element:
    """Read XML whose outermost element has this name. Raises ``InvalidArgument``."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, remove_blank_text=False)
    try:
        node = etree.fromstring(text.encode(), parser)
    except UnicodeEncodeError as error:
        raise InvalidArgument("The machine's definition has characters that no text has.") from error
    except etree.XMLSyntaxError as error:
        raise InvalidArgument(f"The machine's definition is no XML: {error}.") from error
    if node.tag != root:
        raise InvalidArgument(f"The machine's definition begins with <{node.tag}>, not with <{root}>.")
    return node


def written(node: etree._Element) -> str:
    """The element as text."""
    return etree.tostring(node, encoding="unicode", with_tail=False)
