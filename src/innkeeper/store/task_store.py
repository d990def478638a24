"""Tasks and their logs in the database."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import cast

import sqlalchemy as sa

from innkeeper.errors import TaskNotFound
from innkeeper.store.database import Database
from innkeeper.store.tables import task_log, tasks
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

#: How often to look again for a holder that ended just when its lock was asked for.
_LOCK_TRIES = 5


class SqlTaskStore:
    """A ``TaskStore`` on SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, new: NewTask, at: dt.datetime) -> Task:
        """Write a new task; raises ``LockHeld`` where a live task holds ``lock``."""
        row = {
            "kind": new.kind,
            "description": new.description,
            "lock": new.lock,
            "about": new.about,
            "parent_id": new.parent_id,
            "owner": new.owner,
            "argument": json.dumps(new.argument),
            "cancel_effect": new.cancel_effect.value,
            "host": new.host,
            "server": new.server,
            "carrier": new.carrier,
            "created_at": at,
        }
        for _ in range(_LOCK_TRIES):
            try:
                task_id = cast(int, await self._database.write_rows((_INSERT, row)))
                return new.written(task_id, at)
            except sa.exc.IntegrityError:
                holder = await self._holder(new.lock)
                if holder is not None:
                    raise LockHeld(holder) from None
        raise AssertionError(f"{new.lock} is held, and by nobody")

    async def adopt(self, task_ids: Collection[int], *, server: str, carrier: str | None) -> Sequence[Task]:
        """Give live tasks to a server, in one statement."""
        update = (
            sa.update(tasks)
            .where(tasks.c.id.in_(task_ids), tasks.c.result.is_(None))
            .values(server=server, carrier=carrier)
            .returning(tasks)
        )
        if carrier is not None:
            update = update.where(tasks.c.carrier.is_distinct_from(carrier))
        return await self._database.write(lambda c: [_task(row) for row in c.execute(update)])

    async def get(self, task_id: int) -> Task:
        """Return a task. Raises ``TaskNotFound``."""
        query = sa.select(tasks).where(tasks.c.id == task_id)
        row = await self._database.read(lambda c: c.execute(query).one_or_none())
        return _task(_found(row, task_id))

    async def argument(self, task_id: int) -> Mapping[str, Json]:
        """Return the argument that a task was started with."""
        query = sa.select(tasks.c.argument).where(tasks.c.id == task_id)
        row = await self._database.read(lambda c: c.execute(query).one_or_none())
        kept: Mapping[str, Json] = json.loads(_found(row, task_id).argument)
        return kept

    async def list(self, wanted: TaskFilter = ANY_TASK) -> Sequence[Task]:
        """The tasks that the filter admits, newest first."""
        query = sa.select(tasks).where(*_conditions(wanted)).order_by(tasks.c.id.desc()).limit(wanted.limit)
        rows = await self._database.read(lambda c: c.execute(query).all())
        return [_task(row) for row in rows]

    async def progress(self, task_id: int, progress: Progress) -> None:
        """Record a live task's progress."""
        values = {"of_id": task_id, **_progress_row(progress)}
        if await self._database.write_again(_PROGRESS, values) is None:
            await self.get(task_id)

    async def set_cancel_effect(self, task_id: int, effect: CancelEffect) -> None:
        """Record what a cancel would do from now on."""
        await self._update(task_id, {"cancel_effect": effect.value})

    async def request_cancel(self, task_id: int) -> bool:
        """Record the request of a cancel; ``False`` where none is possible."""
        return await self._update(
            task_id,
            {"cancel_requested": True},
            tasks.c.result.is_(None),
            tasks.c.cancel_effect != CancelEffect.NONE.value,
        )

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
        """End a task, which frees its lock, and write its last log lines."""
        values = {
            "of_id": task_id,
            "of_server": server,
            "result": int(result),
            "error": error,
            "error_description": error_description,
            "ended_at": at,
        }
        if words.progress is not None:
            values |= _progress_row(words.progress)
        statement = _END if words.progress is None else _END_WITH_PROGRESS

        if not words.lines:
            ended = await self._database.write_rows((statement, values))
            return None if ended is None else ()

        def end(connection: sa.Connection) -> Sequence[LogLine] | None:
            if connection.scalar(statement, values) is None:
                return None
            return _append(connection, task_id, words.lines)

        return await self._database.write(end)

    async def append_log(
        self,
        task_id: int,
        lines: Sequence[tuple[dt.datetime, LogLevel, str]],
        progress: Progress | None = None,
    ) -> Sequence[LogLine]:
        """Add lines to a task's log, and number them; with its progress, which is held by that too."""
        values = None if progress is None else {"of_id": task_id, **_progress_row(progress)}

        def append(connection: sa.Connection) -> Sequence[LogLine]:
            if values is None or connection.scalar(_PROGRESS, values) is None:
                _lock_row(connection, task_id)
            return _append(connection, task_id, lines)

        return await self._database.write(append, lazily=True)

    async def log(self, task_id: int, *, after: int = 0, limit: int = 1000) -> Sequence[LogLine]:
        """Return the lines numbered above ``after``, oldest first."""
        await self.get(task_id)
        query = (
            sa.select(task_log)
            .where(task_log.c.task_id == task_id, task_log.c.number > after)
            .order_by(task_log.c.number)
            .limit(limit)
        )
        rows = await self._database.read(lambda c: c.execute(query).all())
        return [_line(row) for row in rows]

    async def purge(self, *, before: dt.datetime, keep: int) -> int:
        """Delete the tasks that ended before, and all but the last ``keep`` ended ones."""
        surplus = (
            sa.select(tasks.c.id)
            .where(tasks.c.ended_at.is_not(None))
            .order_by(tasks.c.ended_at.desc(), tasks.c.id.desc())
            .limit(-1 if self._database.is_sqlite else None)
            .offset(keep)
        )
        delete = sa.delete(tasks).where((tasks.c.ended_at < before) | tasks.c.id.in_(surplus))
        return await self._database.write(lambda c: c.execute(delete).rowcount)

    async def _holder(self, lock: str | None) -> int | None:
        query = sa.select(tasks.c.id).where(tasks.c.lock == lock, tasks.c.result.is_(None))
        return await self._database.read(lambda c: c.scalar(query))

    async def _update(
        self,
        task_id: int,
        values: Mapping[str, object],
        *conditions: sa.ColumnElement[bool],
        lazily: bool = False,
    ) -> bool:
        """Whether the task was changed: it is there, and the conditions hold. Raises ``TaskNotFound``."""
        update = sa.update(tasks).where(tasks.c.id == task_id, *conditions).values(dict(values))
        if await self._database.write(lambda c: c.execute(update).rowcount, lazily=lazily):
            return True
        await self.get(task_id)
        return False


