"""Wait for something no longer than so many seconds of the inn's clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from innkeeper.tasks.ports import Clock


async def within(clock: Clock, seconds: float, awaited: Awaitable[object]) -> bool:
    """Whether it came in time; what did not is cancelled."""
    work = asyncio.ensure_future(awaited)
    timer = asyncio.ensure_future(clock.sleep(seconds))
    try:
        await asyncio.wait({work, timer}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            # Raises what it raised.
            work.result()
            return True
        return False
    finally:
        timer.cancel()
        work.cancel()
