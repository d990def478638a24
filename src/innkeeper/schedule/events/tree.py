"""Event XML as the tree that queries walk."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

#: How many values an event may carry, and how long each may be: what a guest or a program prints is hostile.
MOST_VALUES = 256
LONGEST_VALUE = 8192


@dataclasses.dataclass(frozen=True, slots=True)
class Element:
    """One element of Event XML; it has text or children, never both."""

    name: str
    text: str = ""
    attributes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    children: tuple[Element, ...] = ()

    @property
    def value(self) -> str:
        """The element's text, or that of all elements below it."""
        return self.text or "".join(child.value for child in self.children)