# Made once: a statement that is made anew is compiled, or looked for among the compiled, anew.
_INSERT = sa.insert(tasks).returning(tasks.c.id, sort_by_parameter_order=True)
_LAST_LINE = sa.select(sa.func.max(task_log.c.number)).where(task_log.c.task_id == sa.bindparam("of_id"))
_INSERT_LINES = sa.insert(task_log)


def _update_of(*names: str) -> sa.UpdateBase:
    """Change these columns of the live task ``of_id`` that ``of_server`` carries; returns its id."""
    live = (tasks.c.id == sa.bindparam("of_id")) & tasks.c.result.is_(None)
    ours = tasks.c.server.is_(None) | (tasks.c.server == sa.bindparam("of_server"))
    changed: dict[str, object] = {name: sa.bindparam(name) for name in names}
    return sa.update(tasks).where(live, ours).values(changed).returning(tasks.c.id)


#: Of a live task, whoever carries it.
_PROGRESS = (
    sa.update(tasks)
    .where(tasks.c.id == sa.bindparam("of_id"), tasks.c.result.is_(None))
    .values({field.name: sa.bindparam(field.name) for field in dataclasses.fields(Progress)})
    .returning(tasks.c.id)
)
_ENDING = ("result", "error", "error_description", "ended_at")
_END = _update_of(*_ENDING)
_END_WITH_PROGRESS = _update_of(*_ENDING, *(field.name for field in dataclasses.fields(Progress)))


