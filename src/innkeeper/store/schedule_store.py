"""Folders, scheduled tasks and runs in the database."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import types
from collections.abc import Awaitable, Sequence

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from innkeeper.schedule.memory_store import folder_taken, taken
from innkeeper.schedule.path import SchedulePath
from innkeeper.schedule.ports import Claim
from innkeeper.schedule.registered import (
    REGISTERED_FIELDS,
    Folder,
    NumberedRun,
    Registered,
    Run,
    RunFilter,
    RunState,
    Series,
    Watch,
    differences,
)
from innkeeper.store.database import Database, upsert
from innkeeper.store.grouped import RowChange
from innkeeper.store.tables import schedule_boots as boots_table
from innkeeper.store.tables import schedule_folders as folders_table
from innkeeper.store.tables import schedule_runs as runs_table
from innkeeper.store.tables import scheduled_tasks as tasks_table


class SqlScheduleStore:
    """A ``ScheduleStore`` on SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._put = _putting(sqlite if database.is_sqlite else postgresql)
        self._add = _adding(sqlite if database.is_sqlite else postgresql)
        self._add_folder = _adding_folder(sqlite if database.is_sqlite else postgresql)

    # Folders

    async def folders(self) -> Sequence[Folder]:
        """All folders, in the order of their paths."""
        rows = await self._database.read(lambda c: c.execute(sa.select(folders_table)).all())
        return [_folder(row) for row in sorted(rows, key=lambda row: str(row.key))]

    async def put_folders(self, folders: Sequence[Folder]) -> None:
        """Add folders, or change the descriptors of those that are there."""

        def put(connection: sa.Connection) -> None:
            for folder in folders:
                row = {"key": folder.path.key, "path": str(folder.path), "sddl": folder.sddl}
                upsert(connection, folders_table, row)

        await self._database.write(put)

    async def remove_folder(self, path: SchedulePath) -> None:
        """Remove a folder. Does nothing where there is none."""
        delete = sa.delete(folders_table).where(folders_table.c.key == path.key)
        await self._database.write(lambda c: c.execute(delete))

    # Tasks

    async def put(self, tasks: Sequence[Registered]) -> Sequence[Registered]:
        """Add tasks (id 0), or replace those of these ids, all at once. Raises ``ScheduleError``."""

        def put(connection: sa.Connection) -> Sequence[Registered]:
            for task in tasks:
                if task.id:
                    update = sa.update(tasks_table).where(tasks_table.c.id == task.id)
                    connection.execute(update.values(_task_row(task)))
            return _inserted(connection, tasks)

        try:
            return await self._database.write(put)
        except sa.exc.IntegrityError as exc:
            raise taken(await self._taken_path(tasks)) from exc

    async def change(self, seen: Registered, task: Registered) -> bool:
        """Write what differs of a task that is still registered as it was seen; whether it was."""
        row = _task_row(task)
        is_seen = sa.and_(
            tasks_table.c.id == seen.id,
            *(tasks_table.c[name] == getattr(seen, name) for name in REGISTERED_FIELDS),
        )
        differing = {name: row[name] for name in differences(seen, task)}
        if "machines" in differing:
            differing["machines_of"] = row["machines_of"]
        update = sa.update(tasks_table).where(is_seen).values(differing or {"sddl": task.sddl})
        return bool(await self._database.write(lambda c: c.execute(update).rowcount))

    async def register(self, task: Registered, around: Sequence[SchedulePath]) -> Registered:
        """Add or replace a task, and make the folders around it. Raises ``ScheduleError``."""
        row = _task_row(task)
        rows = [{"key": path.key, "path": str(path), "sddl": ""} for path in around]

        def register(connection: sa.Connection) -> Registered:
            if connection.scalar(_FOLDER, {"of_key": task.path.key}) is not None:
                raise folder_taken(task.path)
            if rows:
                connection.execute(self._add_folder, rows)
            if task.id:
                connection.execute(_REPLACE_TASK, row | {"of_id": task.id})
                return task
            return dataclasses.replace(task, id=connection.execute(_ADD_TASK, row).scalar_one())

        try:
            return await self._database.write(register)
        except sa.exc.IntegrityError as exc:
            raise taken(task.path) from exc

    async def find(self, path: SchedulePath) -> Registered | None:
        """Return the task of this path."""
        return await self._one(_TASK_BY_KEY, path.key)

    async def get(self, task_id: int) -> Registered | None:
        """Return the task of this id."""
        return await self._one(_TASK_BY_ID, task_id)

    async def tasks(self, folder: SchedulePath | None = None) -> Sequence[Registered]:
        """The tasks directly in a folder, or all, in the order of their paths."""
        query = sa.select(tasks_table)
        if folder is not None:
            query = query.where(tasks_table.c.folder == folder.key)
        rows = await self._database.read(lambda c: c.execute(query).all())
        return [_task(row) for row in sorted(rows, key=lambda row: str(row.key))]

    async def remove(self, task_id: int) -> None:
        """Delete a task and its history."""
        delete = sa.delete(tasks_table).where(tasks_table.c.id == task_id)
        history = sa.delete(runs_table).where(runs_table.c.task_id == task_id)
        await self._database.write(lambda c: (c.execute(history), c.execute(delete)))

    async def watching(self, watches: Watch) -> Sequence[Registered]:
        """The enabled tasks that any of these concerns."""
        flags = tasks_table.c.watches
        query = (
            sa.select(tasks_table)
            .where(tasks_table.c.enabled, flags != 0, flags.bitwise_and(int(watches)) != 0)
            .order_by(tasks_table.c.id)
        )
        rows = await self._database.read(lambda c: c.execute(query).all())
        return [_task(row) for row in rows]

    async def unsettled(self) -> Sequence[Registered]:
        """The tasks of which it was never found out which machines they name."""
        rows = await self._database.read(lambda c: c.execute(_UNSETTLED).all())
        return [_task(row) for row in rows]

    async def set_series(self, task: Registered) -> None:
        """Write which repetitions of a task are under way, and when to look at it next."""
        values = {"series": _series_text(task.series), "next_due": task.next_due}
        update = sa.update(tasks_table).where(tasks_table.c.id == task.id).values(values)
        await self._database.write(lambda c: c.execute(update))

    async def boot_id(self, computer: str) -> str:
        """The boot in which the service last ran on a computer; empty where never."""
        query = sa.select(boots_table.c.boot_id).where(boots_table.c.computer == computer)
        return await self._database.read(lambda c: c.scalar(query)) or ""

    async def set_boot_id(self, computer: str, boot_id: str) -> None:
        """Record the boot in which the service runs on a computer."""
        row = {"computer": computer, "boot_id": boot_id}
        await self._database.write(lambda c: upsert(c, boots_table, row))

    async def due(
        self, until: dt.datetime, limit: int, *, after: tuple[dt.datetime, int] | None = None
    ) -> Sequence[Registered]:
        """The enabled tasks to look at until then, soonest first; from behind a moment and an id."""
        query = (
            sa.select(tasks_table)
            .where(tasks_table.c.enabled, tasks_table.c.next_due <= until)
            .order_by(tasks_table.c.next_due, tasks_table.c.id)
            .limit(limit)
        )
        if after is not None:
            moment, task_id = after
            is_later = tasks_table.c.next_due > moment
            query = query.where(
                is_later | ((tasks_table.c.next_due == moment) & (tasks_table.c.id > task_id))
            )
        rows = await self._database.read(lambda c: c.execute(query).all())
        return [_task(row) for row in rows]

    async def claim(self, claims: Sequence[Claim]) -> Sequence[Run]:
        """Move tasks on and write their runs; returns the runs that are ours to start."""

        rows = {run.id: _run_row(run) for each in claims for run in each.runs}

        def claim(connection: sa.Connection) -> Sequence[Run]:
            won = [each for each in claims if _moved_on(connection, each)]
            # Asked for by its number: a count of rows is not to be had from every driver.
            return [
                run
                for each in won
                for run in each.runs
                if connection.execute(self._add, rows[run.id]).scalar_one_or_none() is not None
            ]

        return await self._database.write(claim)

    # Runs

    async def put_run(self, run: Run, *, lazily: bool = False) -> bool:
        """Add a run, or change the one of this id; whether it stands."""

        row = _run_row(run)
        try:
            await self._database.write_rows((self._put, row), lazily=lazily)
        except sa.exc.IntegrityError:  # the occurrence is another run's
            return False
        return True

    async def set_operation(self, run_id: str, operation: int) -> None:
        """Record which operation carries a run, and change nothing else."""
        update = sa.update(runs_table).where(runs_table.c.id == run_id).values(operation=operation)
        await self._database.write(lambda c: c.execute(update), lazily=True)

    def begin_run(self, run: Run) -> Awaitable[object]:
        """Write that an operation carries a run."""
        return self._database.write_rows((self._put, _run_row(run)), lazily=True)

    def end_run(self, run: Run, task: Registered | None) -> Awaitable[object]:
        """Write a run's end, and its task's last run and result with it."""
        rows: list[RowChange] = [(self._put, _run_row(run))]
        if task is not None:
            last = {
                "of_id": task.id,
                "last_run": task.last_run,
                "last_result": task.last_result,
                # A success makes up for what was missed before it.
                "keeps_missed": int(not run.has_succeeded),
            }
            rows.append((_LAST, last))
        # A power cut may take it back: the run then reads as interrupted, and is not started twice.
        return self._database.write_rows(*rows, lazily=True)

    async def search(
        self, wanted: RunFilter, *, before: int | None = None, limit: int
    ) -> Sequence[NumberedRun]:
        """The runs that are wanted, newest first, each with its number, which is below ``before``."""
        query = _fitting(wanted).order_by(runs_table.c.number.desc()).limit(limit)
        if before is not None:
            query = query.where(runs_table.c.number < before)
        rows = await self._database.read(lambda c: c.execute(query).all())
        return [(row.number, _run(row)) for row in rows]

    async def waiting(self) -> Sequence[Run]:
        """The live runs that no operation carries, the oldest first."""
        rows = await self._database.read(lambda c: c.execute(_WAITING).all())
        return [_run(row) for row in rows]

    async def run(self, run_id: str) -> Run | None:
        """Return the run of this id."""
        query = sa.select(runs_table).where(runs_table.c.id == run_id)
        row = await self._database.read(lambda c: c.execute(query).one_or_none())
        return None if row is None else _run(row)

    async def runs(
        self, task_id: int | None = None, *, live: bool | None = None, limit: int = 100
    ) -> Sequence[Run]:
        """Return runs, newest first."""
        return [run for _, run in await self.search(RunFilter(task_id=task_id, live=live), limit=limit)]

    async def _one(self, query: sa.Select[tuple[object, ...]], of: str | int) -> Registered | None:
        row = await self._database.read(lambda c: c.execute(query, {"of": of}).one_or_none())
        return None if row is None else _task(row)

    async def _taken_path(self, tasks: Sequence[Registered]) -> SchedulePath:
        for task in tasks:
            known = await self.find(task.path)
            if known is not None and known.id != task.id:
                return task.path
        return tasks[0].path


