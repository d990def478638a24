"""Run long work on images in a thread: its progress is told in the event loop, a cancel ends it first."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable

from innkeeper.disks.progress import Watch
from innkeeper.errors import DiskError
from innkeeper.machines.ports.progress import OnProgress


async def in_watched_thread(work: Callable[[Watch], None], on_progress: OnProgress | None = None) -> None:
    """Return when the work has ended; where this is cancelled, once the work has heard of it and ended."""
    watch = _TaskWatch(on_progress)
    thread = asyncio.ensure_future(asyncio.to_thread(work, watch))
    try:
        await asyncio.shield(thread)
    except asyncio.CancelledError:
        watch.stop.set()
        with contextlib.suppress(DiskError):
            await thread
        raise


class _TaskWatch:
    """Passes between the thread that works on an image and the task that waits for it."""

    def __init__(self, on_progress: OnProgress | None) -> None:
        self.stop = threading.Event()
        self._on_progress = on_progress or (lambda _done, _total: None)
        self._loop = asyncio.get_running_loop()

    def advance(self, phase: str, done: int, total: int) -> None:
        """Report in the loop's own thread."""
        self._loop.call_soon_threadsafe(self._on_progress, done, total)

    def cancel_requested(self) -> bool:
        """Whether the task was cancelled."""
        return self.stop.is_set()

    def past_return(self) -> None:
        """Hear that the image is whole: it may still be called off."""
