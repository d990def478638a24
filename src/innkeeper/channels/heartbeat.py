"""Heartbeats of one guest: its answers to the host's pings."""

from __future__ import annotations

import collections

from innkeeper.tasks.ports import Clock

#: The documented block of time, and the heartbeats that are expected in it.
BLOCK_SECONDS = 60.0
BEATS = 10


class HeartbeatCounter:
    """Counter of the last minute's heartbeats."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._beats: collections.deque[float] = collections.deque(maxlen=BEATS)
        self._since: float | None = None

    def beat(self) -> None:
        """Count a heartbeat."""
        now = self._clock.monotonic()
        self._since = now if self._since is None else self._since
        self._beats.append(now)

    @property
    def percent(self) -> int | None:
        """Percent of the expected heartbeats of the last minute; ``None`` before the very first.

        Until a minute is over since then, fewer are expected.
        """
        if self._since is None:
            return None
        now = self._clock.monotonic()
        known = min(BLOCK_SECONDS, now - self._since)
        expected = max(1, min(BEATS, int(known / BLOCK_SECONDS * BEATS)))
        heard = sum(1 for beat in self._beats if now - beat < BLOCK_SECONDS)
        return min(100, round(100 * heard / expected))
