"""Clocks: the system's, and one that tests and simulations control."""

from __future__ import annotations

import asyncio
import datetime as dt
import heapq
import itertools
import math
import time

#: How often the loop may turn before everything that can run is taken to have run.
_SETTLING_TURNS = 100

#: A Saturday in winter: the evening before a night of maintenance.
_DEFAULT_START = dt.datetime(2026, 1, 10, 20, 0, tzinfo=dt.UTC)


class SystemClock:
    """The clock of this computer."""

    def now(self) -> dt.datetime:
        """The wall time, aware and in UTC."""
        return dt.datetime.now(dt.UTC)

    def monotonic(self) -> float:
        """Seconds from an unknown start, never going back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait on the monotonic clock."""
        await asyncio.sleep(seconds)


class FakeClock:
    """A clock that stands still until it is stepped, or runs ``speed`` times as fast as the real one.

    ``advance`` goes from sleeper to sleeper in the order of their waking, and lets each run before the
    next one wakes: eight hours of a simulated night pass in as many steps as there are sleeps in it.
    """

    def __init__(self, start: dt.datetime = _DEFAULT_START, *, speed: float = 0.0) -> None:
        self._start = start
        self._speed = speed
        self._elapsed = 0.0
        self._anchor = time.monotonic()
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._timer: asyncio.TimerHandle | None = None
        #: When the timer wakes, by this clock.
        self._armed = math.inf

    def now(self) -> dt.datetime:
        """The simulated wall time, aware and in UTC."""
        return self._start + dt.timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        """Simulated seconds since the clock was made."""
        return self._elapsed + (time.monotonic() - self._anchor) * self._speed

    async def sleep(self, seconds: float) -> None:
        """Wait on the simulated clock."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.monotonic() + seconds, next(self._order), woken))
        self._arm()
        await woken

    async def advance(self, seconds: float) -> None:
        """Advance simulated time by so much, waking every sleeper on the way at its own moment."""
        target = self.monotonic() + seconds
        await _settle()
        while (due := self._next_due()) is not None and due <= target:
            self._set(max(due, self.monotonic()))
            self._wake()
            await _settle()
        self._set(max(target, self.monotonic()))
        self._arm()
        await _settle()

    @property
    def next_waking(self) -> float | None:
        """Simulated seconds until the next sleeper wakes; ``None`` while nobody sleeps."""
        due = self._next_due()
        return None if due is None else max(0.0, due - self.monotonic())

    def _next_due(self) -> float | None:
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    def _set(self, elapsed: float) -> None:
        self._elapsed, self._anchor = elapsed, time.monotonic()
        self._armed = math.inf  # whoever sleeps wakes so much earlier now

    def _wake(self) -> None:
        self._armed = math.inf
        now = self.monotonic()
        while (due := self._next_due()) is not None and due <= now:
            heapq.heappop(self._sleepers)[2].set_result(None)
        self._arm()

    def _arm(self) -> None:
        """Ask the loop to wake the next sleeper, where time runs by itself; an earlier timer will do."""
        due = self._next_due()
        if self._speed <= 0 or due is None or self._armed <= due:
            return
        if self._timer is not None:
            self._timer.cancel()
        # A hair late, or rounding would wake nobody and the timer would spin.
        delay = max(0.0, due - self.monotonic()) / self._speed + 1e-6
        self._timer = asyncio.get_running_loop().call_later(delay, self._wake)
        self._armed = due


async def _settle() -> None:
    """Run every coroutine that can run."""
    for _ in range(_SETTLING_TURNS):
        await asyncio.sleep(0)
