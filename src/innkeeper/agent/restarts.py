"""Count how often services were started again, where their init does not."""

import time
from typing import Dict

from innkeeper.agent.inits import Inits
from innkeeper.agent.inits.init import Main
from innkeeper.agent.loop import Loop
from innkeeper.agent.places import Places

#: How often is looked while somebody asks for the guest's health, and for how long after the last time.
_LOOK_S = 2.0
_WATCH_S = 3600.0


class Restarts:
    """Counts the ends of processes that are kept running, at most one a look."""

    def __init__(self, places: Places, loop: Loop) -> None:
        self._places = places
        self._loop = loop
        self._last: Dict[str, Main] = {}
        self._counts: Dict[str, int] = {}
        self._until = 0.0
        self._is_watching = False

    def watch(self) -> None:
        """Look now and then for the next hour; in the loop's thread."""
        self._until = time.monotonic() + _WATCH_S
        if not self._is_watching:
            self._is_watching = True
            self._look_and_go_on()

    def counts(self) -> Dict[str, int]:
        """Return how often each was started again, since the agent began to look."""
        return dict(self._counts)

    def look(self, now: Dict[str, Main]) -> None:
        """Compare with the last look; who is not wanted meanwhile, or not known, is begun with anew."""
        for name, main in now.items():
            was = self._last.get(name)
            if was is not None and _has_ended(was, main):
                self._counts[name] = self._counts.get(name, 0) + 1
        self._last = now

    def _look_and_go_on(self) -> None:
        if time.monotonic() > self._until:
            self._is_watching = False
            self._last = {}
            return
        self.look(Inits(self._places).mains())
        if self._last:
            self._loop.after(_LOOK_S, self._look_and_go_on)
        else:
            self._is_watching = False


def _has_ended(was: Main, now: Main) -> bool:
    """Return whether a process has ended since; one too short-lived to be seen leaves another mark."""
    if was.pid:
        return now.pid != was.pid
    return not now.pid and now.changed != was.changed
