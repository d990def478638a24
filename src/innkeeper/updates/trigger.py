"""Start update runs when their windows open (the trigger agent)."""

from __future__ import annotations

import asyncio
import datetime as dt

import structlog

from innkeeper.channels.ports import GuestMessage, ScheduleDeleted, ScheduleRequested
from innkeeper.errors import ErrorCode, MachineBusy, UpdateError
from innkeeper.machines.service import Machines, lock_of
from innkeeper.tasks.outcome import traceback_of
from innkeeper.tasks.ports import Clock
from innkeeper.tasks.service import Tasks
from innkeeper.tasks.waiting import Signal
from innkeeper.updates.booking import Booking, Verdict
from innkeeper.updates.bookings import GUEST, Bookings
from innkeeper.updates.nights import Night, NightEntry
from innkeeper.updates.order import UPDATE_RUN, RunOrder
from innkeeper.updates.outlook import Lookout, Outlook
from innkeeper.updates.placement import InFlight, Placement, Why
from innkeeper.updates.policy import Policy
from innkeeper.updates.ports import ReportStore
from innkeeper.updates.reconciler import Reconciler
from innkeeper.updates.windows import Windows
from innkeeper.wire.events import Event, EventKind, Publish

_log = structlog.get_logger(__name__)

#: How far ahead a night is planned.
NIGHT = dt.timedelta(hours=24)


