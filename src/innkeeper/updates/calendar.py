"""The openings of each machine's windows, for one look at the plan."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence

from innkeeper.updates.window import Window

#: How many openings ahead are looked at.
_OPENINGS = 10


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
        # Ten thousand machines ask a hundred windows: bound once, and asked directly.
        self._fits = [window.selector.fullmatch for window in windows]
        self._now = now
        self._by_windows: dict[tuple[int, ...], tuple[Opening, ...]] = {}
        self._by_window: dict[int, tuple[Opening, ...]] = {}

    def openings(self, machine: str) -> tuple[Opening, ...]:
        """The opening that holds now, where there is one, and the next ones, in order."""
        name = machine.casefold()
        covering = tuple(n for n, fits in enumerate(self._fits) if fits(name))
        if covering not in self._by_windows:
            found = [opening for number in covering for opening in self._openings_of(number)]
            self._by_windows[covering] = tuple(
                sorted(found, key=lambda o: (max(o.start, self._now), -_sec(o)))
            )
        return self._by_windows[covering]

    def _openings_of(self, number: int) -> tuple[Opening, ...]:
        if number not in self._by_window:
            self._by_window[number] = tuple(self._walk(self._windows[number]))
        return self._by_window[number]

    def _walk(self, window: Window) -> list[Opening]:
        found = window.occurrence(self._now) or window.next_after(self._now)
        openings: list[Opening] = []
        while found is not None and len(openings) < _OPENINGS:
            openings.append(Opening(window=window.name, start=found.start, end=found.end))
            found = window.next_after(found.start)
        return openings


def _sec(opening: Opening) -> float:
    return opening.end.timestamp()
