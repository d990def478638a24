"""Idleness of the computer, judged by load, pressure and sessions."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from innkeeper.schedule.registered import Watch
from innkeeper.schedule.running.occasions import BecameIdle
from innkeeper.schedule.running.sources import OnOccasion
from innkeeper.tasks.ports import Clock

_PROC: Final = Path("/proc")
#: Idle begins where the processors have been idle, but for a tenth, over five minutes …
_MOST_LOAD: Final = 0.1
#: … and nothing has had to wait for processor or disk for more than this part of them, in percent.
_MOST_PRESSURE: Final = 2.0
#: It ends where things wait for the processor for more than this part of ten seconds.
_BUSY_PRESSURE: Final = 40.0
_LOOK_SECONDS: Final = 30.0
_AVERAGE: Final = re.compile(r"^some avg10=([\d.]+) avg60=[\d.]+ avg300=([\d.]+)", re.MULTILINE)


class Idleness:
    """Judge of the computer's idleness, and source of the moments in which it becomes idle."""

    watches = Watch.IDLE

    def __init__(
        self, *, clock: Clock, people: Callable[[], bool | None] = lambda: None, proc: Path = _PROC
    ) -> None:
        """``people`` returns whether nobody is active; ``None`` where that is not known."""
        self._clock = clock
        self._people = people
        self._proc = proc

    @property
    def missing(self) -> str:
        """Why idleness cannot be judged here."""
        return "" if self._load() is not None else "the kernel does not tell the load"

    def is_idle(self) -> bool | None:
        """Whether the computer has had nothing to do. Blocks; ``None`` where that cannot be known."""
        load = self._load()
        if load is None:
            return None
        if self._people() is False or load >= _MOST_LOAD * (os.cpu_count() or 1):
            return False
        return all(five_minutes <= _MOST_PRESSURE for _, five_minutes in map(self._pressure, ("cpu", "io")))

    def is_busy(self) -> bool:
        """Whether idleness is over: somebody came back, or things wait for the processor. Blocks.

        What was started because the computer was idle makes load of its own, and is not to end itself:
        it is others' waiting that counts.
        """
        return self._people() is False or self._pressure("cpu")[0] > _BUSY_PRESSURE

    async def run(self, on_occasion: OnOccasion) -> None:
        """Report each time the computer becomes idle, until cancelled."""
        was_idle: bool | None = None
        while True:
            is_idle = await asyncio.to_thread(self.is_idle)
            if is_idle and was_idle is False:
                now = self._clock.now()
                await on_occasion(
                    BecameIdle(key=f"idle:{now.isoformat()}", at=now, words="the computer became idle")
                )
            was_idle = is_idle
            await self._clock.sleep(_LOOK_SECONDS)

    def _load(self) -> float | None:
        """The load of the last five minutes."""
        try:
            return float((self._proc / "loadavg").read_text().split()[1])
        except (OSError, ValueError, IndexError):
            return None

    def _pressure(self, of: str) -> tuple[float, float]:
        """Percent of the last ten seconds and five minutes in which something waited; 0 where not told."""
        try:
            match = _AVERAGE.search((self._proc / "pressure" / of).read_text())
        except OSError:  # a kernel without it
            return 0.0, 0.0
        return (float(match.group(1)), float(match.group(2))) if match else (0.0, 0.0)
