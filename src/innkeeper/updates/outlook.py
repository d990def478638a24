"""Gather what the planner must know of some hosts at one moment, out of the roster."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
from collections.abc import Container, Iterable, Mapping, Sequence

from innkeeper.errors import InnkeeperError
from innkeeper.machines.asking import ANSWER_SECONDS, GATHERED_SECONDS, ask
from innkeeper.machines.machine import MachineState
from innkeeper.machines.service import Machines
from innkeeper.updates.booking import Booking
from innkeeper.updates.calendar import Calendar
from innkeeper.updates.machine_name import MachineName
from innkeeper.updates.placement import Candidate, Host, InFlight, Placement
from innkeeper.updates.planner import plan
from innkeeper.updates.policy import Policy
from innkeeper.updates.roster import Hold, Key, Roster

#: Past this many bookings, planning would hold up the service's loop for longer than anybody likes.
_MANY = 500
#: A plan asks hosts for their machines too, and is to be there within the time of one list.
_SECONDS = GATHERED_SECONDS / 2


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Outlook:
    """What is known of some hosts at one moment."""

    now: dt.datetime
    #: The bookings that have not ended, by machine and identifier.
    bookings: Mapping[Key, Booking]
    candidates: Sequence[Candidate]
    hosts: Sequence[Host]
    in_flight: Sequence[InFlight]
    #: What holds the machine of each update run, and the booking that it is for.
    runs: Mapping[str, tuple[Hold, Booking | None]]
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
            in_flight=[run for run in self.in_flight if not run.on_probation],
            calendar=self.calendar,
            policy=self.policy,
        )


class Lookout:
    """Looks at hosts, with what the roster knows of them."""

    def __init__(self, *, roster: Roster, machines: Machines, policy: Policy) -> None:
        self._roster = roster
        self._machines = machines
        self._policy = policy

    async def look(self, hosts: Iterable[str], now: dt.datetime, skips: Mapping[Key, int]) -> Outlook:
        """What is known of these hosts now; ``skips`` says how often each booking was passed over."""
        return self._outlook(await self._carriers(hosts), now, skips)

    async def look_everywhere(self, now: dt.datetime, skips: Mapping[Key, int]) -> Outlook:
        """The same of all hosts: none is left out to which a machine goes while others are asked."""
        asked: dict[str, Host | None] = {}
        while unasked := set(self._roster.hosts).difference(asked):
            asked |= await self._carriers(unasked)
        return self._outlook(asked, now, skips)

    async def _carriers(self, hosts: Iterable[str]) -> dict[str, Host | None]:
        names = sorted(hosts)
        free = await asyncio.gather(*(self.carrier(name, _SECONDS) for name in names))
        return dict(zip(names, free, strict=True))

    def _outlook(
        self, free: Mapping[str, Host | None], now: dt.datetime, skips: Mapping[Key, int]
    ) -> Outlook:
        runs = {machine: (host, hold) for host in free for machine, hold in self._roster.runs(host)}
        bookings = {(b.of, b.identifier): b for host in free for b in self._roster.booked(host)}
        return Outlook(
            now=now,
            bookings=bookings,
            candidates=[
                self.candidate(booking, skips.get(key, 0))
                for key, booking in bookings.items()
                if booking.is_waiting
            ],
            hosts=[host for host in free.values() if host is not None],
            in_flight=[self._in_flight(machine, *run) for machine, run in runs.items()],
            runs={
                machine: (hold, self._roster.booking_of(machine, hold)) for machine, (_, hold) in runs.items()
            },
            calendar=self._roster.calendar(now),
            policy=self._policy,
        )

    @property
    def busy(self) -> Container[str]:
        """The machines that tasks hold."""
        return self._roster.held

    def needs_waking(self, machine: str) -> bool:
        """Whether the machine has to be woken: it takes a boot and memory then."""
        found = self._roster.machine(machine)
        return found is not None and found.state in (MachineState.TURNED_OFF, MachineState.SAVED)

    def named(self, booking: Booking) -> MachineName:
        """What windows go by."""
        return self._roster.named(booking.of) or MachineName.called(booking.machine)

    def predicted(self, booking: Booking) -> dt.timedelta:
        """How long its run is expected to take."""
        return self._roster.durations.predict(booking.of, booking.label)

    def candidate(self, booking: Booking, skips: int) -> Candidate:
        """A booking with what is known of its machine."""
        machine = self._roster.machine(booking.of)
        return Candidate(
            machine=booking.of,
            name=self.named(booking),
            identifier=booking.identifier,
            host=machine.host if machine is not None else "",
            memory_mib=machine.memory_mib if machine is not None else 0,
            needs_waking=self.needs_waking(booking.of),
            start=booking.start,
            end=booking.end,
            deadline=booking.deadline,
            predicted=self.predicted(booking),
            skips=skips,
            is_busy=booking.of in self.busy,
            roll_back=None if machine is None else self._policy.roll_back_of(machine),
        )

    def in_flight(self, host: str) -> Sequence[InFlight]:
        """The update runs of a host that take somebody's place."""
        runs = [self._in_flight(machine, host, hold) for machine, hold in self._roster.runs(host)]
        return [run for run in runs if not run.on_probation]

    async def carrier(self, name: str, seconds: float = ANSWER_SECONDS) -> Host | None:
        """Return what a host can carry; ``None`` where it does not answer, or is none of ours."""
        hypervisor = self._machines.hosts.get(name)
        if hypervisor is None:
            return None
        try:
            free = await ask(hypervisor, lambda host: host.information.memory_free_mib(), seconds)
        except InnkeeperError:
            return None  # whoever lists the machines has logged it
        return Host(name=name, memory_free_mib=free - self._policy.memory_reserve_mib)

    def _in_flight(self, machine: str, host: str, hold: Hold) -> InFlight:
        booking = self._roster.booking_of(machine, hold)
        label = "" if booking is None else booking.label
        return InFlight(
            machine=machine,
            name=self.named(booking) if booking is not None else self._roster.named(machine),
            host=host,
            end=hold.since + self._roster.durations.predict(machine, label),
            # What the host gets back is seen when it has it.
            memory_mib=0,
            boots=hold.boots,
            on_probation=booking is not None and booking.is_on_probation,
        )
