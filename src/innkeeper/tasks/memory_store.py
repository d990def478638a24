"""Keep tasks in memory: for tests, simulations and ``--fake``."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Collection, Mapping, Sequence

from innkeeper.errors import TaskNotFound
from innkeeper.tasks.outcome import as_json
from innkeeper.tasks.ports import NO_WORDS, LastWords, LockHeld
from innkeeper.tasks.task import (
    ANY_TASK,
    CancelEffect,
    LogLevel,
    LogLine,
    NewTask,
    Progress,
    Task,
    TaskFilter,
    TaskResult,
)
from innkeeper.wire.events import Json


class MemoryTaskStore:
    """A ``TaskStore`` that forgets at the end of the process."""

    def __init__(self) -> None:
        self._tasks: dict[int, Task] = {}
        self._arguments: dict[int, Json] = {}
        self._logs: dict[int, list[LogLine]] = {}
        self._last_id = 0

    async def create(self, new: NewTask, at: dt.datetime) -> Task:
        """Write a new task; raises ``LockHeld`` where a live task holds ``lock``."""
        kept = as_json(new.argument)
        self._refuse_held(new.lock)
        self._last_id += 1
        task = new.written(self._last_id, at)
        self._arguments[task.id] = kept
        self._logs[task.id] = []
        self._tasks[task.id] = task
        return task

    async def adopt(self, task_ids: Collection[int], *, server: str, carrier: str | None) -> Sequence[Task]:
        """Give live tasks to a server."""
        left = [task for task in self._tasks.values() if task.id in task_ids and not task.is_complete]
        given = [task.id for task in left if carrier is None or task.carrier != carrier]
        return [self._replace(task_id, server=server, carrier=carrier) for task_id in given]

    async def get(self, task_id: int) -> Task:
        """Raises ``TaskNotFound``."""
        return self._find(task_id)

    async def argument(self, task_id: int) -> Mapping[str, Json]:
        """What the task was started with."""
        self._find(task_id)
        kept = self._arguments[task_id]
        assert isinstance(kept, Mapping)
        return kept

    async def list(self, wanted: TaskFilter = ANY_TASK) -> Sequence[Task]:
        """Newest first."""
        found = (task for task in reversed(self._tasks.values()) if wanted.admits(task))
        return [task for task, _ in zip(found, range(wanted.limit), strict=False)]

    async def progress(self, task_id: int, progress: Progress) -> None:
        """Write down how far a live task has come."""
        if not self._find(task_id).is_complete:
            self._replace(task_id, progress=progress)

    async def set_cancel_effect(self, task_id: int, effect: CancelEffect) -> None:
        """Write down what a cancel would do from now on."""
        self._find(task_id)
        self._replace(task_id, cancel_effect=effect)

    async def request_cancel(self, task_id: int) -> bool:
        """Write down that a cancel was asked for; ``False`` where none is possible."""
        if not self._find(task_id).is_cancelable:
            return False
        self._replace(task_id, cancel_requested=True)
        return True

    async def end(
        self,
        task_id: int,
        *,
        result: TaskResult,
        error: int,
        error_description: str,
        at: dt.datetime,
        server: str,
        words: LastWords = NO_WORDS,
    ) -> Sequence[LogLine] | None:
        """End a task, which frees its lock."""
        task = self._find(task_id)
        if task.is_complete or task.server not in (None, server):
            return None
        lines = await self.append_log(task_id, words.lines)
        if words.progress is not None:
            self._replace(task_id, progress=words.progress)
        self._replace(task_id, result=result, error=error, error_description=error_description, ended_at=at)
        return lines

    async def append_log(
        self,
        task_id: int,
        lines: Sequence[tuple[dt.datetime, LogLevel, str]],
        progress: Progress | None = None,
    ) -> Sequence[LogLine]:
        """Add lines to a task's log, and number them; with its progress."""
        if progress is not None:
            await self.progress(task_id, progress)
        self._find(task_id)
        log = self._logs[task_id]
        added = [
            LogLine(task_id=task_id, number=number, at=at, level=level, text=text)
            for number, (at, level, text) in enumerate(lines, len(log) + 1)
        ]
        log.extend(added)
        return added

    async def log(self, task_id: int, *, after: int = 0, limit: int = 1000) -> Sequence[LogLine]:
        """The lines numbered above ``after``, oldest first."""
        self._find(task_id)
        return self._logs[task_id][after : after + limit]

    async def purge(self, *, before: dt.datetime, keep: int) -> int:
        """Forget the tasks that ended before, and all but the last ``keep`` ended ones."""
        ended = sorted((t.ended_at, t.id) for t in self._tasks.values() if t.ended_at is not None)
        surplus = len(ended) - keep
        gone = [task_id for place, (at, task_id) in enumerate(ended) if at < before or place < surplus]
        for task_id in gone:
            del self._tasks[task_id], self._arguments[task_id], self._logs[task_id]
        return len(gone)

    def _refuse_held(self, lock: str | None) -> None:
        if lock is None:
            return
        for task in self._tasks.values():
            if task.lock == lock and not task.is_complete:
                raise LockHeld(task.id)

    def _find(self, task_id: int) -> Task:
        task = self._tasks.get(task_id)
        if task is None:
            raise TaskNotFound(f"There is no task {task_id}.", advice="Run: innkeeper task list")
        return task

    def _replace(self, task_id: int, **changes: object) -> Task:
        task = dataclasses.replace(self._tasks[task_id], **changes)  # type: ignore[arg-type]  # by the callers
        self._tasks[task_id] = task
        return task
