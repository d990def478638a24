"""Gather what the planner must know: who waits, what runs, and what the hosts can carry."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
from collections.abc import Iterable, Mapping, Sequence

from innkeeper.errors import InnkeeperError
from innkeeper.machines.machine import Machine, MachineState
from innkeeper.machines.service import Machines, lock_of
from innkeeper.tasks.service import Tasks
from innkeeper.tasks.task import Task, TaskFilter
from innkeeper.updates.booking import Booking
from innkeeper.updates.bookings import Bookings
from innkeeper.updates.calendar import Calendar
from innkeeper.updates.durations import Durations
from innkeeper.updates.order import UPDATE_RUN
from innkeeper.updates.phases import FORWARD
from innkeeper.updates.placement import Candidate, Host, InFlight, Placement
from innkeeper.updates.planner import plan
from innkeeper.updates.policy import Policy
from innkeeper.updates.ports import ReportStore
from innkeeper.updates.windows import Windows

#: More tasks than ever live at once.
_ALL = 100_000
#: The phase by which a machine has booted, by its number.
_BOOTED = [phase.name for phase in FORWARD].index("agent") + 1
#: Past this many bookings, planning would hold up the service's loop for longer than anybody likes.
_MANY = 500


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Outlook:
    """What is known at one moment."""

    now: dt.datetime
    #: The bookings that have not ended, by machine and identifier.
    bookings: Mapping[tuple[str, str], Booking]
    candidates: Sequence[Candidate]
    hosts: Sequence[Host]
    in_flight: Sequence[InFlight]
    #: The task of each machine's update run.
    runs: Mapping[str, Task]
    calendar: Calendar
    policy: Policy

    async def plan(self, until: dt.datetime) -> list[Placement]:
        """The plan up to some moment; a large one is made in a thread."""
        if len(self.candidates) > _MANY:
            return await asyncio.to_thread(self._plan, until)
        return self._plan(until)

    def _plan(self, until: dt.datetime) -> list[Placement]:
        return plan(
            now=self.now,
            until=until,
            candidates=self.candidates,
            hosts=self.hosts,
            in_flight=self.in_flight,
            calendar=self.calendar,
            policy=self.policy,
        )


class Lookout:
    """Looks at bookings, windows, machines, tasks and hosts, all at one moment."""

    def __init__(
        self,
        *,
        tasks: Tasks,
        machines: Machines,
        bookings: Bookings,
        windows: Windows,
        reports: ReportStore,
        policy: Policy,
    ) -> None:
        self._tasks = tasks
        self._machines = machines
        self._bookings = bookings
        self._windows = windows
        self._reports = reports
        self._policy = policy
        self._durations: Durations | None = None

    def forget_durations(self) -> None:
        """A run has ended: the next look reads anew how long runs take."""
        self._durations = None

    async def look(self, now: dt.datetime, skips: Mapping[tuple[str, str], int]) -> Outlook:
        """What is known now; ``skips`` says how often each booking was passed over."""
        bookings = {(b.machine, b.identifier): b for b in await self._bookings.list(ended=False)}
        machines = {machine.name: machine for machine in await self._machines.list()}
        live = await self._tasks.list(TaskFilter(live=True, limit=_ALL))
        durations = await self._known_durations()
        runs = {str(t.lock).removeprefix(lock_of("")): t for t in live if t.kind == UPDATE_RUN}
        busy = {task.lock for task in live}
        return Outlook(
            now=now,
            bookings=bookings,
            candidates=[
                self._candidate(b, machines.get(b.machine), busy, durations, skips.get(key, 0))
                for key, b in bookings.items()
                if not b.has_started
            ],
            hosts=[host for host in await asyncio.gather(*map(self._host, self._machines.hosts)) if host],
            in_flight=self._in_flight(bookings.values(), runs, machines, durations),
            runs=runs,
            calendar=Calendar(await self._windows.list(), now),
            policy=self._policy,
        )

    async def _known_durations(self) -> Durations:
        if self._durations is None:
            self._durations = Durations(
                await self._reports.past_runs(),
                share=self._policy.prediction_quantile,
                default_seconds=self._policy.default_run_seconds,
            )
        return self._durations

    def _candidate(
        self,
        booking: Booking,
        machine: Machine | None,
        busy: set[str | None],
        durations: Durations,
        skips: int,
    ) -> Candidate:
        return Candidate(
            machine=booking.machine,
            identifier=booking.identifier,
            host=machine.host if machine is not None else "",
            memory_mib=machine.memory_mib if machine is not None else 0,
            needs_waking=machine is not None
            and machine.state in (MachineState.TURNED_OFF, MachineState.SAVED),
            start=booking.start,
            end=booking.end,
            deadline=booking.deadline,
            predicted=dt.timedelta(seconds=durations.predict(booking.machine, booking.label)),
            skips=skips,
            is_busy=lock_of(booking.machine) in busy,
            roll_back=None if machine is None else self._policy.roll_back_of(machine),
        )

    def _in_flight(
        self,
        bookings: Iterable[Booking],
        runs: Mapping[str, Task],
        machines: Mapping[str, Machine],
        durations: Durations,
    ) -> list[InFlight]:
        labels = {booking.machine: booking.label for booking in bookings if booking.has_started}
        return [
            InFlight(
                machine=name,
                host=machines[name].host,
                end=task.created_at + dt.timedelta(seconds=durations.predict(name, labels.get(name, ""))),
                # What the host gets back is seen when it has it.
                memory_mib=0,
                boots=task.progress.phase_number <= _BOOTED,
            )
            for name, task in runs.items()
            if name in machines
        ]

    async def _host(self, name: str) -> Host | None:
        """Return what a host can carry; ``None`` where it does not answer."""
        try:
            free = await self._machines.hosts[name].information.memory_free_mib()
        except InnkeeperError:
            return None  # whoever lists the machines has logged it
        return Host(name=name, memory_free_mib=free - self._policy.memory_reserve_mib)
