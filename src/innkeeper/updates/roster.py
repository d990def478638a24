"""What is booked on each host and what holds its machines, kept in memory and read again where it changes."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence, Set
from typing import Final

import structlog

from innkeeper.errors import BookingNotFound, InnkeeperError, MachineNotFound
from innkeeper.machines.machine import Machine
from innkeeper.machines.service import Machines, lock_of
from innkeeper.tasks.service import Tasks
from innkeeper.tasks.task import Task, TaskFilter
from innkeeper.updates.booking import Booking, Verdict
from innkeeper.updates.bookings import Bookings
from innkeeper.updates.calendar import Calendar
from innkeeper.updates.durations import Durations
from innkeeper.updates.machine_name import MachineName
from innkeeper.updates.order import UPDATE_RUN
from innkeeper.updates.phases import FORWARD
from innkeeper.updates.policy import Policy
from innkeeper.updates.ports import PastRun, ReportStore
from innkeeper.updates.whereabouts import Whereabouts
from innkeeper.updates.window import Window
from innkeeper.updates.windows import Windows
from innkeeper.wire.events import Event, EventGroup, EventKind

_log = structlog.get_logger(__name__)

#: More tasks than ever live at once.
_ALL: Final = 100_000
#: With more changes than this at once, reading all is cheaper than reading each.
_MANY: Final = 50
_MACHINE: Final = lock_of("")
#: The host of machines that no host that answers has.
NOWHERE: Final = ""
_BOOKING_CHANGED: Final = (
    EventKind.UPDATE_BOOKED,
    EventKind.UPDATE_DELETED,
    EventKind.UPDATE_STARTED,
    EventKind.UPDATE_ENDED,
    EventKind.UPDATE_PUT_OFF,
    EventKind.UPDATE_ON_PROBATION,
)

#: The phase by which a machine has booted, by its number.
_BOOTED: Final = [phase.name for phase in FORWARD].index("agent") + 1

#: The machine, for programs, and the booking's identifier.
Key = tuple[str, str]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Hold:
    """A live task that holds a machine."""

    task_id: int
    kind: str
    description: str
    since: dt.datetime
    #: The phase that it is in, by its number.
    phase: int

    @property
    def is_run(self) -> bool:
        """Whether the task is an update run."""
        return self.kind == UPDATE_RUN

    @property
    def boots(self) -> bool:
        """Whether its machine may still be booting: of that a host takes few at once."""
        return self.phase <= _BOOTED


class Roster:
    """The bookings that have not ended, by host, with all that the planner asks about their machines.

    Events say what has changed, and that alone is read again. What no event tells of is found by reading
    all, which writes nothing and changes nothing that is as it was. Lives on the event loop.
    """

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
        self._hosts = machines
        self._bookings = bookings
        self._window_list = windows
        self._reports = reports
        self._policy = policy
        self._booked: dict[str, dict[str, Booking]] = {}
        #: The machines that have bookings or are held by update runs, as they were last seen.
        self._machines: dict[str, Machine] = {}
        self._names: dict[str, MachineName] = {}
        self._on_host: dict[str, set[str]] = defaultdict(set)
        self._holds: dict[str, Hold] = {}
        self._windows: Sequence[Window] = ()
        self._durations: Durations | None = None
        #: What is to be read again: bookings, machines, ended runs.
        self._noted: set[Key] = set()
        self._stale: set[str] = set()
        self._ended: list[int] = []
        #: The machines that were asked for since all were listed.
        self._asked: set[str] = set()
        self._reading = asyncio.Lock()
        #: The hosts on which something has changed that nobody has looked at yet.
        self.changed: set[str] = set()
        #: The machines of which something has changed that bookings are weighed by, by host.
        self._touched: dict[str, set[str]] = defaultdict(set)
        #: Counts the changes of each host.
        self.versions: Counter[str] = Counter()
        self._is_read = False

    # News

    def hear(self, event: Event) -> bool:
        """Note what an event has made out of date; returns whether there is anything to look at."""
        group = event.kind.group
        if event.kind in _BOOKING_CHANGED:
            return self._hear_booking(event)
        if group is EventGroup.TASK:
            return self._hear_task(event)
        if group is EventGroup.MACHINE:
            return self._hear_machine(event.about, event.data.get("host"))
        if group is EventGroup.HOST:
            return self._hear_host(event.subject)
        return False

    def note(self, key: Key) -> None:
        """Read a booking again: it was not as it is kept here."""
        self._noted.add(key)
        self.touch(key[0])

    def touch(self, machine: str) -> None:
        """Note that a machine's bookings may come to something else now, though the host has no news."""
        self._touched[self.host_of(machine)].add(machine)

    def take_touched(self, host: str) -> Set[str]:
        """The machines of a host that were touched since this was last asked."""
        return self._touched.pop(host, frozenset())

    # Questions

    @property
    def durations(self) -> Durations:
        """How long runs take."""
        return self._durations or self._durations_of([])

    @property
    def hosts(self) -> Sequence[str]:
        """The hosts whose machines have bookings, and the empty name for machines that none has."""
        return sorted(host for host, names in self._on_host.items() if names)

    def host_of(self, machine: str) -> str:
        """The host that had a booked machine when it was last seen."""
        found = self._machines.get(machine)
        return NOWHERE if found is None else found.host

    def machine(self, name: str) -> Machine | None:
        """A booked machine as it was last seen."""
        return self._machines.get(name)

    def named(self, machine: str) -> MachineName | None:
        """What windows know a booked machine by, as it was last seen."""
        return self._names.get(machine)

    @property
    def silent(self) -> Set[str]:
        """The hosts that did not answer when machines were last listed."""
        return self._hosts.silent

    @property
    def held(self) -> Container[str]:
        """The machines that tasks hold."""
        return self._holds

    def booked(self, host: str) -> Iterator[Booking]:
        """The bookings of a host's machines that have not ended."""
        for name in self._on_host.get(host, ()):
            if (bookings := self._booked.get(name)) is not None:
                yield from bookings.values()

    def waiting(self, host: str, machine: str) -> Sequence[Booking]:
        """The bookings of a host's machine that have neither started nor ended."""
        if machine not in self._on_host.get(host, ()):
            return ()
        return [booking for booking in self._booked.get(machine, {}).values() if not booking.has_started]

    def has(self, key: Key) -> bool:
        """Whether a booking is there that has not ended."""
        machine, identifier = key
        return identifier in self._booked.get(machine, {})

    def booking(self, key: Key) -> Booking | None:
        """A booking that has not ended."""
        machine, identifier = key
        return self._booked.get(machine, {}).get(identifier)

    def booking_of(self, machine: str, hold: Hold) -> Booking | None:
        """The booking that an update run is for."""
        found = self._booked.get(machine, {}).values()
        return next((booking for booking in found if booking.task_id == hold.task_id), None)

    def runs(self, host: str) -> Iterator[tuple[str, Hold]]:
        """The machines of a host with their update runs."""
        for name in self._holds.keys() & self._on_host.get(host, frozenset()):
            if (hold := self._holds[name]).is_run:
                yield name, hold

    def calendar(self, now: dt.datetime) -> Calendar:
        """The openings of all windows from now on."""
        return Calendar(self._windows, now)

    # Reading

    async def catch_up(self) -> None:
        """Read again what was noted; all tables, where that was never done. Hosts are not asked."""
        async with self._reading:
            if not self._is_read:
                await self._read_tables()
            await self._read_noted()
            await self._learn()

    async def hear_of(self, bookings: Iterable[Booking]) -> None:
        """Catch up, with these bookings as they are: the event of one that was just made is on its way."""
        await self.catch_up()
        unheard = [booking for booking in bookings if not self._is_current(booking)]
        if unheard:
            self._noted |= {(booking.of, booking.identifier) for booking in unheard}
            await self.catch_up()

    def _is_current(self, booking: Booking) -> bool:
        known = self.booking((booking.of, booking.identifier))
        return known is not None and known.version == booking.version

    async def read_all(self) -> None:
        """Read everything, and find what no event has told of."""
        await self.read_tables()
        await self.read_machines()

    async def read_tables(self) -> None:
        """Read all that is written down; hosts are not asked."""
        async with self._reading:
            await self._read_tables()

    async def read_machines(self) -> None:
        """Ask every host for its machines."""
        self._stale.clear()
        self._asked.clear()
        found = Whereabouts(await self._hosts.list())
        for name in self._wanted():
            # What was asked meanwhile is newer than the list.
            if name not in self._asked:
                await self._follow(name, self._place(found, name))

    async def read_windows(self) -> None:
        """Read the windows; where they have changed, every host has."""
        windows = await self._window_list.list()
        if windows != self._windows:
            self._windows = windows
            for host in self.hosts:
                self._mark(host)
            self._touch_all()

    async def refresh(self, host: str, *, but: Container[str] = ()) -> None:
        """Ask a host for those of its booked machines that have changed; for unknown ones, every host.

        Those that were seen last on hosts in ``but`` stay as they are, to be asked for later.
        """
        names = {name for name in self._stale if self.host_of(name) == host}
        names -= {name for name in names if self._last_seen_on(name) in but}
        # Asking every host here for each of these costs by the whole inn. Should one come, a list shows it.
        strangers = {name for name in names if self._is_of_another_server(name)}
        self._stale -= strangers
        for name in strangers:
            self._put_machine(name, None)
        names -= strangers
        if len(names) > _MANY:
            await self.read_machines()
            return
        for name in names:
            self._stale.discard(name)
            self._asked.add(name)
            try:
                machine: Machine | None = await self._hosts.get(name)
                if machine is not None and machine.key != name:
                    machine = self._place(Whereabouts(await self._hosts.list()), name)
                await self._follow(name, machine)
            except MachineNotFound:
                self._put_machine(name, None)
            except InnkeeperError:
                self._stale.add(name)

    # Machinery: news

    def _hear_booking(self, event: Event) -> bool:
        machine = str(event.data.get("key") or event.data.get("machine"))
        identifier = str(event.data.get("identifier"))
        self.note((machine, identifier))
        task = event.data.get("task")
        if event.data.get("verdict") == Verdict.KEPT and isinstance(task, int):
            self._ended.append(task)
        return True

    def _hear_task(self, event: Event) -> bool:
        lock = event.data.get("lock")
        if not isinstance(lock, str) or not lock.startswith(_MACHINE):
            return False
        machine, task_id = lock.removeprefix(_MACHINE), int(event.subject)
        held = self._holds.get(machine)
        if event.kind is EventKind.TASK_ENDED:
            if held is None or held.task_id != task_id:
                return False
            return self._let_go(machine)
        phase = int(str(event.data.get("phase_number") or 0))
        if held is not None and held.task_id == task_id:
            self._holds[machine] = dataclasses.replace(held, phase=phase)
            return (
                held.is_run and held.boots != self._holds[machine].boots and self._mark(self.host_of(machine))
            )
        self._take(
            machine,
            Hold(
                task_id=task_id,
                kind=str(event.data.get("kind") or ""),
                description=str(event.data.get("description") or ""),
                since=event.at,
                phase=phase,
            ),
        )
        return True

    def _hear_machine(self, name: str, host: object) -> bool:
        if name in self._machines or name in self._booked:
            self._stale.add(name)
            return self._mark(self.host_of(name))
        # The memory of another machine may be what a booked one waits for.
        hosts = [host] if isinstance(host, str) else self.hosts
        concerned = [each for each in hosts if self._on_host.get(each)]
        for each in concerned:
            self._mark(each)
        return bool(concerned)

    def _hear_host(self, host: str) -> bool:
        """A host has come or gone: its machines, and those that were nowhere, are asked for again."""
        for each in (host, NOWHERE):
            self._stale |= self._on_host[each]
            self._mark(each)
        return True

    def _take(self, machine: str, hold: Hold) -> None:
        self._holds[machine] = hold
        self.touch(machine)
        if hold.is_run and machine not in self._machines:
            self._stale.add(machine)
            self._on_host[NOWHERE].add(machine)
        if machine in self._booked or machine in self._machines:
            self._mark(self.host_of(machine))

    def _let_go(self, machine: str) -> bool:
        host = self.host_of(machine)
        del self._holds[machine]
        self.touch(machine)
        self._forget_idle(machine)
        return self._mark(host)

    def _mark(self, host: str) -> bool:
        self.changed.add(host)
        self.versions[host] += 1
        return True

    def _touch_all(self) -> None:
        for host, machines in self._on_host.items():
            self._touched[host] |= machines

    # Machinery: tables

    async def _read_tables(self) -> None:
        await self._read_bookings()
        await self.read_windows()
        if self._durations is None:
            self._durations = self._durations_of(await self._reports.past_runs())
        self._hold(await self._tasks.list(TaskFilter(live=True, limit=_ALL)))
        self._is_read = True

    async def _read_noted(self) -> None:
        noted, self._noted = self._noted, set()
        try:
            if len(noted) > _MANY:
                await self._read_bookings()
            else:
                for key in noted:
                    self._put(key, await self._find(key))
        except BaseException:
            self._noted |= noted
            raise

    async def _find(self, key: Key) -> Booking | None:
        try:
            found = await self._bookings.find(*key)
        except BookingNotFound:
            return None
        return found if found.verdict is None else None

    async def _read_bookings(self) -> None:
        versions = await self._bookings.versions()
        known = {
            (machine, identifier): booking
            for machine, bookings in self._booked.items()
            for identifier, booking in bookings.items()
        }
        for key in known.keys() - versions.keys():
            self._put(key, None)
        changed = [key for key, v in versions.items() if key not in known or known[key].version != v]
        if len(changed) > _MANY:
            found = {(b.of, b.identifier): b for b in await self._bookings.list(ended=False)}
            for key in changed:
                self._put(key, found.get(key))
        else:
            for key in changed:
                self._put(key, await self._find(key))

    def _put(self, key: Key, booking: Booking | None) -> None:
        machine, identifier = key
        bookings = self._booked.setdefault(machine, {})
        if bookings.get(identifier) == booking:
            self._forget_idle(machine)
            return
        if booking is None:
            del bookings[identifier]
        else:
            bookings[identifier] = booking
            if machine not in self._machines:
                self._stale.add(machine)
            self._on_host[self.host_of(machine)].add(machine)
        self._mark(self.host_of(machine))
        self.touch(machine)
        self._forget_idle(machine)

    def _forget_idle(self, machine: str) -> None:
        """Forget a machine that has neither bookings nor an update run."""
        if not self._booked.get(machine):
            self._booked.pop(machine, None)
            hold = self._holds.get(machine)
            if hold is None or not hold.is_run:
                self._on_host[self.host_of(machine)].discard(machine)
                self._machines.pop(machine, None)
                self._names.pop(machine, None)
                self._stale.discard(machine)

    # Machinery: machines and tasks

    def _place(self, found: Whereabouts, name: str) -> Machine | None:
        """Where a machine is; ``None`` while another host may have it, here or of another server.

        Its bookings follow it to a host for good: so not to a copy, while its own does not answer.
        """
        machine = found.of(name)
        if machine is None or machine.key == name:
            return machine
        there = self._hosts.places.with_key(name)
        if there is not None and self._hosts.places.is_elsewhere(there):
            return None
        host_id, answered = name.partition("/")[0], self._hosts.listed
        silent = (host for host in self._hosts.hosts.values() if host.name not in answered)
        return None if any(host.id == host_id for host in silent) else machine

    def _last_seen_on(self, key: str) -> str:
        place = self._hosts.places.with_key(key)
        return NOWHERE if place is None else place.host

    def _is_of_another_server(self, key: str) -> bool:
        """Whether a machine's host is none of those here, and none of those has been seen with it."""
        host_id, _, uuid = key.partition("/")
        places = self._hosts.places
        return (
            bool(uuid)
            and host_id not in {host.id for host in self._hosts.hosts.values()}
            and all(map(places.is_elsewhere, places.with_uuid(uuid)))
        )

    def _wanted(self) -> list[str]:
        return [name for names in self._on_host.values() for name in names]

    async def _follow(self, of: str, machine: Machine | None) -> None:
        """Note where a machine is; its bookings follow it to another host."""
        self._put_machine(of, machine)
        if machine is not None and of != machine.key:
            await self._bookings.move(of, machine.key)
            self._noted |= {
                (each, identifier) for each in (of, machine.key) for identifier in self._booked.get(of, ())
            }

    def _put_machine(self, name: str, machine: Machine | None) -> None:
        former = self._machines.get(name)
        if former == machine and name in self._on_host[self.host_of(name)]:
            return
        before = self.host_of(name)
        self._on_host[before].discard(name)
        if machine is None:
            self._machines.pop(name, None)
            self._names.pop(name, None)
        else:
            self._machines[name] = machine
            self._names[name] = MachineName.of(machine)
        after = self.host_of(name)
        self._on_host[after].add(name)
        for host in {before, after}:
            self._mark(host)
            self._touched[host].add(name)

    def _hold(self, live: Iterable[Task]) -> None:
        """Take over the live tasks as they are written down."""
        found = {
            task.lock.removeprefix(_MACHINE): Hold(
                task_id=task.id,
                kind=task.kind,
                description=task.description,
                since=task.created_at,
                phase=task.progress.phase_number,
            )
            for task in live
            if task.lock is not None and task.lock.startswith(_MACHINE)
        }
        for machine in self._holds.keys() - found.keys():
            self._let_go(machine)
        for machine, hold in found.items():
            if self._holds.get(machine) != hold:
                self._take(machine, hold)

    # Machinery: durations

    async def _learn(self) -> None:
        """Take in how long the runs took that have ended."""
        ended, self._ended = self._ended, []
        for task_id in ended:
            report = await self._reports.get(task_id)
            if report is not None and self._durations is not None:
                seconds = (report.ended_at - report.started_at).total_seconds()
                self._durations.learn(
                    PastRun(machine=report.key or report.machine, label=report.label, seconds=seconds)
                )
                # Runs of others with this label, or with none of their own, take as long.
                self._touch_all()

    def _durations_of(self, past: Sequence[PastRun]) -> Durations:
        return Durations(
            past,
            share=self._policy.prediction_quantile,
            default_seconds=self._policy.default_run_seconds,
        )
