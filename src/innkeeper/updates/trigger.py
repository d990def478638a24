"""Start update runs when their windows open (the trigger agent)."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt
import functools
from collections.abc import Awaitable, Callable, Sequence

import structlog

from innkeeper.channels.ports import GuestMessage, ScheduleDeleted, ScheduleRequested
from innkeeper.errors import BookingNotFound, InnkeeperError, MachineBusy, UpdateError
from innkeeper.machines.asking import GATHERED_SECONDS
from innkeeper.machines.service import Machines, lock_of
from innkeeper.tasks.outcome import traceback_of
from innkeeper.tasks.ports import Clock
from innkeeper.tasks.service import Tasks
from innkeeper.tasks.waiting import Signal
from innkeeper.updates.booking import Booking
from innkeeper.updates.bookings import GUEST, Bookings
from innkeeper.updates.calendar import Opening
from innkeeper.updates.dispatch import Ripe, Scales, may_start, open_for
from innkeeper.updates.nights import Night, NightEntry
from innkeeper.updates.order import UPDATE_RUN, RunOrder
from innkeeper.updates.outlook import Lookout, Outlook
from innkeeper.updates.placement import Host, InFlight, Placement, Why
from innkeeper.updates.planner import plan
from innkeeper.updates.policy import Policy
from innkeeper.updates.ports import Hindrance, ReportStore, unhindered
from innkeeper.updates.put_off import PutOffs
from innkeeper.updates.reasons import Reasons
from innkeeper.updates.reconciler import Reconciler
from innkeeper.updates.roster import Key, Roster
from innkeeper.updates.windows import Windows
from innkeeper.wire.events import Event, EventKind, Publish

_log = structlog.get_logger(__name__)

#: How far ahead a night is planned.
NIGHT = dt.timedelta(hours=24)
#: The name under which everything is read, among those of hosts.
_EVERYTHING = "\0"
#: The name under which all machines are read for a plan …
_MACHINES = "\0machines"
#: … which waits so long for them.
_SOON_SECONDS = GATHERED_SECONDS / 2


class TriggerAgent:
    """The host's half of the task agents: it decides who is maintained, and when.

    Each host is looked at by itself: when something of it has changed, and when its next instant has come.
    A host that does not answer holds up its own look alone. A look writes nothing but what it starts or ends.
    """

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
        hindrance: Hindrance = unhindered,
    ) -> None:
        self._hindrance = hindrance
        self._tasks = tasks
        self._machines = machines
        self._bookings = bookings
        self._clock = clock
        self._publish = publish
        self._policy = policy
        self._roster = Roster(
            tasks=tasks,
            machines=machines,
            bookings=bookings,
            windows=windows,
            reports=reports,
            policy=policy,
        )
        self._lookout = Lookout(roster=self._roster, machines=machines, policy=policy)
        self._reasons = Reasons(roster=self._roster, lookout=self._lookout, clock=clock)
        self._reconciler = Reconciler(
            tasks=tasks,
            machines=machines,
            reports=reports,
            clock=clock,
            publish=publish,
            undo_directory=policy.undo.undo_directory,
        )
        self._put_offs = PutOffs(roster=self._roster, clock=clock, look_seconds=policy.look_seconds)
        self._scales: dict[str, Scales] = {}
        self._woken = Signal()
        #: How often each waiting booking was passed over, by host; a restart forgives that.
        self._skips: dict[str, dict[Key, int]] = {}
        #: What stopped those that might have started, by host, in sentences.
        self._stopped: dict[str, dict[Key, str]] = {}
        #: The hosts that had no slot free for any of theirs.
        self._full: set[str] = set()
        #: When each host is to be looked at though nothing has changed.
        self._instants: dict[str, dt.datetime] = {}
        self._looking: dict[str, asyncio.Task[None]] = {}
        self._read_at = float("-inf")

    async def run(self) -> None:
        """Start what may start, for as long as it is not cancelled."""
        try:
            await self._reconciler.run()
            self._read_at = float("-inf")
            while True:
                await self._turn()
                await self._woken.wait_within(self._clock, max(self._rest(), 0.1))
        finally:
            for looking in self._looking.values():
                looking.cancel()
            self._looking.clear()

    def on_event(self, event: Event) -> None:
        """Look again at what an event has changed."""
        self._put_offs.hear(event)
        if self._roster.hear(event):
            self._woken.set()

    def on_event_elsewhere(self, event: Event) -> None:
        """Look at what was booked, or taken back, at another server's door."""
        if event.kind in (EventKind.UPDATE_BOOKED, EventKind.UPDATE_DELETED):
            self.on_event(event)

    def wake(self) -> None:
        """Look at everything again now: windows have changed."""
        self._read_at = float("-inf")
        self._woken.set()

    async def tonight(self) -> Night:
        """Plan the next 24 hours, starting nothing; machines of a host that hangs are as seen last."""
        await self._roster.read_tables()
        await self._read_machines_soon()
        await self._roster.catch_up()
        outlook = await self._lookout.look_everywhere(self._clock.now(), self._all_skips())
        until = outlook.now + NIGHT
        entries = [_under_way(outlook, run) for run in outlook.in_flight]
        entries += [self._put_off(outlook, placement) for placement in await outlook.plan(until)]
        return Night(at=outlook.now, until=until, entries=tuple(sorted(entries, key=_by_start)))

    async def _read_machines_soon(self) -> None:
        """Read all machines, or leave that to end by itself: a host that hangs holds up the list of all."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SOON_SECONDS):
                if (earlier := self._looking.get(_MACHINES)) is not None:
                    await asyncio.wait({earlier})  # it may have missed what has come since
                self._begin(_MACHINES, self._roster.read_machines)
                await asyncio.wait({self._looking[_MACHINES]})

    async def explain(self, bookings: Sequence[Booking]) -> Sequence[Booking]:
        """The same bookings, each that waits with why it does, and when it may start next."""
        explained = await self._reasons.explain(bookings, self._all_skips())
        return [self._with_reason(booking) for booking in explained]

    def _with_reason(self, booking: Booking) -> Booking:
        """The booking; one that might start, and does not, with why, and when it is tried again."""
        if not booking.is_waiting or booking.reason:
            return booking
        if hindrance := self._hindrance_on(self._roster.host_of(booking.of)):
            return dataclasses.replace(booking, reason=hindrance)
        reason = self._put_offs.reason(booking)
        if not reason:
            return booking
        return dataclasses.replace(booking, reason=reason, next_chance=self._put_offs.until(booking))

    def _put_off(self, outlook: Outlook, placement: Placement) -> NightEntry:
        """The place of a booking in the night: none, where its start was refused until now, or its host's."""
        entry = _entry(outlook, placement)
        booking = outlook.bookings[placement.candidate.key]
        hindrance = self._hindrance_on(entry.host)
        reason = hindrance or self._put_offs.reason(booking)
        if not entry.fits or not reason:
            return entry
        again = None if hindrance else self._put_offs.until(booking)
        return dataclasses.replace(entry, fits=False, start=None, end=None, reason=reason, next_chance=again)

    def _hindrance_on(self, host: str) -> str:
        """Why nothing new may begin on one of the hosts here; of others their servers say it."""
        return self._hindrance(host) if host in self._machines.hosts else ""

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
        elif isinstance(message, ScheduleDeleted):
            await self._delete_for_guest(machine, message.identifier)

    # When to look

    async def _turn(self) -> None:
        """Begin to look at whatever is due, and read everything from time to time: hosts come back."""
        if self._clock.monotonic() - self._read_at >= self._policy.look_seconds:
            self._read_at = self._clock.monotonic()
            self._put_offs.clear()
            self._begin(_EVERYTHING, self._roster.read_all)
        await self._roster.catch_up()
        now = self._clock.now()
        due = {host for host, instant in self._instants.items() if instant <= now}
        for host in due | self._roster.changed:
            # One that is being looked at is looked at again after that.
            if host not in self._looking:
                self._roster.changed.discard(host)
                self._instants.pop(host, None)
                self._begin(host, functools.partial(self._look, host))

    def _rest(self) -> float:
        """For how many seconds nothing will change by itself."""
        read = self._read_at + self._policy.look_seconds - self._clock.monotonic()
        idle = [instant for host, instant in self._instants.items() if host not in self._looking]
        return min(read, (min(idle) - self._clock.now()).total_seconds()) if idle else read

    def _begin(self, name: str, look: Callable[[], Awaitable[None]]) -> None:
        async def looking() -> None:
            try:
                await look()
            except Exception as exc:
                # It is looked at again with everything else; the other hosts go on.
                _log.error("trigger.look_failed", host=name, traceback=traceback_of(exc))
            finally:
                if self._looking.get(name) is asyncio.current_task():
                    del self._looking[name]
                self._woken.set()

        if name not in self._looking:
            self._looking[name] = asyncio.ensure_future(looking())

    # A look at one host

    async def _look(self, host: str) -> None:
        await self._roster.refresh(host)
        if host not in self._machines.hosts:
            return
        now = self._clock.now()
        in_flight = self._lookout.in_flight(host)
        # A run that ends is news of the host: until then nobody has to be weighed against others.
        has_room = len(in_flight) < self._policy.slots
        found = self._find_ripe(host, now, has_room=has_room)
        for booking in found.expired:
            await self._expire(host, booking)
        if has_room:
            self._full.discard(host)
            left = bool(found.candidates) and await self._fill(host, found, in_flight, now)
        else:
            self._full.add(host)
            left = True
        instants = [found.next_instant] if found.next_instant is not None else []
        if left:
            instants.append(now + dt.timedelta(seconds=self._policy.look_seconds))
        if instants:
            self._instants[host] = min(instants)

    def _find_ripe(self, host: str, now: dt.datetime, *, has_room: bool) -> Ripe:
        scales = self._scales.setdefault(host, Scales(self._policy))
        scales.weigh(
            self._roster.take_touched(host),
            functools.partial(self._roster.waiting, host),
            now=now,
            known=self._lookout,
            calendar=self._roster.calendar(now),
            put_off_until=self._put_offs.until,
        )
        return scales.ripe(self._skips.get(host, {}), known=self._lookout, has_room=has_room)

    async def _fill(self, host: str, found: Ripe, in_flight: Sequence[InFlight], now: dt.datetime) -> bool:
        """Start what fits; returns whether any is left that might start when there is room."""
        if hindrance := self._hindrance(host):
            self._stopped[host] = {each.key: hindrance for each in found.candidates}
            return True
        carrier = await self._lookout.carrier(host)
        if carrier is None:
            return True
        placements = plan(
            now=now,
            until=now,
            candidates=found.candidates,
            hosts=[carrier],
            in_flight=in_flight,
            calendar=self._roster.calendar(now),
            policy=self._policy,
        )
        self._remember(host, placements)
        starting = [placement for placement in placements if placement.why is Why.STARTS]
        started = [await self._start_safely(host, placement) for placement in starting]
        return len(starting) < len(placements) or not all(started)

    def _remember(self, host: str, placements: Sequence[Placement]) -> None:
        skips = {key: count for key, count in self._skips.get(host, {}).items() if self._roster.has(key)}
        skips |= {p.candidate.key: p.skips for p in placements if p.skips}
        self._skips[host] = skips
        self._stopped[host] = {p.candidate.key: p.reason for p in placements}

    def _all_skips(self) -> dict[Key, int]:
        return {key: count for skips in self._skips.values() for key, count in skips.items()}

    # Starts and ends

    async def _start_safely(self, host: str, placement: Placement) -> bool:
        """Start one; what fails with it is looked at again, and leaves the others alone."""
        key = placement.candidate.key
        booking = self._roster.booking(key)
        try:
            started = await self._start(host, placement)
            self._put_offs.forget(key)
            return started
        except (BookingNotFound, MachineBusy):
            self._note(key)
        except Exception as exc:
            is_news = booking is not None and self._put_offs.add(booking, exc)
            told = {"machine": placement.candidate.named.title, "identifier": key[1]}
            if not isinstance(exc, InnkeeperError):
                _log.error("trigger.booking_failed", **told, traceback=traceback_of(exc))
            elif is_news:
                _log.warning("trigger.booking_refused", **told, reason=str(exc))
        finally:
            self._roster.touch(key[0])
        return False

    def _note(self, key: Key) -> None:
        """Read a booking again: it is not as the roster has it."""
        self._roster.note(key)
        self._woken.set()

    async def _start(self, host: str, placement: Placement) -> bool:
        """Start the run; the window's hard end leaves it the time to roll back."""
        # Since the look others were started, which takes time, and anybody may have changed anything.
        booking = await self._bookings.find(*placement.candidate.key)
        await self._roster.read_windows()
        now = self._clock.now()
        opening = self._opening_now(booking, placement, now)
        if opening is None:
            self._note(placement.candidate.key)
            return False
        reserve = dt.timedelta(seconds=self._policy.rollback_reserve_seconds)
        machine = await self._machines.get(booking.of)
        order = RunOrder.of(booking, machine, stop_at=opening.end - reserve, now=now)
        task = await self._tasks.start(
            UPDATE_RUN,
            order.description,
            order.to_json(),
            lock=lock_of(machine.key),
            about=machine.title,
            host=machine.host_id,
            owner=booking.booked_by,
        )
        await self._note_start(booking, task.id)
        return True

    def _opening_now(self, booking: Booking, placement: Placement, now: dt.datetime) -> Opening | None:
        """The opening in which it may start at this very moment."""
        if not may_start(booking, now):
            return None
        reserve = dt.timedelta(seconds=self._policy.rollback_reserve_seconds)
        needed = placement.candidate.predicted + reserve
        named = placement.candidate.named
        return open_for(booking, named, needed, self._roster.calendar(now), now)[0]

    async def _note_start(self, booking: Booking, task_id: int) -> None:
        try:
            await self._bookings.started(booking.of, booking.identifier, task_id)
        except UpdateError:
            # It was taken back, or started by another server, while its run was written down: that has
            # touched nothing yet, and will not.
            await self._tasks.cancel(task_id)
            raise
        self._publish(
            Event(
                kind=EventKind.UPDATE_STARTED,
                subject=f"{booking.machine}/{booking.identifier}",
                at=self._clock.now(),
                data={
                    "machine": booking.machine,
                    "key": booking.key,
                    "identifier": booking.identifier,
                    "task": task_id,
                },
            )
        )

    async def _expire(self, host: str, booking: Booking) -> None:
        """End a booking whose time is over; one that was deleted or replaced meanwhile is left alone."""
        key = booking.of, booking.identifier
        with contextlib.suppress(BookingNotFound):
            current = await self._bookings.find(*key)
            if current.version != booking.version:
                self._note(key)
                return
            words = f"{Why.EXPIRED.value} {self._last_reason(host, current)}".strip()
            if not await self._bookings.expired(current, words):
                self._note(key)

    def _last_reason(self, host: str, booking: Booking) -> str:
        """Why it had not started when its time was over."""
        last = min(moment for moment in (booking.end, booking.deadline) if moment is not None)
        (placement,) = plan(
            now=last,
            until=last,
            candidates=[dataclasses.replace(self._lookout.candidate(booking, 0), is_busy=False)],
            hosts=[Host(name=host, memory_free_mib=1 << 40)],
            in_flight=(),
            calendar=self._roster.calendar(last),
            policy=self._policy,
        )
        key = booking.of, booking.identifier
        stopped = Why.NO_SLOT.value if host in self._full else self._stopped.get(host, {}).get(key, "")
        return placement.reason or stopped

    async def _delete_for_guest(self, machine: str, identifier: str) -> None:
        await self._bookings.delete_for_guest(machine, identifier)


def _under_way(outlook: Outlook, run: InFlight) -> NightEntry:
    hold, booking = outlook.runs[run.machine]
    openings = outlook.calendar.openings(run.named)
    return NightEntry(
        machine=run.named.title,
        key=run.machine,
        identifier=booking.identifier if booking else "",
        label=booking.label if booking else hold.description,
        host=run.host,
        start=hold.since,
        end=run.end,
        window=openings[0].window if openings else "",
        fits=True,
        reason=booking.reason if booking and booking.is_on_probation else "",
        next_chance=None,
        task_id=hold.task_id,
    )


def _entry(outlook: Outlook, placement: Placement) -> NightEntry:
    booking = outlook.bookings[placement.candidate.key]
    return NightEntry(
        machine=placement.candidate.named.title,
        key=booking.key,
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
