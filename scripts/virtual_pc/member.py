"""Say of one documented member where it is, and how Linux carries it."""

from __future__ import annotations

import dataclasses
import enum


class Carriage(enum.Enum):
    """How a documented member is carried."""

    DIRECT = "direct"
    EMULATED = "emulated"
    NEAREST = "nearest equivalent"
    MEANINGLESS = "without meaning"

    @property
    def explained(self) -> str:
        """It, in a sentence."""
        return _EXPLAINED[self]


_EXPLAINED = {
    Carriage.DIRECT: "libvirt, QEMU or the guest's agent has the same thing.",
    Carriage.EMULATED: "Innkeeper does it itself.",
    Carriage.NEAREST: "The nearest honest equivalent; it says how it differs.",
    Carriage.MEANINGLESS: "Linux has nothing like it; it says why.",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    """One member of a documented interface."""

    #: As the documentation spells it.
    name: str
    carriage: Carriage
    #: Where it is, below ``innkeeper.client``: ``Machine.startup``; empty where this version has none.
    attribute: str
    #: What carries it, and how it differs.
    how: str


@dataclasses.dataclass(frozen=True, slots=True)
class Interface:
    """One documented interface."""

    name: str
    members: tuple[Member, ...]
