"""Long work that ends early when its task is cancelled."""

from __future__ import annotations

from collections.abc import Awaitable

from innkeeper.tasks.running import RunningTask, TaskCancelled
from innkeeper.tasks.waiting import Outrun, unless


async def unless_cancelled(task: RunningTask, work: Awaitable[None]) -> None:
    """Await ``work``; a cancel of the task cancels it, and raises ``TaskCancelled`` when it has let go."""
    try:
        await unless(work, task.cancelled())
    except Outrun:
        raise TaskCancelled from None
