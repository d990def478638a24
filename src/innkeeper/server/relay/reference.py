"""References of requests: what decides which server of the inn answers."""

from __future__ import annotations

import dataclasses
import enum


class ReferenceKind(enum.Enum):
    """Kinds of things that are on one host, or at one server."""

    #: A machine, by whatever names it.
    MACHINE = enum.auto()
    #: A host, by its name.
    HOST = enum.auto()
    #: A channel, by what follows the prefix of its pipe's name.
    CHANNEL = enum.auto()


@dataclasses.dataclass(frozen=True, slots=True)
class Reference:
    """What a request is about, as it names it."""

    kind: ReferenceKind
    name: str
