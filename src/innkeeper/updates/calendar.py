"""The openings of each machine's windows, for one look at the plan."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
from collections.abc import Sequence

from innkeeper.updates.coverage import Coverage, coverage_of
from innkeeper.updates.machine_name import MachineName
from innkeeper.updates.window import Window

#: How many openings ahead are looked at.
_OPENINGS = 10
_A_DAY = dt.timedelta(days=1)
_FIRST = dt.datetime.min.replace(tzinfo=dt.UTC)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Opening:
    """One opening of a window, as a machine sees it."""

    window: str
    start: dt.datetime
    #: The hard end.
    end: dt.datetime


class Calendar:
    """The openings of all windows from one moment on."""

    def __init__(self, windows: Sequence[Window], now: dt.datetime) -> None:
        self._windows = windows
        self._coverage: Coverage = coverage_of(tuple((window.machines, window.pins) for window in windows))
        self._now = now
        self._by_windows: dict[tuple[int, ...], tuple[Opening, ...]] = {}

    def openings(self, machine: MachineName) -> tuple[Opening, ...]:
        """The opening that holds now, where there is one, and the next ones, in order."""
        covering = self._coverage.of(machine)
        found = self._by_windows.get(covering)
        if found is None:
            found = self._by_windows[covering] = self._in_order(covering)
        return found

    def _in_order(self, covering: tuple[int, ...]) -> tuple[Opening, ...]:
        found = [opening for number in covering for opening in self._openings_of(number)]
        return tuple(sorted(found, key=lambda o: (max(o.start, self._now), -_sec(o))))

    def _openings_of(self, number: int) -> Sequence[Opening]:
        return _walk_of(self._windows[number]).openings(self._now)


class _Walk:
    """The next openings of one window, found again only when one of them has begun or ended."""

    def __init__(self, window: Window) -> None:
        self._window = window
        #: The first and the last moment at which the openings found are those.
        self._since = self._until = _FIRST
        self._found: Sequence[Opening] = ()

    def openings(self, now: dt.datetime) -> Sequence[Opening]:
        """The opening that holds now, where there is one, and the next ones."""
        if not self._since <= now < self._until:
            self._found = self._walk(now)
            self._since = now
            turns = [*(each.start for each in self._found[1:2]), *(each.end for each in self._found[:1])]
            self._until = min(turns, default=now + _A_DAY)
        return self._found

    def _walk(self, now: dt.datetime) -> Sequence[Opening]:
        found = self._window.occurrence(now) or self._window.next_after(now)
        openings: list[Opening] = []
        while found is not None and len(openings) < _OPENINGS:
            openings.append(Opening(window=self._window.name, start=found.start, end=found.end))
            found = self._window.next_after(found.start)
        return openings


@functools.lru_cache(maxsize=4096)
def _walk_of(window: Window) -> _Walk:
    return _Walk(window)


def _sec(opening: Opening) -> float:
    return opening.end.timestamp()