class TriggerAgent:
    """The host's half of the task agents: it decides who is maintained, and when."""

    def __init__(
        self,
        *,
        tasks: Tasks,
        machines: Machines,
        bookings: Bookings,
        windows: Windows,
        reports: ReportStore,
        clock: Clock,
        publish: Publish,
        policy: Policy,
    ) -> None:
        self._tasks = tasks
        self._bookings = bookings
        self._clock = clock
        self._publish = publish
        self._policy = policy
        self._lookout = Lookout(
            tasks=tasks,
            machines=machines,
            bookings=bookings,
            windows=windows,
            reports=reports,
            policy=policy,
        )
        self._reconciler = Reconciler(
            tasks=tasks,
            machines=machines,
            reports=reports,
            clock=clock,
            publish=publish,
            undo_directory=policy.undo.undo_directory,
        )
        self._woken = Signal()
        #: How often each waiting booking was passed over; a restart forgives that.
        self._skips: dict[tuple[str, str], int] = {}
        #: Who waits for the end of each run.
        self._watches: dict[int, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Start what may start, for as long as it is not cancelled."""
        try:
            await self._reconciler.run()
            while True:
                await self._rest(await self._look())
        finally:
            for watch in self._watches.values():
                watch.cancel()
            self._watches.clear()

    def wake(self) -> None:
        """Look again now: a booking, a window or a machine has changed."""
        self._woken.set()

    async def tonight(self) -> Night:
        """Plan the next 24 hours, starting nothing."""
        outlook = await self._lookout.look(self._clock.now(), self._skips)
        until = outlook.now + NIGHT
        entries = [_under_way(outlook, run) for run in outlook.in_flight]
        entries += [_entry(outlook, placement) for placement in await outlook.plan(until)]
        return Night(at=outlook.now, until=until, entries=tuple(sorted(entries, key=_by_start)))

    async def hear(self, machine: str, message: GuestMessage) -> None:
        """Take what a guest tells by itself: bookings are booked, bounded; the rest is not for us.

        Raises ``UpdateError`` or ``InvalidArgument`` where a booking is refused.
        """
        if isinstance(message, ScheduleRequested):
            await self._bookings.book(
                machine,
                label=message.label,
                identifier=message.identifier,
                start=message.start,
                end=message.end,
                deadline=message.deadline,
                context=message.context,
                booked_by=GUEST,
            )
            self.wake()
        elif isinstance(message, ScheduleDeleted):
            await self._delete_for_guest(machine, message.identifier)

    # Machinery

    async def _look(self) -> float:
        """Look, and start what may start; returns for how many seconds nothing will change by itself."""
        now = self._clock.now()
        outlook = await self._lookout.look(now, self._skips)
        for task in outlook.runs.values():
            self._watch(task.id)
        placements = await outlook.plan(now)
        self._skips = {p.candidate.key: p.skips for p in placements if p.skips}
        for placement in placements:
            await self._act_safely(outlook, placement)
        chances = [p.next_chance for p in placements if p.next_chance is not None and p.next_chance > now]
        rest = (min(chances) - now).total_seconds() if chances else self._policy.look_seconds
        return min(rest, self._policy.look_seconds)

    async def _act_safely(self, outlook: Outlook, placement: Placement) -> None:
        """Act on one booking; what fails with it is looked at again, and leaves the others alone."""
        try:
            await self._act(outlook, placement)
        except Exception as exc:
            key = placement.candidate.key
            _log.error("trigger.booking_failed", booking=key, traceback=traceback_of(exc))

    async def _act(self, outlook: Outlook, placement: Placement) -> None:
        booking = outlook.bookings[placement.candidate.key]
        key = placement.candidate.key
        if placement.why is Why.STARTS:
            await self._start(outlook, placement)
        elif placement.why is Why.EXPIRED:
            await self._bookings.ended(*key, Verdict.NOT_STARTED, _last_words(booking))
        elif (booking.reason, booking.next_chance) != (placement.reason, placement.next_chance):
            await self._bookings.waits(*key, reason=placement.reason, next_chance=placement.next_chance)

    async def _start(self, outlook: Outlook, placement: Placement) -> None:
        """Start the run; the window's hard end leaves it the time to roll back."""
        if placement.opening is None:
            return
        # It may have been replaced since the look.
        booking = await self._bookings.get(*placement.candidate.key)
        reserve = dt.timedelta(seconds=self._policy.rollback_reserve_seconds)
        order = RunOrder.of(
            booking,
            host=placement.candidate.host,
            stop_at=placement.opening.end - reserve,
            now=self._clock.now(),
        )
        try:
            task = await self._tasks.start(
                UPDATE_RUN,
                order.description,
                order.to_json(),
                lock=lock_of(booking.machine),
                owner=booking.booked_by,
            )
        except MachineBusy as busy:
            await self._bookings.waits(
                booking.machine, booking.identifier, reason=busy.sentence, next_chance=outlook.now
            )
            return
        await self._bookings.started(booking.machine, booking.identifier, task.id)
        self._watch(task.id)
        self._publish(
            Event(
                kind=EventKind.UPDATE_STARTED,
                subject=f"{booking.machine}/{booking.identifier}",
                at=self._clock.now(),
                data={"machine": booking.machine, "identifier": booking.identifier, "task": task.id},
            )
        )

    def _watch(self, task_id: int) -> None:
        if task_id not in self._watches:
            self._watches[task_id] = asyncio.ensure_future(self._until_ended(task_id))

    async def _until_ended(self, task_id: int) -> None:
        try:
            await self._tasks.wait(task_id)
        finally:
            if self._watches.get(task_id) is asyncio.current_task():
                del self._watches[task_id]
            self._lookout.forget_durations()
            self.wake()

    async def _rest(self, seconds: float) -> None:
        """Wait until something is due, or something has changed."""
        await self._woken.wait_within(self._clock, max(seconds, 0.1))

    async def _delete_for_guest(self, machine: str, identifier: str) -> None:
        booking = await self._bookings.get(machine, identifier)
        if booking.booked_by != GUEST:
            raise UpdateError(
                f"“{identifier}” of {machine} was booked by {booking.booked_by}, not by the guest.",
                code=ErrorCode.E_ACCESSDENIED,
                advice="An administrator can delete it.",
            )
        await self._bookings.delete(machine, identifier)


def _last_words(booking: Booking) -> str:
    """Return why a booking whose time is over was not started: what it waited for last."""
    return f"{Why.EXPIRED.value} {booking.reason}".strip()


def _under_way(outlook: Outlook, run: InFlight) -> NightEntry:
    task = outlook.runs[run.machine]
    booking = next(
        (b for b in outlook.bookings.values() if b.task_id == task.id),
        None,
    )
    openings = outlook.calendar.openings(run.machine)
    return NightEntry(
        machine=run.machine,
        identifier=booking.identifier if booking else "",
        label=booking.label if booking else task.description,
        host=run.host,
        start=task.created_at,
        end=run.end,
        window=openings[0].window if openings else "",
        fits=True,
        reason="",
        next_chance=None,
        task_id=task.id,
    )


def _entry(outlook: Outlook, placement: Placement) -> NightEntry:
    booking = outlook.bookings[placement.candidate.key]
    return NightEntry(
        machine=booking.machine,
        identifier=booking.identifier,
        label=booking.label,
        host=placement.candidate.host,
        start=placement.start,
        end=placement.end,
        window=placement.opening.window if placement.opening else "",
        fits=placement.start is not None,
        reason=placement.reason,
        next_chance=placement.next_chance,
        task_id=None,
        roll_back=placement.candidate.roll_back,
    )


def _by_start(entry: NightEntry) -> tuple[bool, dt.datetime, str, str]:
    """Those that do not fit come last."""
    start = entry.start or dt.datetime.max.replace(tzinfo=dt.UTC)
    return entry.start is None, start, entry.machine, entry.identifier
