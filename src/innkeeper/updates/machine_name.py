"""A machine's names, as windows ask for them."""

from __future__ import annotations

import dataclasses
import fnmatch
import functools
import re
from collections.abc import Mapping, Sequence
from typing import Protocol

#: The selector that means every machine.
ALL_MACHINES = "all"
_WILD = re.compile(r"[*?\[]")


def is_glob(named: str) -> bool:
    """Whether a selector means machines by a pattern, or all of them."""
    return named == ALL_MACHINES or _WILD.search(named) is not None


class Named(Protocol):
    """A machine of any server, by all its names."""

    @property
    def name(self) -> str:
        """The name on its host."""

    @property
    def host(self) -> str:
        """The host's name."""

    @property
    def uuid(self) -> str:
        """The UUID."""

    @property
    def title(self) -> str:
        """What people call it: its host stands before its name where others have that name."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MachineName:
    """All that a selector of machines can mean one by."""

    #: What people call it.
    title: str
    #: In small letters, a line each: its name, host and name, UUID, and its name where no other has it.
    lines: str

    @classmethod
    def of(cls, machine: Named) -> MachineName:
        """The names of a machine that is there."""
        name, only = machine.name, machine.name if machine.title == machine.name else ""
        lines = f"{name}\n{machine.host}/{name}\n{machine.uuid}\n{only}".casefold()
        return cls(title=machine.title, lines=lines)

    @classmethod
    def called(cls, title: str) -> MachineName:
        """The names of a machine of which no more is known than what people call it."""
        host, _, name = title.rpartition("/")
        return cls(title=title, lines=f"{name}\n{title}\n\n{'' if host else name}".casefold())


@functools.lru_cache(maxsize=4096)
def selector(machines: Sequence[str], pins: Sequence[tuple[str, str]]) -> re.Pattern[str]:
    """The pattern that the lines of the machines fit which are named: by globs, hosts and globs, or names.

    ``pins`` are the UUIDs of those whose names were known when they were named: they go by no name any more.
    """
    known = dict(pins)
    return re.compile("|".join(_lines(each.casefold(), known) for each in machines))


def _lines(named: str, pins: Mapping[str, str]) -> str:
    if named == ALL_MACHINES:
        return r"(?s:.*)"
    if named in pins:
        return rf".*\n.*\n{re.escape(pins[named].casefold())}\n.*"
    glob = _glob(named)
    if "/" in named:
        return rf".*\n{glob}\n.*\n.*"
    return rf"{glob}\n.*\n.*\n.*" if _WILD.search(named) else rf".*\n.*\n.*\n{glob}"


def _glob(text: str) -> str:
    """A glob as a pattern within a line."""
    return "(?:" + fnmatch.translate(text).removeprefix("(?s:")[:-3] + ")"