# Rows


def _fitting(wanted: RunFilter) -> sa.Select[tuple[object, ...]]:
    query = sa.select(runs_table)
    if wanted.task_id is not None:
        query = query.where(runs_table.c.task_id == wanted.task_id)
    if wanted.live is not None:
        ended = runs_table.c.ended_at
        query = query.where(ended.is_(None) if wanted.live else ended.is_not(None))
    if wanted.text:
        within = sa.select(tasks_table.c.id).where(tasks_table.c.path.icontains(wanted.text, autoescape=True))
        reason = runs_table.c.reason.icontains(wanted.text, autoescape=True)
        query = query.where(runs_table.c.task_id.in_(within) | reason)
    if wanted.states:
        query = query.where(runs_table.c.state.in_([state.value for state in wanted.states]))
    return query


def _inserted(connection: sa.Connection, tasks: Sequence[Registered]) -> Sequence[Registered]:
    """The tasks with their ids: one statement for all that are new, however many, and one for their ids."""
    fresh = [_task_row(task) for task in tasks if not task.id]
    if not fresh:
        return tasks
    before = connection.scalar(sa.select(sa.func.max(tasks_table.c.id))) or 0
    connection.execute(sa.insert(tasks_table), fresh)
    # An id is never given twice and grows, so that ours are above all that were there.
    query = sa.select(tasks_table.c.key, tasks_table.c.id).where(tasks_table.c.id > before)
    ids = {row.key: row.id for row in connection.execute(query)}
    return [task if task.id else dataclasses.replace(task, id=ids[task.path.key]) for task in tasks]


