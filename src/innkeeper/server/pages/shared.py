"""Short-lived cache: what many viewers ask for at one moment is computed once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

Made = TypeVar("Made")

#: So many answers are kept at most.
_MOST = 256


class Shared(Generic[Made]):
    """Cached answers by key, each valid for a moment.

    The key must say all that an answer depends on, what its reader may see too.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._making: dict[Hashable, tuple[float, asyncio.Task[Made]]] = {}

    async def get(self, key: Hashable, make: Callable[[], Awaitable[Made]]) -> Made:
        """Return the cached answer, or compute it; concurrent callers share one computation."""
        now = time.monotonic()
        known = self._making.get(key)
        if known is None or now - known[0] > self._seconds:
            self._forget_old(now)
            known = now, asyncio.ensure_future(make())
            self._making[key] = known
        # Whoever stops waiting does not take it from the others.
        return await asyncio.shield(known[1])

    def _forget_old(self, now: float) -> None:
        for key in [key for key, (made, _) in self._making.items() if now - made > self._seconds]:
            del self._making[key]
        while len(self._making) >= _MOST:
            del self._making[next(iter(self._making))]
