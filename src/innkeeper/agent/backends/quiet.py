"""Keep apt's own timers from running beside an update.

A guest that was off for a while runs its missed timers at boot, in the very minutes of its update.
"""

import time
from types import TracebackType
from typing import List, Optional, Type

from innkeeper.agent.command import ask
from innkeeper.agent.places import Places
from innkeeper.agent.report import Report

_TIMERS = ["apt-daily.timer", "apt-daily-upgrade.timer"]
_SERVICES = ["apt-daily.service", "apt-daily-upgrade.service"]
#: How long a run of theirs is waited for; apt's own lock has the last word.
_TIMEOUT_S = 600


class Quiet:
    """Stops the timers, waits for what they started, and starts them again at the end.

    Should the worker die between, they come back with the next boot.
    """

    def __init__(self, places: Places, report: Report) -> None:
        self._places = places
        self._report = report
        self._stopped: List[str] = []

    def __enter__(self) -> "Quiet":
        if self._places.has_systemd:
            self._stopped = _active(_TIMERS)
            if self._stopped:
                ask(["systemctl", "stop", *self._stopped])
            self._wait()
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        if self._stopped:
            ask(["systemctl", "start", *self._stopped])

    def _wait(self) -> None:
        end = time.monotonic() + _TIMEOUT_S
        while _active(_SERVICES) and time.monotonic() < end:
            self._report.output("Waiting for apt's own daily run to end")
            time.sleep(2)


def _active(units: List[str]) -> List[str]:
    states = ask(["systemctl", "is-active", *units]).output.split()
    return [unit for unit, state in zip(units, states) if state in ("active", "activating", "reloading")]