def _moved_on(connection: sa.Connection, claim: Claim) -> bool:
    change = {
        "of_id": claim.seen.id,
        "was_handled_until": claim.seen.handled_until,
        "handled_until": claim.handled_until,
        "next_due": claim.next_due,
        "missed": claim.missed_runs,
    }
    return bool(connection.execute(_MOVE_ON, change).rowcount)


def _folder(row: sa.Row[tuple[object, ...]]) -> Folder:
    return Folder(path=SchedulePath.parse(row.path), sddl=row.sddl)


_TASK_FIELDS = [
    field.name
    for field in dataclasses.fields(Registered)
    if field.name not in ("id", "path", "watches", "series", "machines")
]
_RUN_FIELDS = [
    field.name for field in dataclasses.fields(Run) if field.name not in ("state", "arguments", "given")
]


def _task_row(task: Registered) -> dict[str, object]:
    special = {
        "key": task.path.key,
        "folder": task.path.parent.key,
        "path": str(task.path),
        "watches": int(task.watches),
        "series": _series_text(task.series),
        "machines": json.dumps(task.machines or []),
        "machines_of": None if task.machines is None else task.registered_at,
    }
    return special | {name: getattr(task, name) for name in _TASK_FIELDS}


def _task(row: sa.Row[tuple[object, ...]]) -> Registered:
    fields = {name: getattr(row, name) for name in _TASK_FIELDS}
    return Registered(
        id=row.id,
        path=SchedulePath.parse(row.path),
        watches=Watch(row.watches),
        series=_series(row.series),
        machines=_machines(row),
        **fields,
    )


