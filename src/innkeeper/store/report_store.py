"""Reports of update runs in the database."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa
from pydantic import TypeAdapter

from innkeeper.store.database import Database, upsert
from innkeeper.store.tables import reports
from innkeeper.updates.booking import Report, Verdict
from innkeeper.updates.ports import PastRun

_REPORT: Final = TypeAdapter(Report)


class SqlReportStore:
    """A ``ReportStore`` on SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, report: Report) -> None:
        """Add a report, or replace the one with the same ``task_id``."""
        row = {
            "task_id": report.task_id,
            "machine": report.machine,
            "machine_key": report.key,
            "label": report.label,
            "verdict": report.verdict.value,
            "seconds": (report.ended_at - report.started_at).total_seconds(),
            "ended_at": report.ended_at,
            "body": _REPORT.dump_json(report).decode(),
        }
        await self._database.write(lambda c: upsert(c, reports, row))

    async def get(self, task_id: int) -> Report | None:
        """Return the report of a task's update run."""
        query = sa.select(reports.c.body).where(reports.c.task_id == task_id)
        body = await self._database.read(lambda c: c.scalar(query))
        return None if body is None else _REPORT.validate_json(body)

    async def list(self, *, machine: str | None = None, limit: int = 100) -> Sequence[Report]:
        """Return reports, newest first, by ``task_id``."""
        query = sa.select(reports.c.body).order_by(reports.c.task_id.desc()).limit(limit)
        if machine is not None:
            query = query.where((reports.c.machine_key == machine) | (reports.c.machine == machine))
        bodies = await self._database.read(lambda c: c.scalars(query).all())
        return [_REPORT.validate_json(body) for body in bodies]

    async def past_runs(self, limit: int = 20_000) -> Sequence[PastRun]:
        """Return the runs that were kept, newest first."""
        query = (
            sa.select(reports.c.machine, reports.c.machine_key, reports.c.label, reports.c.seconds)
            .where(reports.c.verdict == Verdict.KEPT.value)
            .order_by(reports.c.task_id.desc())
            .limit(limit)
        )
        rows = await self._database.read(lambda c: c.execute(query).all())
        return [
            PastRun(machine=row.machine_key or row.machine, label=row.label, seconds=row.seconds)
            for row in rows
        ]

    async def purge(self, before: dt.datetime) -> int:
        """Delete the reports of runs that ended before; returns how many."""
        delete = sa.delete(reports).where(reports.c.ended_at < before)
        return await self._database.write(lambda c: c.execute(delete).rowcount)
