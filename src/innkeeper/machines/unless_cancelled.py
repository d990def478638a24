"""Do something long, unless the task that does it is cancelled first."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from innkeeper.tasks.running import RunningTask, TaskCancelled


async def unless_cancelled(task: RunningTask, work: Awaitable[None]) -> None:
    """Await ``work``; a cancel of the task cancels it, and raises ``TaskCancelled`` when it has let go."""
    working = asyncio.ensure_future(work)
    cancelled = asyncio.ensure_future(task.cancelled())
    try:
        await asyncio.wait({working, cancelled}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise TaskCancelled
        working.result()
    finally:
        working.cancel()
        cancelled.cancel()
        await asyncio.wait({working, cancelled})
