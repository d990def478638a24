"""Rate limits for guests."""

from __future__ import annotations

import collections

from innkeeper.tasks.ports import Clock


class Allowance:
    """Token bucket that fills at a steady rate up to its size."""

    def __init__(self, clock: Clock, *, per_second: float, burst: float) -> None:
        self._clock = clock
        self._per_second = per_second
        self._burst = burst
        self._left = burst
        self._seen_at = clock.monotonic()

    def take(self, amount: float) -> bool:
        """Take tokens if there are enough; returns whether there were."""
        self._fill()
        if amount > self._left:
            return False
        self._left -= amount
        return True

    def owe(self, amount: float) -> float:
        """Take tokens in any case; returns the seconds to wait until they are paid for."""
        self._fill()
        self._left -= amount
        return max(0.0, -self._left / self._per_second)

    def _fill(self) -> None:
        now = self._clock.monotonic()
        self._left = min(self._burst, self._left + (now - self._seen_at) * self._per_second)
        self._seen_at = now


class Offences:
    """Counts a guest's violations of the protocol, and tells when they were too many."""

    #: How many in a minute are too many.
    MOST = 3
    #: A session that the guest ends and begins again is none, up to this many in a minute.
    MOST_RESTARTS = 12
    _WITHIN_S = 60.0

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._faults: collections.deque[float] = collections.deque(maxlen=self.MOST)
        self._restarts: collections.deque[float] = collections.deque(maxlen=self.MOST_RESTARTS)
        self._has_flooded = False
        #: What the last one was.
        self.reason = ""

    def count_fault(self, reason: str) -> None:
        """Count a violation."""
        self.reason = reason
        self._faults.append(self._clock.monotonic())

    def count_restart(self) -> None:
        """Count a new session."""
        self._restarts.append(self._clock.monotonic())
        if self._is_full(self._restarts):
            self.reason = "it restarts its session again and again"

    def count_flood(self) -> None:
        """Count a guest that sends too much for too long: once is enough."""
        self._has_flooded, self.reason = True, "it sends far more than a guest has reason to"

    @property
    def are_too_many(self) -> bool:
        """Whether the guest is to be quarantined."""
        return self._has_flooded or self._is_full(self._faults) or self._is_full(self._restarts)

    def forget(self) -> None:
        """Reset the counts."""
        self._faults.clear()
        self._restarts.clear()
        self._has_flooded = False

    def _is_full(self, times: collections.deque[float]) -> bool:
        return len(times) == times.maxlen and self._clock.monotonic() - times[0] < self._WITHIN_S
