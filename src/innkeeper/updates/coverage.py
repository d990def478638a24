"""Which windows cover a machine, found once for each name and kept until a window's machines change."""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

from innkeeper.updates.machine_name import ALL_MACHINES, MachineName, selector

#: A window's selectors, and the UUIDs of the machines that some of them were known to mean.
Selectors = tuple[tuple[str, ...], tuple[tuple[str, str], ...]]

#: What makes a word a glob.
_WILD = re.compile(r"[*?\[]")
#: More names than this are forgotten at once: machines come and go.
_REMEMBERED = 200_000


class Coverage:
    """The windows of each machine, by the windows' numbers.

    A hundred windows name ten thousand machines: full names and beginnings (``rack7-*``) are looked up, and
    only what is left of the globs is tried one by one.
    """

    def __init__(self, machines: Sequence[Selectors]) -> None:
        """``machines`` are the selectors of each window, with the UUIDs of those that were known."""
        self._everywhere: set[int] = set()
        self._uuids: dict[str, set[int]] = defaultdict(set)
        #: Whole names: alone, where no other machine has it, and behind their hosts.
        self._names: dict[str, set[int]] = defaultdict(set)
        self._beginnings: dict[int, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
        self._patterns: list[tuple[int, re.Pattern[str]]] = []
        self._known: dict[str, tuple[int, ...]] = {}
        for number, (selectors, pins) in enumerate(machines):
            for named in selectors:
                self._take(number, named.casefold(), dict(pins))

    def of(self, machine: MachineName) -> tuple[int, ...]:
        """The numbers of the windows that cover a machine, in order."""
        known = self._known.get(machine.lines)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[machine.lines] = tuple(sorted(self._find(machine.lines)))
        return known

    def _take(self, number: int, named: str, pins: Mapping[str, str]) -> None:
        beginning = named.removesuffix("*")
        if named in (ALL_MACHINES, "*"):
            self._everywhere.add(number)
        elif named in pins:
            self._uuids[pins[named].casefold()].add(number)
        elif not _WILD.search(named):
            self._names[named].add(number)
        elif not _WILD.search(beginning) and "/" not in named:
            self._beginnings[len(beginning)][beginning].add(number)
        else:
            self._patterns.append((number, selector((named,), ())))

    def _find(self, lines: str) -> set[int]:
        name, full, uuid, only = lines.split("\n")
        found = self._everywhere | self._uuids.get(uuid, set())
        found |= self._names.get(full, set()) | self._names.get(only, set())
        for length, beginnings in self._beginnings.items():
            found |= beginnings.get(name[:length], set())
        found.update(number for number, pattern in self._patterns if pattern.fullmatch(lines))
        return found


@functools.lru_cache(maxsize=8)
def coverage_of(machines: tuple[Selectors, ...]) -> Coverage:
    """The coverage of windows with these selectors: the same object as long as they are the same."""
    return Coverage(machines)