def _conditions(wanted: TaskFilter) -> Iterator[sa.ColumnElement[bool]]:
    """What the tasks that the filter admits have in common."""
    if wanted.live is not None:
        yield tasks.c.result.is_(None) if wanted.live else tasks.c.result.is_not(None)
    if wanted.text is not None:
        yield tasks.c.description.icontains(wanted.text, autoescape=True) | (
            tasks.c.error_description.icontains(wanted.text, autoescape=True)
        )
    if wanted.before_id is not None:
        yield tasks.c.id < wanted.before_id
    if wanted.cancel_requested is not None:
        yield tasks.c.cancel_requested if wanted.cancel_requested else ~tasks.c.cancel_requested
    columns = (
        (tasks.c.kind, wanted.kind),
        (tasks.c.lock, wanted.lock),
        (tasks.c.parent_id, wanted.parent_id),
        (tasks.c.host, wanted.host),
    )
    yield from (column == value for column, value in columns if value is not None)


def _progress_row(progress: Progress) -> dict[str, object]:
    return {field.name: getattr(progress, field.name) for field in dataclasses.fields(Progress)}


def _append(
    connection: sa.Connection, task_id: int, lines: Sequence[tuple[dt.datetime, LogLevel, str]]
) -> Sequence[LogLine]:
    """Add lines to a log whose task's row is held."""
    first = (connection.scalar(_LAST_LINE, {"of_id": task_id}) or 0) + 1
    added = [
        LogLine(task_id=task_id, number=number, at=at, level=level, text=text)
        for number, (at, level, text) in enumerate(lines, first)
    ]
    if added:
        connection.execute(_INSERT_LINES, [_log_row(line) for line in added])
    return added


def _found(row: sa.Row[tuple[object, ...]] | None, task_id: int) -> sa.Row[tuple[object, ...]]:
    if row is None:
        raise TaskNotFound(f"There is no task {task_id}.", advice="Run: innkeeper task list")
    return row


def _lock_row(connection: sa.Connection, task_id: int) -> None:
    """Hold the task's row, so that two servers do not number the same line."""
    row = connection.execute(sa.select(tasks.c.id).where(tasks.c.id == task_id).with_for_update())
    _found(row.one_or_none(), task_id)


def _log_row(line: LogLine) -> dict[str, object]:
    return {
        "task_id": line.task_id,
        "number": line.number,
        "at": line.at,
        "level": line.level.value,
        "text": line.text,
    }


def _line(row: sa.Row[tuple[object, ...]]) -> LogLine:
    return LogLine(
        task_id=row.task_id, number=row.number, at=row.at, level=LogLevel(row.level), text=row.text
    )


def _task(row: sa.Row[tuple[object, ...]]) -> Task:
    return Task(
        id=row.id,
        kind=row.kind,
        description=row.description,
        lock=row.lock,
        about=row.about or (row.lock or "").partition(":")[2],
        parent_id=row.parent_id,
        owner=row.owner,
        host=row.host,
        server=row.server,
        carrier=row.carrier,
        created_at=row.created_at,
        ended_at=row.ended_at,
        progress=Progress(
            phase=row.phase,
            phase_number=row.phase_number,
            phase_count=row.phase_count,
            percent=row.percent,
            bytes_done=row.bytes_done,
            bytes_total=row.bytes_total,
        ),
        cancel_effect=CancelEffect(row.cancel_effect),
        cancel_requested=row.cancel_requested,
        result=None if row.result is None else TaskResult(row.result),
        error=row.error,
        error_description=row.error_description,
    )
