"""Answer wrong log-ins in the same time, whatever a realm of others did before it said no."""

from __future__ import annotations

import collections
from typing import Final

from innkeeper.tasks.ports import Clock

_KEPT: Final = 64
#: A realm that once took longer makes nobody wait for that.
_LONGEST_SECONDS: Final = 3.0


class EvenPace:
    """The time that answers of one realm take.

    A directory asks its password store only for people whom it has: the time of its no would tell names. So a
    no comes when the slowest of the last answers would have come.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._took: collections.deque[float] = collections.deque(maxlen=_KEPT)

    def note(self, began: float) -> float:
        """Note an answer to what began at this moment of the clock; returns how long it took."""
        took = min(self._clock.monotonic() - began, _LONGEST_SECONDS)
        self._took.append(took)
        return took

    async def refuse(self, began: float, *, asked: bool = True) -> None:
        """Wait until a no may be told; one for which the realm was not ``asked`` says nothing of its time."""
        took = self.note(began) if asked else self._clock.monotonic() - began
        await self._clock.sleep(max(0.0, max(self._took, default=0.0) - took))
