"""Context of a running task: journal, progress, cancellation."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
from collections.abc import Awaitable, Callable, Coroutine

import structlog

from innkeeper.errors import ServiceError
from innkeeper.tasks.events import task_changed, task_logged
from innkeeper.tasks.outcome import traceback_of
from innkeeper.tasks.ports import Clock, LastWords, Steps, TaskStore
from innkeeper.tasks.progress import Report, advanced
from innkeeper.tasks.task import CancelEffect, LogLevel, Progress, Task
from innkeeper.tasks.waiting import first_of
from innkeeper.wire.events import Json, Publish

#: Seconds before the first write: what a short task says is written with its end.
_FIRST_PAUSE = 0.05
#: Seconds between two writes of one task's log.
_WRITE_INTERVAL = 0.3
#: Seconds between two writes of one task's progress alone: who asks this server knows it from memory, others
#: from its events.
_PROGRESS_INTERVAL = 30.0
#: A guest that prints without end fills neither the store nor a reader's screen.
_MAX_LINES = 20_000
_MAX_LINE_CHARS = 16_384

_log = structlog.get_logger(__name__)


class TaskContext:
    """One task while it runs here (``RunningTask``)."""

    def __init__(
        self,
        task: Task,
        steps: Steps,
        *,
        store: TaskStore,
        clock: Clock,
        publish: Publish,
        resumed: bool = False,
    ) -> None:
        self.task = task
        self.resumed = resumed
        #: A write of the work's own that goes with the task's end (``RunningTask.end_with``).
        self.closing: Awaitable[object] | None = None
        self._steps = steps
        self._store = store
        self._clock = clock
        self._publish = publish
        self._cancelled = asyncio.Event()
        if task.cancel_requested:
            self._cancelled.set()
        self._on_cancel: Callable[[], None] = lambda: None
        self._lines: list[tuple[dt.datetime, LogLevel, str]] = []
        self._lines_taken = 0
        self._progress_unsaved = False
        self._saving = asyncio.Lock()
        self._writer: asyncio.Task[None] | None = None
        self._resting = False
        self._closing = False
        #: When it was written last, by the monotonic clock.
        self._saved_at = clock.monotonic() - _PROGRESS_INTERVAL
        #: Set while there are lines to write.
        self._has_lines = asyncio.Event()

    @property
    def id(self) -> int:
        """The task's id."""
        return self.task.id

    @property
    def host(self) -> str | None:
        """The id of the host that it works on."""
        return self.task.host

    @property
    def cancel_requested(self) -> bool:
        """Whether a cancel was asked for."""
        return self._cancelled.is_set()

    async def step(self, name: str, action: Callable[[], Awaitable[Json]]) -> Json:
        """Do ``action`` once for good (``RunningTask.step``)."""
        return await self._steps.run(name, action)

    def report(
        self,
        phase: str | None = None,
        *,
        number: int | None = None,
        count: int | None = None,
        percent: int | None = None,
        bytes_done: int | None = None,
        bytes_total: int | None = None,
    ) -> None:
        """Report progress (``RunningTask.report``)."""
        message = Report(
            phase=phase,
            number=number,
            count=count,
            percent=percent,
            bytes_done=bytes_done,
            bytes_total=bytes_total,
        )
        self._come_to(advanced(self.task.progress, message))

    def log(self, text: str, level: LogLevel = LogLevel.INFO) -> None:
        """Add a line to the task's log."""
        self._lines_taken += 1
        if self._lines_taken > _MAX_LINES:
            return
        if self._lines_taken == _MAX_LINES:
            text, level = "The log is full: further lines are not kept.", LogLevel.WARNING
        self._lines.append((self._clock.now(), level, text[:_MAX_LINE_CHARS]))
        self._has_lines.set()
        self._write_soon()

    async def set_cancel_effect(self, effect: CancelEffect) -> None:
        """Record durably what a cancel would do from here on.

        After it has returned for ``CancelEffect.NONE``, no cancel is taken any more: whoever passes the
        point of no return looks at ``cancel_requested`` once more then.
        """
        await self._store.set_cancel_effect(self.id, effect)
        self._change(dataclasses.replace(self.task, cancel_effect=effect))

    def end_with(self, writing: Awaitable[object]) -> None:
        """Wait for a write of the work's own together with the task's end."""
        self.closing = writing

    def on_cancel(self, call: Callable[[], None]) -> None:
        """Call back at a cancel, without waiting for it."""
        self._on_cancel = call
        if self._cancelled.is_set():
            call()

    async def cancelled(self) -> None:
        """Return when a cancel has been asked for."""
        await self._cancelled.wait()

    def cancel(self) -> None:
        """Signal the work that a cancel was asked for."""
        if self._cancelled.is_set():
            return
        self._cancelled.set()
        try:
            self._on_cancel()
        except Exception as exc:  # the cancel is asked for all the same, and the work sees it
            _log.error("task.on_cancel_failed", task_id=self.id, traceback=traceback_of(exc))
        self._change(dataclasses.replace(self.task, cancel_requested=True))

    def complete(self) -> None:
        """Set the progress to 100 %: it is written with the task's end."""
        progress = dataclasses.replace(self.task.progress, percent=100)
        if progress != self.task.progress:
            self._progress_unsaved = True
            self._change(dataclasses.replace(self.task, progress=progress))

    async def save(self) -> None:
        """Write what has not been written yet."""
        async with self._saving:
            progress = self.task.progress if self._progress_unsaved else None
            self._progress_unsaved = False
            lines = self._lines[:]
            if lines:
                written = await self._store.append_log(self.id, lines, progress)
                del self._lines[: len(lines)]
                if not self._lines:
                    self._has_lines.clear()
                for line in written:
                    self._publish(task_logged(line))
            elif progress is not None:
                await self._store.progress(self.id, progress)

    async def last_words(self) -> LastWords:
        """Stop writing; what is not written yet is for the caller to write."""
        await self._stop_writing()
        words = LastWords(
            progress=self.task.progress if self._progress_unsaved else None, lines=tuple(self._lines)
        )
        self._progress_unsaved = False
        self._lines.clear()
        return words

    async def close(self) -> None:
        """Write the last word, always."""
        await self._stop_writing()
        if self._progress_unsaved or self._lines:
            await self._try_to_save()

    async def _stop_writing(self) -> None:
        self._closing = True
        if self._writer is not None:
            if self._resting:
                self._writer.cancel()
            await asyncio.wait([self._writer])

    async def _try_to_save(self) -> None:
        try:
            await self.save()
        except ServiceError as exc:
            # No reason to end the work, or not to write how it ended.
            self._progress_unsaved = True
            _log.warning("task.progress_not_saved", task_id=self.id, error=str(exc))

    def _come_to(self, progress: Progress) -> None:
        if progress != self.task.progress:
            self._progress_unsaved = True
            self._change(dataclasses.replace(self.task, progress=progress))
            self._write_soon()

    def _change(self, task: Task) -> None:
        self.task = task
        self._publish(task_changed(task, self._clock.now()))

    def _write_soon(self) -> None:
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write(), name=f"progress of task {self.id}")

    async def _write(self) -> None:
        """Write soon, and then lines no more often than a few times a second, progress alone seldom."""
        await self._rest(self._clock.sleep(_FIRST_PAUSE))
        while (self._progress_unsaved or self._lines) and not self._closing:
            early = self._saved_at + _PROGRESS_INTERVAL - self._clock.monotonic()
            if not self._lines and early > 0:
                await self._rest(first_of(self._clock.sleep(early), self._has_lines.wait()))
                continue
            await self._try_to_save()
            self._saved_at = self._clock.monotonic()
            await self._rest(self._clock.sleep(_WRITE_INTERVAL))

    async def _rest(self, resting: Coroutine[object, object, object]) -> None:
        if self._closing:
            resting.close()
            return
        self._resting = True
        await resting
        self._resting = False
