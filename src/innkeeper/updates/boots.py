"""Cap how many machines of a host boot at once, apart from how many are updated."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator


class BootSlots:
    """The boots in flight, by host."""

    def __init__(self, per_host: int) -> None:
        self._per_host = per_host
        self._slots: dict[str, asyncio.Semaphore] = {}
        self._in_flight: Counter[str] = Counter()

    @contextlib.asynccontextmanager
    async def slot(self, host: str) -> AsyncIterator[None]:
        """Wait for a free slot, and hold it."""
        async with self._slots.setdefault(host, asyncio.Semaphore(self._per_host)):
            self._in_flight[host] += 1
            try:
                yield
            finally:
                self._in_flight[host] -= 1

    def in_flight(self, host: str) -> int:
        """How many machines of the host boot now."""
        return self._in_flight[host]
