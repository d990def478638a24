"""Call back when time limits run out: one sleeper for all of them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Hashable

import structlog

from innkeeper.schedule.running.timer import Timer
from innkeeper.tasks.outcome import traceback_of
from innkeeper.tasks.ports import Clock

_log = structlog.get_logger(__name__)


class Limits:
    """Limits by key. Setting and dropping one costs no task: most are dropped long before they run out."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._timer: Timer[Hashable] = Timer()
        self._calls: dict[Hashable, Callable[[], None]] = {}
        self._sleeper: asyncio.Task[None] | None = None
        self._wakes_at = math.inf

    def set(self, key: Hashable, seconds: float, call: Callable[[], None]) -> None:
        """Call ``call`` after so many seconds, unless it is dropped before."""
        at = self._clock.monotonic() + seconds
        self._calls[key] = call
        self._timer.set(key, at)
        if self._sleeper is None or self._sleeper.done() or at < self._wakes_at:
            if self._sleeper is not None:
                self._sleeper.cancel()
            self._wakes_at = at
            self._sleeper = asyncio.create_task(self._sleep(), name="time limits")

    def drop(self, key: Hashable) -> None:
        """Take a limit back. Does nothing where there is none."""
        self._calls.pop(key, None)
        self._timer.remove(key)

    async def _sleep(self) -> None:
        while (due := self._timer.next_due()) is not None:
            self._wakes_at = due
            await self._clock.sleep(max(0.0, due - self._clock.monotonic()))
            for _, _, key in self._timer.pop_due(self._clock.monotonic()):
                self._call(key)

    def _call(self, key: Hashable) -> None:
        try:
            self._calls.pop(key)()
        except Exception as exc:  # the other limits run out all the same
            _log.error("limits.call_failed", key=str(key), traceback=traceback_of(exc))
