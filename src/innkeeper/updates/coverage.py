"""Which windows cover a machine, found once for each name and kept until a window's machines change."""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from collections.abc import Sequence

from innkeeper.updates.window import ALL_MACHINES, pattern_of

#: What makes a word a glob.
_WILD = re.compile(r"[*?\[]")
#: More names than this are forgotten at once: machines come and go.
_REMEMBERED = 200_000


class Coverage:
    """The windows of each machine, by the windows' numbers.

    A hundred windows name ten thousand machines: full names and beginnings (``rack7-*``) are looked up, and
    only what is left of the globs is tried one by one.
    """

    def __init__(self, machines: Sequence[tuple[str, ...]]) -> None:
        """``machines`` are the selectors of each window."""
        self._everywhere: set[int] = set()
        self._names: dict[str, set[int]] = defaultdict(set)
        self._beginnings: dict[int, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
        self._patterns: list[tuple[int, re.Pattern[str]]] = []
        self._known: dict[str, tuple[int, ...]] = {}
        for number, selectors in enumerate(machines):
            for selector in selectors:
                self._take(number, selector.casefold())

    def of(self, machine: str) -> tuple[int, ...]:
        """The numbers of the windows that cover a machine, in order."""
        known = self._known.get(machine)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[machine] = tuple(sorted(self._find(machine.casefold())))
        return known

    def _take(self, number: int, selector: str) -> None:
        beginning = selector.removesuffix("*")
        if selector in (ALL_MACHINES, "*"):
            self._everywhere.add(number)
        elif not _WILD.search(selector):
            self._names[selector].add(number)
        elif not _WILD.search(beginning):
            self._beginnings[len(beginning)][beginning].add(number)
        else:
            self._patterns.append((number, pattern_of((selector,))))

    def _find(self, name: str) -> set[int]:
        found = self._everywhere | self._names.get(name, set())
        for length, beginnings in self._beginnings.items():
            found |= beginnings.get(name[:length], set())
        found.update(number for number, pattern in self._patterns if pattern.fullmatch(name))
        return found


@functools.lru_cache(maxsize=8)
def coverage_of(machines: tuple[tuple[str, ...], ...]) -> Coverage:
    """The coverage of windows with these selectors: the same object as long as they are the same."""
    return Coverage(machines)
