"""Allow a guest so much in a time, and no more."""

from __future__ import annotations

import collections

from innkeeper.tasks.ports import Clock


class Allowance:
    """A bucket that fills at a steady rate up to its size."""

    def __init__(self, clock: Clock, *, per_second: float, burst: float) -> None:
        self._clock = clock
        self._per_second = per_second
        self._burst = burst
        self._left = burst
        self._seen_at = clock.monotonic()

    def take(self, amount: float) -> bool:
        """Take it if there is so much."""
        self._fill()
        if amount > self._left:
            return False
        self._left -= amount
        return True

    def owe(self, amount: float) -> float:
        """Take it in any case; returns how many seconds to wait until it is paid for."""
        self._fill()
        self._left -= amount
        return max(0.0, -self._left / self._per_second)

    def _fill(self) -> None:
        now = self._clock.monotonic()
        self._left = min(self._burst, self._left + (now - self._seen_at) * self._per_second)
        self._seen_at = now


class Offences:
    """Counts what a guest did against the protocol, and says when it was too often."""

    #: How many in a minute are too many.
    MOST = 3
    #: A session that the guest ends and begins again is none, up to this many in a minute.
    MOST_RESTARTS = 12
    _WITHIN_S = 60.0

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._faults: collections.deque[float] = collections.deque(maxlen=self.MOST)
        self._restarts: collections.deque[float] = collections.deque(maxlen=self.MOST_RESTARTS)
        #: What the last one was.
        self.reason = ""

    def count_fault(self, reason: str) -> None:
        """Count a broken rule."""
        self.reason = reason
        self._faults.append(self._clock.monotonic())

    def count_restart(self) -> None:
        """Count that the guest began anew."""
        self._restarts.append(self._clock.monotonic())
        if self._is_full(self._restarts):
            self.reason = "it begins anew again and again"

    @property
    def are_too_many(self) -> bool:
        """Whether the guest is to be left alone for a while."""
        return self._is_full(self._faults) or self._is_full(self._restarts)

    def forget(self) -> None:
        """Give it a new chance."""
        self._faults.clear()
        self._restarts.clear()

    def _is_full(self, times: collections.deque[float]) -> bool:
        return len(times) == times.maxlen and self._clock.monotonic() - times[0] < self._WITHIN_S
