"""The schedule in memory: for tests, trials and ``innkeeper serve --fake``."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import itertools
from collections.abc import Awaitable, Sequence

from innkeeper.errors import ErrorCode, ScheduleError
from innkeeper.schedule.path import SchedulePath
from innkeeper.schedule.ports import Claim
from innkeeper.schedule.registered import (
    REGISTERED_FIELDS,
    Folder,
    NumberedRun,
    Registered,
    Run,
    RunFilter,
    Watch,
    differences,
)


class MemoryScheduleStore:
    """Folders, tasks and runs in dictionaries; each call is one step of the event loop."""

    def __init__(self) -> None:
        self._folders: dict[str, Folder] = {}
        self._tasks: dict[int, Registered] = {}
        self._paths: dict[str, int] = {}
        self._runs: dict[str, Run] = {}
        self._occurrences: dict[tuple[int, str], str] = {}
        self._boots: dict[str, str] = {}
        self._ids = itertools.count(1)

    async def folders(self) -> Sequence[Folder]:
        return [self._folders[key] for key in sorted(self._folders)]

    async def put_folders(self, folders: Sequence[Folder]) -> None:
        self._folders.update({folder.path.key: folder for folder in folders})

    async def remove_folder(self, path: SchedulePath) -> None:
        self._folders.pop(path.key, None)

    async def put(self, tasks: Sequence[Registered]) -> Sequence[Registered]:
        for task in tasks:
            if self._paths.get(task.path.key, task.id) != task.id:
                raise taken(task.path)
        stored = [task if task.id else dataclasses.replace(task, id=next(self._ids)) for task in tasks]
        for task in stored:
            self._tasks[task.id] = task
            self._paths[task.path.key] = task.id
        return stored

    async def change(self, seen: Registered, task: Registered) -> bool:
        known = self._tasks.get(seen.id)
        if known is None or any(getattr(known, name) != getattr(seen, name) for name in REGISTERED_FIELDS):
            return False
        self._tasks[seen.id] = dataclasses.replace(known, **differences(seen, task))
        return True

    async def register(self, task: Registered, around: Sequence[SchedulePath]) -> Registered:
        if task.path.key in self._folders:
            raise folder_taken(task.path)
        (stored,) = await self.put([task])
        for path in around:
            self._folders.setdefault(path.key, Folder(path=path))
        return stored

    async def find(self, path: SchedulePath) -> Registered | None:
        return self._tasks.get(self._paths.get(path.key, 0))

    async def get(self, task_id: int) -> Registered | None:
        return self._tasks.get(task_id)

    async def tasks(self, folder: SchedulePath | None = None) -> Sequence[Registered]:
        found = [self._tasks[self._paths[key]] for key in sorted(self._paths)]
        return [task for task in found if folder is None or task.path.parent.key == folder.key]

    async def remove(self, task_id: int) -> None:
        task = self._tasks.pop(task_id, None)
        if task is not None:
            del self._paths[task.path.key]
        for run in [run for run in self._runs.values() if run.task_id == task_id]:
            del self._runs[run.id], self._occurrences[run.task_id, run.occurrence]

    async def watching(self, watches: Watch) -> Sequence[Registered]:
        return [task for task in self._tasks.values() if task.enabled and task.watches & watches]

    async def unsettled(self) -> Sequence[Registered]:
        return [task for task in self._tasks.values() if task.machines is None]

    async def set_series(self, task: Registered) -> None:
        if task.id in self._tasks:
            changed = dataclasses.replace(self._tasks[task.id], series=task.series, next_due=task.next_due)
            self._tasks[task.id] = changed

    async def boot_id(self, computer: str) -> str:
        return self._boots.get(computer, "")

    async def set_boot_id(self, computer: str, boot_id: str) -> None:
        self._boots[computer] = boot_id

    async def due(
        self, until: dt.datetime, limit: int, *, after: tuple[dt.datetime, int] | None = None
    ) -> Sequence[Registered]:
        found = [
            (task.next_due, task.id)
            for task in self._tasks.values()
            if task.enabled and task.next_due is not None and task.next_due <= until
        ]
        behind = sorted(place for place in found if after is None or place > after)
        return [self._tasks[task_id] for _, task_id in behind[:limit]]

    async def claim(self, claims: Sequence[Claim]) -> Sequence[Run]:
        won: list[Run] = []
        for claim in claims:
            task = self._tasks.get(claim.seen.id)
            if task is None or task.handled_until != claim.seen.handled_until:
                continue
            self._tasks[task.id] = dataclasses.replace(
                task,
                handled_until=claim.handled_until,
                next_due=claim.next_due,
                missed_runs=task.missed_runs + claim.missed_runs,
            )
            won += [run for run in claim.runs if self._add(run)]
        return won

    async def put_run(self, run: Run, *, lazily: bool = False) -> bool:
        if run.id in self._runs:
            if not self._has_ended(run):
                self._runs[run.id] = run
            return True
        return self._add(run)

    def _add(self, run: Run) -> bool:
        if self._occurrences.setdefault((run.task_id, run.occurrence), run.id) != run.id:
            return False
        self._runs[run.id] = run
        return True

    async def set_operation(self, run_id: str, operation: int) -> None:
        if run_id in self._runs:
            self._runs[run_id] = dataclasses.replace(self._runs[run_id], operation=operation)

    def begin_run(self, run: Run) -> Awaitable[object]:
        if self._has_ended(run):
            return _written()
        self._runs[run.id] = run
        self._occurrences[run.task_id, run.occurrence] = run.id
        return _written()

    def _has_ended(self, run: Run) -> bool:
        known = self._runs.get(run.id)
        return known is not None and known.ended_at is not None

    def end_run(self, run: Run, task: Registered | None) -> Awaitable[object]:
        if self._has_ended(run):
            return _written()
        self._runs[run.id] = run
        known = None if task is None else self._tasks.get(task.id)
        if task is not None and known is not None:
            self._tasks[task.id] = dataclasses.replace(
                known,
                last_run=task.last_run,
                last_result=task.last_result,
                # A success makes up for what was missed before it.
                missed_runs=0 if run.has_succeeded else known.missed_runs,
            )
        return _written()

    async def search(
        self, wanted: RunFilter, *, before: int | None = None, limit: int
    ) -> Sequence[NumberedRun]:
        found = [
            (number, run)
            for number, run in reversed([*enumerate(self._runs.values(), 1)])
            if (before is None or number < before) and self._fits(run, wanted)
        ]
        return found[:limit]

    def _fits(self, run: Run, wanted: RunFilter) -> bool:
        return (
            (wanted.task_id is None or run.task_id == wanted.task_id)
            and (wanted.live is None or run.state.is_live == wanted.live)
            and (not wanted.states or run.state in wanted.states)
            and (not wanted.text or wanted.text.casefold() in self._text_of(run))
        )

    def _text_of(self, run: Run) -> str:
        return f"{self._tasks[run.task_id].path}\n{run.reason}".casefold()

    async def waiting(self) -> Sequence[Run]:
        return [run for run in self._runs.values() if run.state.is_live and run.operation is None]

    async def run(self, run_id: str) -> Run | None:
        return self._runs.get(run_id)

    async def runs(
        self, task_id: int | None = None, *, live: bool | None = None, limit: int = 100
    ) -> Sequence[Run]:
        return [run for _, run in await self.search(RunFilter(task_id=task_id, live=live), limit=limit)]


def _written() -> Awaitable[None]:
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    done.set_result(None)
    return done


def taken(path: SchedulePath) -> ScheduleError:
    """Return the refusal of a second task or folder of one name."""
    return ScheduleError(
        f"There is a task {path} already.",
        code=ErrorCode.ERROR_ALREADY_EXISTS,
        advice="Update it, delete it, or choose another name.",
        node="path",
        value=str(path),
    )


def folder_taken(path: SchedulePath) -> ScheduleError:
    """Return the refusal of a task or folder whose name a folder has."""
    return ScheduleError(
        f"There is a folder {path} already.",
        code=ErrorCode.ERROR_ALREADY_EXISTS,
        advice="Choose another name.",
        node="path",
        value=str(path),
    )
