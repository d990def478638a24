"""Settle bookings whose run has ended without saying so: a server died in between."""

from __future__ import annotations

import structlog

from innkeeper.errors import TaskNotFound
from innkeeper.tasks.service import Tasks
from innkeeper.tasks.task import Task
from innkeeper.updates.booking import Booking, Verdict
from innkeeper.updates.bookings import Bookings
from innkeeper.updates.ports import ReportStore

_log = structlog.get_logger(__name__)


async def settle_stuck_bookings(bookings: Bookings, tasks: Tasks, reports: ReportStore) -> int:
    """Give an end to each booking whose task has ended or is gone; returns to how many."""
    settled = 0
    for booking in await bookings.list(ended=False):
        if booking.task_id is None:
            continue
        task = await _task(tasks, booking.task_id)
        if task is None or task.is_complete:
            await _settle(bookings, reports, booking, task)
            settled += 1
    return settled


async def _settle(bookings: Bookings, reports: ReportStore, booking: Booking, task: Task | None) -> None:
    """End a booking as its run's report says; without one, only a person can know how the machine is."""
    assert booking.task_id is not None
    report = await reports.get(booking.task_id)
    # One of an update on probation was written before its end: its merge may never have been made.
    if report is not None and report.identifier == booking.identifier and not booking.is_on_probation:
        verdict, reason = report.verdict, " ".join(report.reasons)
    else:
        verdict, reason = Verdict.NEEDS_HELP, _without_report(booking, task)
    _log.warning("booking.settled", machine=booking.machine, identifier=booking.identifier, verdict=verdict)
    await bookings.ended(booking.of, booking.identifier, booking.task_id, verdict, reason)


def _without_report(booking: Booking, task: Task | None) -> str:
    ended = "is not known any more" if task is None else f"has ended: {task.error_description or 'no word'}"
    return f"Its run, task {booking.task_id}, {ended} It left no report: see how the machine is."


async def _task(tasks: Tasks, task_id: int) -> Task | None:
    try:
        return await tasks.get(task_id)
    except TaskNotFound:
        return None
