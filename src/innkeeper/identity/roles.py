"""Roles, and the resources that they reach."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable


class Role(enum.IntEnum):
    """What somebody may; each role may all that the ones below it may."""

    #: Look.
    VIEWER = 1
    #: Work: command machines, book updates, start scheduled tasks, cancel.
    OPERATOR = 2
    #: Rule: register programs, change windows, people and settings, read the audit log.
    ADMINISTRATOR = 3

    @property
    def word(self) -> str:
        """The name as people write it."""
        return self.name.lower()


class Reach(enum.StrEnum):
    """What kind of thing a grant reaches."""

    #: All of it.
    INN = "inn"
    #: A folder of scheduled tasks, and all that is in it.
    FOLDER = "folder"
    #: One machine.
    MACHINE = "machine"
    #: Every machine with a label.
    LABEL = "label"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Resource:
    """The object of a request; without a name, the whole server."""

    #: Never ``LABEL``: a label is what grants reach by, not what requests are about.
    kind: Reach = Reach.INN
    #: The machine's name, or the folder's path.
    name: str = ""
    #: A machine's labels.
    labels: frozenset[str] = frozenset()
    #: What a request calls it, where that is not its name: who may not see it is told no other.
    asked: str = ""
    #: All by which a machine may be named, in small letters: never a name that another has too.
    names: frozenset[str] = frozenset()


#: What belongs to no machine and no folder.
THE_INN = Resource()


def machine(name: str, labels: Iterable[str] = (), *, names: Iterable[str] = ()) -> Resource:
    """A machine as something that a request is about; ``names`` are all that mean this one alone."""
    called = frozenset(each.casefold() for each in (name, *names))
    return Resource(kind=Reach.MACHINE, name=name, labels=frozenset(labels), names=called)


def folder(path: str) -> Resource:
    r"""A folder of scheduled tasks, or a task in one, by its path (``\Nightly\Compact``)."""
    return Resource(kind=Reach.FOLDER, name=path)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Grant:
    """A role on a part of the server."""

    role: Role
    reach: Reach = Reach.INN
    #: The machine, the label or the folder; empty for the inn.
    name: str = ""

    def covers(self, resource: Resource) -> bool:
        """Whether the role covers a resource. The case of machines and folders does not matter."""
        if self.reach is Reach.INN:
            return True
        if self.reach is Reach.LABEL:
            return self.name in resource.labels
        if self.reach is not resource.kind:
            return False
        mine, theirs = self.name.casefold().rstrip("\\"), resource.name.casefold()
        if self.reach is Reach.MACHINE:
            return mine == theirs or mine in resource.names
        return theirs.rstrip("\\") == mine or theirs.startswith(f"{mine}\\")


def role_on(grants: Iterable[Grant], resource: Resource) -> Role | None:
    """The highest role that the grants give on the resource; ``None`` where it is not even seen."""
    return max((grant.role for grant in grants if grant.covers(resource)), default=None)
