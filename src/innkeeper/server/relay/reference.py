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
    #: A server, by its id.
    SERVER = enum.auto()
    #: A channel, by what follows the prefix of its pipe's name.
    CHANNEL = enum.auto()


@dataclasses.dataclass(frozen=True, slots=True)
class Reference:
    """What a request is about, as it names it."""

    kind: ReferenceKind
    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class Gathered:
    """A list of which each server has a part: how the parts are put together."""

    #: The lists in the answer, and the fields by which each is ordered.
    lists: tuple[tuple[str, tuple[str, ...]], ...]
    #: The fields by which two items are the same; those of the order where not set.
    same: tuple[str, ...] = ()
    #: What is so where it is so in every part.
    all_true: tuple[str, ...] = ()
    #: Whether it is the list of hosts, which names those of servers that are away too.
    list_of_hosts: bool = False
    #: Which of the lists comes in pages: the others are on the first one; empty where none does.
    pages_of: str = ""
