"""Find the reports of update runs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from innkeeper.errors import ErrorCode, UpdateError
from innkeeper.tasks.ports import Clock
from innkeeper.updates.booking import MERGE, Booking, Report
from innkeeper.updates.bookings import Bookings
from innkeeper.updates.ports import ReportStore


class Reports:
    """What the update runs did, for the morning after."""

    def __init__(self, *, store: ReportStore, bookings: Bookings) -> None:
        self._store = store
        self._bookings = bookings

    async def of_run(self, task_id: int) -> Report:
        """The report of one run, by its task. Raises ``UpdateError`` where there is none (yet)."""
        report = await self._store.get(task_id)
        if report is None:
            raise UpdateError(
                f"There is no report of task {task_id}.",
                code=ErrorCode.ERROR_NOT_FOUND,
                advice="Reports are written when an update run ends.",
            )
        return report

    async def of_booking(self, machine: str, identifier: str) -> Report:
        """The report of a booking's run. Raises ``BookingNotFound``, or ``UpdateError`` before its end."""
        booking = await self._bookings.get(machine, identifier)
        if booking.task_id is None:
            raise UpdateError(
                f"The update “{identifier}” of {machine} has not started.",
                code=ErrorCode.ERROR_NOT_FOUND,
                advice="See when it runs with: innkeeper tonight",
            )
        return await self.of_run(booking.task_id)

    async def last_of(self, booking: Booking) -> Report | None:
        """The report of a booking's run; of one that waits again, that of the run that could not begin."""
        if booking.task_id is not None:
            return await self._store.get(booking.task_id)
        for report in await self._store.list(machine=booking.of):
            if report.started_at < booking.booked_at:
                break
            if report.identifier == booking.identifier:
                return report
        return None

    async def list(self, *, machine: str | None = None, limit: int = 100) -> Sequence[Report]:
        """Newest first."""
        return await self._store.list(machine=machine, limit=limit)

    async def forget_old(self, clock: Clock, age: dt.timedelta) -> None:
        """Forget reports that are older, now and once a day, for as long as it is not cancelled."""
        while True:
            await self._store.purge(clock.now() - age)
            await clock.sleep(dt.timedelta(days=1).total_seconds())


async def run_has_merged(store: ReportStore, task_id: int) -> bool:
    """Whether an update run has begun to merge: its undo disks can only be merged from then on."""
    report = await store.get(task_id)
    return report is not None and any(phase == MERGE for phase, _ in report.phase_seconds)
