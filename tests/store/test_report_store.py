"""What every report store promises: the one in memory, on SQLite and on PostgreSQL."""

from __future__ import annotations

import dataclasses
import datetime as dt

import pytest

from innkeeper.channels.ports import PackageChange
from innkeeper.store.database import Database
from innkeeper.store.report_store import SqlReportStore
from innkeeper.updates.booking import DiskChecksum, Report, Verdict
from innkeeper.updates.memory import MemoryReportStore
from innkeeper.updates.ports import PastRun, ReportStore

NIGHT = dt.datetime(2026, 1, 10, 22, 0, tzinfo=dt.UTC)

REPORT = Report(
    task_id=1,
    machine="web-1",
    identifier="2026-01",
    label="Security",
    started_at=NIGHT,
    ended_at=NIGHT + dt.timedelta(seconds=90.5),
    verdict=Verdict.KEPT,
    reasons=("All is well.", "It printed «\0»."),
    packages=(PackageChange(name="openssl", old_version="3.0", new_version="3.1"),),
    phase_seconds=(("baseline", 1.25), ("merge", 7.0)),
    found_state="RUNNING",
    left_state="RUNNING",
    reboots=1,
    checksums=(DiskChecksum(path="/disks/web-1.qcow2", before="aa", after="aa"),),
)


@pytest.fixture
def store(place: Database | None) -> ReportStore:
    """Each store in turn."""
    return MemoryReportStore() if place is None else SqlReportStore(place)


async def test_a_report_is_read_as_it_was_put(store: ReportStore) -> None:
    """Every field; putting it again replaces it, and there is none for another task."""
    await store.put(REPORT)
    assert await store.get(1) == REPORT
    again = dataclasses.replace(REPORT, verdict=Verdict.ROLLED_BACK, packages=())
    await store.put(again)
    assert list(await store.list()) == [again]
    assert await store.get(2) is None


async def test_the_list_is_newest_first(store: ReportStore) -> None:
    """By task, of one machine where asked, and no longer than asked."""
    for task_id, machine in ((2, "db-1"), (10, "web-1"), (9, "web-1")):
        await store.put(dataclasses.replace(REPORT, task_id=task_id, machine=machine))
    assert [report.task_id for report in await store.list()] == [10, 9, 2]
    assert [report.task_id for report in await store.list(machine="web-1", limit=1)] == [10]


async def test_past_runs_are_those_that_were_kept(store: ReportStore) -> None:
    """Newest first, with the seconds they took."""
    for task_id, verdict in ((1, Verdict.KEPT), (2, Verdict.ROLLED_BACK), (3, Verdict.KEPT)):
        ended = NIGHT + dt.timedelta(seconds=task_id)
        await store.put(dataclasses.replace(REPORT, task_id=task_id, verdict=verdict, ended_at=ended))
    assert list(await store.past_runs()) == [
        PastRun(machine="web-1", label="Security", seconds=3.0),
        PastRun(machine="web-1", label="Security", seconds=1.0),
    ]
    assert len(await store.past_runs(limit=1)) == 1


async def test_purge_forgets_what_ended_before(store: ReportStore) -> None:
    """And says how many."""
    for task_id in (1, 2, 3):
        ended = NIGHT + dt.timedelta(days=task_id)
        await store.put(dataclasses.replace(REPORT, task_id=task_id, ended_at=ended))
    assert await store.purge(NIGHT + dt.timedelta(days=3)) == 2
    assert [report.task_id for report in await store.list()] == [3]