def _machines(row: sa.Row[tuple[object, ...]]) -> tuple[tuple[str, str], ...] | None:
    """The machines that it names; ``None`` where nobody looked, or a former release has replaced it since."""
    if row.machines_of != row.registered_at:
        return None
    return tuple((named, key) for named, key in json.loads(row.machines))


def _series_text(series: Sequence[Series]) -> str:
    return json.dumps([[each.trigger, each.since.isoformat()] for each in series]) if series else "[]"


def _series(text: str) -> tuple[Series, ...]:
    if text == "[]":
        return ()
    return tuple(
        Series(trigger=trigger, since=dt.datetime.fromisoformat(since)) for trigger, since in json.loads(text)
    )


# Made once: a statement that is made anew is compiled, or looked for among the compiled, anew.

_Dialect = types.ModuleType
_RUN_COLUMNS = [column.name for column in runs_table.columns if column.name != "number"]
_WAITING = (
    sa.select(runs_table)
    .where(runs_table.c.ended_at.is_(None), runs_table.c.operation.is_(None))
    .order_by(runs_table.c.number)
)
_TASK_BY_KEY = sa.select(tasks_table).where(tasks_table.c.key == sa.bindparam("of"))
_TASK_BY_ID = sa.select(tasks_table).where(tasks_table.c.id == sa.bindparam("of"))
_UNSETTLED = (
    sa.select(tasks_table)
    .where(tasks_table.c.machines_of.is_distinct_from(tasks_table.c.registered_at))
    .order_by(tasks_table.c.id)
)
_FOLDER = sa.select(folders_table.c.key).where(folders_table.c.key == sa.bindparam("of_key"))
_ADD_TASK = sa.insert(tasks_table).returning(tasks_table.c.id)
_REPLACE_TASK = (
    sa.update(tasks_table)
    .where(tasks_table.c.id == sa.bindparam("of_id"))
    .values({column.name: sa.bindparam(column.name) for column in tasks_table.columns if column.name != "id"})
)
_MOVE_ON = (
    sa.update(tasks_table)
    .where(
        tasks_table.c.id == sa.bindparam("of_id"),
        # Whoever comes second finds it moved on.
        tasks_table.c.handled_until == sa.bindparam("was_handled_until"),
    )
    .values(
        handled_until=sa.bindparam("handled_until"),
        next_due=sa.bindparam("next_due"),
        missed_runs=tasks_table.c.missed_runs + sa.bindparam("missed", type_=sa.BigInteger),
    )
)
_LAST = (
    sa.update(tasks_table)
    .where(tasks_table.c.id == sa.bindparam("of_id"))
    .values(
        last_run=sa.bindparam("last_run"),
        last_result=sa.bindparam("last_result"),
        missed_runs=tasks_table.c.missed_runs * sa.bindparam("keeps_missed", type_=sa.BigInteger),
    )
)


def _adding_folder(dialect: _Dialect) -> sa.UpdateBase:
    """Add a folder that is not there."""
    insert: sa.UpdateBase = dialect.insert(folders_table).on_conflict_do_nothing()
    return insert


def _adding(dialect: _Dialect) -> sa.UpdateBase:
    """Add a run whose occurrence is free."""
    insert: sa.UpdateBase = dialect.insert(runs_table).on_conflict_do_nothing()
    return insert.returning(runs_table.c.number)


def _putting(dialect: _Dialect) -> sa.UpdateBase:
    """Add a run, or change the one of this id, if it has not ended: its end stands, whoever comes late."""
    insert = dialect.insert(runs_table)
    changes = {name: insert.excluded[name] for name in _RUN_COLUMNS}
    put: sa.UpdateBase = insert.on_conflict_do_update(
        index_elements=[runs_table.c.id], set_=changes, where=runs_table.c.ended_at.is_(None)
    )
    return put


def _run_row(run: Run) -> dict[str, object]:
    special = {
        "state": run.state.value,
        "arguments": json.dumps(run.arguments),
        "given": json.dumps(dict(run.given)),
    }
    return special | {name: getattr(run, name) for name in _RUN_FIELDS}


def _run(row: sa.Row[tuple[object, ...]]) -> Run:
    fields = {name: getattr(row, name) for name in _RUN_FIELDS}
    return Run(
        state=RunState(row.state),
        arguments=tuple(json.loads(row.arguments)),
        given=json.loads(row.given),
        **fields,
    )
