"""A whole inn for tests: simulated machines, tasks on memory, update runs, and a clock in the hand."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
from collections.abc import Callable, Sequence
from pathlib import Path

from innkeeper.channels.ports import GuestAgents
from innkeeper.hypervisor.simulated import disks as fake_disks
from innkeeper.hypervisor.simulated.agents import FakeAgents
from innkeeper.hypervisor.simulated.guests import Behaviour, GuestDisk
from innkeeper.hypervisor.simulated.host import SimulatedHost, simulated_host
from innkeeper.hypervisor.simulated.machines import SimulatedMachine, file_disk
from innkeeper.machines.machine import Machine, MachineState
from innkeeper.machines.service import Machines, lock_of
from innkeeper.tasks.clock import FakeClock
from innkeeper.tasks.memory_engine import MemoryEngine, MemoryJournal
from innkeeper.tasks.memory_store import MemoryTaskStore
from innkeeper.tasks.service import Tasks
from innkeeper.tasks.task import Task
from innkeeper.updates.booking import Booking, Report
from innkeeper.updates.bookings import Bookings
from innkeeper.updates.boots import BootSlots
from innkeeper.updates.memory import MemoryBookingStore, MemoryReportStore
from innkeeper.updates.order import UPDATE_RUN, RunOrder
from innkeeper.updates.policy import Policy
from innkeeper.updates.reboots import RebootWatch
from innkeeper.updates.reports import run_has_merged
from innkeeper.updates.run import UpdateRuns
from innkeeper.wire.events import Event
from tests.threads import in_thread
from tests.updates.dying_engine import DyingEngine

IDENTIFIER = "2026-11"
_NEVER_BOOTED = "variables of the firmware"
#: Looks seldom, and gives up soon: a simulated night is made of few moments.
PATIENT = Policy(poll_seconds=10.0, apply_seconds=900.0)


#: Inns that tests have left as they were. To collect one would end its coroutines, as no crash does, and in
#: the middle of another test.
_left: list[Inn] = []
#: The hosts of inns whose tests have ended, or whose service was killed: their files are let go.
_former: list[SimulatedHost] = []


class Inn:
    """What outlives a killed service: disks, machines, stores, the journal, and the clock."""

    def __init__(self, directory: Path, policy: Policy | None = None) -> None:
        self.directory = directory
        #: What the host is called when the service is started the next time.
        self.host_name = "fake"
        self.policy = PATIENT if policy is None else policy
        self.clock = FakeClock()
        self.task_store = MemoryTaskStore()
        self.journal = MemoryJournal()
        self.booking_store = MemoryBookingStore()
        self.reports = MemoryReportStore()
        self.events: list[Event] = []
        #: Who asks the guests, where they are not the simulated host's own.
        self.other_agents: GuestAgents | None = None
        #: What hears each event beside the list.
        self.hearers: list[Callable[[Event], None]] = []

    def publish(self, event: Event) -> None:
        """Keep an event, and tell those who hear."""
        self.events.append(event)
        if hasattr(self, "watch"):
            self.watch.on_event(event)
        for hear in self.hearers:
            hear(event)

    async def open(self, engine: MemoryEngine | None = None) -> None:
        """Start the service, anew or again."""
        _left.append(self)
        for host in _former:
            host.simulation.abandon()
        _former.clear()
        self.engine = MemoryEngine(self.journal, clock=self.clock) if engine is None else engine
        self.host = simulated_host(
            self.directory, clock=self.clock, publish=self.publish, threads=False, name=self.host_name
        )
        _former.append(self.host)
        await self.host.connection.open()
        self.tasks = Tasks(store=self.task_store, engine=self.engine, clock=self.clock, publish=self.publish)
        self.machines = Machines(
            hypervisors=[self.host],
            tasks=self.tasks,
            clock=self.clock,
            run_has_merged=lambda run: run_has_merged(self.reports, run),
        )
        self.bookings = Bookings(
            store=self.booking_store,
            machines=self.machines,
            clock=self.clock,
            publish=self.publish,
            policy=self.policy,
        )
        self.boots = BootSlots(self.policy.boots)
        self.watch = RebootWatch()
        self.agents = FakeAgents(self.host.simulation, clock=self.clock)
        agents = self.agents if self.other_agents is None else self.other_agents
        self.runs = UpdateRuns(
            tasks=self.tasks,
            machines=self.machines,
            agents=agents,
            bookings=self.bookings,
            reports=self.reports,
            boots=self.boots,
            clock=self.clock,
            policy=self.policy,
            watch=self.watch,
        )
        await self.tasks.launch()

    def key(self, name: str = "web-1") -> str:
        """A machine's key."""
        return f"{self.host.id}/{name}"

    # Machines

    async def add(
        self,
        state: MachineState,
        *,
        name: str = "web-1",
        behaviour: Behaviour = Behaviour.GOOD,
        targets: Sequence[str] = ("vda", "vdb"),
    ) -> SimulatedMachine:
        """Put a machine there with these disks, in a state, its agent up where it runs."""
        disks = [file_disk(target, self.disk(name, target)) for target in targets]
        nvram, tpm = self.nvram(name), self.tpm(name)
        nvram.parent.mkdir(exist_ok=True)
        nvram.write_text(_NEVER_BOOTED)
        machine = SimulatedMachine(
            name=name, uuid=name, disks=disks, nvram_path=str(nvram), has_tpm=True, tpm_path=str(tpm)
        )
        await self.host.simulation.add(machine)
        if state is not MachineState.TURNED_OFF:
            await self.host.simulation.simulate(name, lambda m, now: m.boot(now - 3600))
            await self.host.inventory.get(name)
        if state is MachineState.SAVED:
            await self.host.simulation.simulate(name, lambda m, now: m.save(now))
        if state is MachineState.PAUSED:
            await self.host.lifecycle.pause(name)
        machine.behaviour = behaviour
        await self.host.inventory.get(name)
        return machine

    def disk(self, name: str = "web-1", target: str = "vda") -> str:
        """The path of a machine's base disk."""
        return str(self.directory / "disks" / f"{name}-{target}.img")

    def content(self, name: str = "web-1") -> dict[str, bytes]:
        """Every byte of a machine's base disks."""
        return {target: Path(self.disk(name, target)).read_bytes() for target in ("vda", "vdb")}

    def guest_disk(self, name: str = "web-1") -> GuestDisk:
        """What the guest would find on its base disk."""
        return GuestDisk.from_bytes(in_thread(fake_disks.read, self.disk(name)))

    def nvram(self, name: str = "web-1") -> Path:
        """The file of a machine's UEFI variables, which is there before its first start."""
        return self.directory / "nvram" / f"{name}.fd"

    def tpm(self, name: str = "web-1") -> Path:
        """The file of a machine's TPM, which its first start makes."""
        return self.directory / "swtpm" / name / "tpm2" / "tpm2-00.permall"

    def assert_state_of_the_disk(self, name: str = "web-1") -> None:
        """UEFI variables and TPM are of the same moment as the machine's disk."""
        boots = self.guest_disk(name).boots
        if boots:
            assert self.nvram(name).read_text() == self.tpm(name).read_text() == f"state after {boots} boots"
        else:
            assert self.nvram(name).read_text() == _NEVER_BOOTED
            assert not self.tpm(name).parent.exists()

    def leftovers(self) -> list[str]:
        """The files of undo points that are still there."""
        return sorted(str(p) for p in self.directory.rglob("*.innkeeper-*"))

    async def machine(self, name: str = "web-1") -> Machine:
        """The machine now."""
        return await self.host.inventory.get(name)

    # Updates

    async def start(
        self,
        *,
        name: str = "web-1",
        identifier: str = IDENTIFIER,
        context: bytes = b"",
        window_seconds: float = 14400,
    ) -> Task:
        """Book an update and start its run."""
        booking = await self.bookings.book(
            name, label="Security", identifier=identifier, context=context, booked_by="ana"
        )
        now = self.clock.now()
        stop_at = now + dt.timedelta(seconds=window_seconds)
        machine = await self.machines.get(name)
        order = RunOrder.of(booking, machine, stop_at=stop_at, now=now)
        return await self.tasks.start(
            UPDATE_RUN,
            order.description,
            order.to_json(),
            lock=lock_of(machine.key),
            host=machine.host_id,
        )

    async def ended(self, task_id: int) -> Task:
        """Let time pass until the task has ended."""
        for _ in range(20_000):
            task = await self.tasks.get(task_id)
            if task.is_complete:
                return task
            await self.pass_time()
        raise AssertionError(f"task {task_id} never ended: {task}")

    async def pass_time(self) -> None:
        """Go to the next moment at which anybody wakes."""
        # Whoever can run does so first: it may be about to sleep for less.
        await self.clock.advance(0.0)
        await self.clock.advance(self.clock.next_waking or 0.0)

    async def until_dead(self, engine: DyingEngine) -> None:
        """Let time pass until the service was killed at the moment that its engine dies at."""
        for _ in range(2000):
            if engine.is_dead:
                return await settle()
            await self.pass_time()
        raise AssertionError("the run never came to that step")

    async def until_phase(self, task_id: int, title: str) -> None:
        """Let time pass until the run is in a phase."""
        for _ in range(20_000):
            task = await self.tasks.get(task_id)
            if task.progress.phase == title:
                return
            assert not task.is_complete, (title, task)
            await self.pass_time()
        raise AssertionError(f"task {task_id} never came to {title}")

    async def booking(self, name: str = "web-1") -> Booking:
        """The booking of the run."""
        return await self.bookings.get(name, IDENTIFIER)

    async def report(self, task_id: int) -> Report:
        """The report of the run."""
        report = await self.reports.get(task_id)
        assert report is not None
        return report


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Before:
    """What a machine was like before its update."""

    state: MachineState
    definition: str
    content: dict[str, bytes]
    memory: object

    @classmethod
    async def of(cls, inn: Inn, machine: SimulatedMachine) -> Before:
        """Look at it."""
        saved = machine.saved
        return cls(
            state=machine.state,
            definition=await inn.host.definitions.read(machine.name),
            content=inn.content(machine.name),
            memory=saved.memory.boot_id if saved else machine.memory.boot_id if machine.memory else None,
        )


async def settle() -> None:
    """Let every coroutine that can run do so."""
    for _ in range(200):
        await asyncio.sleep(0)
