"""The simulated machines of one host: small real files, and an injected clock."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from innkeeper.errors import MachineNotFound
from innkeeper.hypervisor.simulated import disks as fake_disks
from innkeeper.hypervisor.simulated.machines import SimulatedMachine
from innkeeper.machines.machine import Machine, MachineState
from innkeeper.machines.ports.identity import HostIdentity
from innkeeper.machines.ports.progress import OnProgress
from innkeeper.tasks.ports import Clock
from innkeeper.wire.events import Event, EventKind, Json, Publish

T = TypeVar("T")

#: Puts a new machine into its first state.
Lead = Callable[[SimulatedMachine, float], None]

#: In how many pieces a long call is done.
PIECES = 8

_NO_DATA: Mapping[str, Json] = {}
_EVENTS = {
    MachineState.RUNNING: EventKind.MACHINE_STARTED,
    MachineState.PAUSED: EventKind.MACHINE_PAUSED,
    MachineState.SAVED: EventKind.MACHINE_SAVED,
    MachineState.TURNED_OFF: EventKind.MACHINE_STOPPED,
    MachineState.MERGING_DRIVES: EventKind.MACHINE_MERGING,
}


class Simulation:
    """Simulated machines below one directory, and what is done to them.

    Each machine is a file, and its disks are files: another process that opens the directory after a
    ``kill -9`` finds the machines as they would be by then. Two at once is not supported.
    """

    def __init__(
        self, directory: Path, *, clock: Clock, publish: Publish, host: str, free_bytes: int, threads: bool
    ) -> None:
        """``threads``: file calls run in threads. Without, time cannot pass inside of one."""
        self.directory = directory
        self.host = host
        self.identity = HostIdentity()
        #: The answer to a question for free disk space; a test fills the disk with it.
        self.room_bytes = free_bytes
        #: What runs the machines, and how many bytes a second its disk takes; a test changes them.
        self.emulator = "simulated 1.0"
        self.write_speed = 200e6
        self.clock = clock
        #: The machines by name.
        self.machines: dict[str, SimulatedMachine] = {}
        self._publish = publish
        self._threads = threads
        self._locks: dict[str, asyncio.Lock] = {}
        #: Machines to which nothing has been done since the last look, with the value of that look.
        self._seen: dict[str, tuple[SimulatedMachine, Machine]] = {}

    @property
    def disk_directory(self) -> Path:
        """Where simulated disks lie."""
        return self.directory / "disks"

    async def open(self) -> None:
        """Read the machines that are there, and the host's id."""
        self.identity.id = await self.blocking(lambda: _id_in(self.directory))
        self.machines = await self.blocking(lambda: _read_all(self.directory / "machines"))

    async def let_go(self) -> None:
        """Nothing to let go of: the machines go on."""

    async def close(self) -> None:
        """Nothing to close: the machines go on."""

    async def add(self, machine: SimulatedMachine) -> None:
        """Add a machine, with the disks it lacks."""
        self.machines[machine.name] = machine
        await self.blocking(lambda: self._create(machine))

    async def settle(self, arrivals: Iterable[tuple[SimulatedMachine, Lead]]) -> None:
        """Add many machines, each in its first state, without a turn of the loop for every one."""

        def settle() -> dict[str, SimulatedMachine]:
            settled: dict[str, SimulatedMachine] = {}
            for machine, lead in arrivals:
                self._create(machine, lead)
                settled[machine.name] = machine
            return settled

        self.machines |= await self.blocking(settle)

    # Questions

    async def now(self) -> list[Machine]:
        """All machines as they are now, by name."""
        now = self.clock.now().timestamp()
        for machine in list(self.machines.values()):
            if machine.has_due(now):
                await self.simulate(machine.name, lambda *_: None)
        return [self._snapshot(name, self.machines[name]) for name in sorted(self.machines)]

    def has_agent_up(self, name: str) -> bool:
        """Whether the machine's agent answered at the last look."""
        machine = self.machines.get(name)
        return machine is not None and machine.memory is not None and machine.memory.agent_up

    def heartbeat(self, name: str) -> int | None:
        """Percent of the heartbeats: 100 while the agent is up, 0 in a frozen guest, else ``None``."""
        if not self.has_agent_up(name):
            return None
        return 0 if self.machines[name].frozen else 100

    def record(self, machine: SimulatedMachine) -> Path:
        """The file that holds the machine."""
        return self.directory / "machines" / f"{machine.name}.json"

    # Commands

    async def simulate(self, name: str, act: Callable[[SimulatedMachine, float], T]) -> T:
        """Run the guest up to now, act on its machine, write down what changed, and publish it.

        Raises ``MachineNotFound``.
        """
        machine = self.machines.get(name)
        if machine is None:
            raise MachineNotFound(
                f"The host {self.host} has no machine “{name}”.", machine=name, advice="List the machines."
            )
        async with self._locks.setdefault(name, asyncio.Lock()):
            self._seen.pop(name, None)
            before, boot = machine.state, machine.boot_id
            try:
                return await self.blocking(lambda: self._act(machine, act))
            finally:
                self._publish_state(machine, before)
                if boot and machine.boot_id not in ("", boot):
                    self.publish(EventKind.MACHINE_REBOOTED, name)

    async def forget(self, name: str) -> SimulatedMachine:
        """Remove a machine, with its record; its disks stay."""
        machine = self.machines.pop(name)
        await self.delete(self.record(machine))
        return machine

    async def delete(self, path: Path) -> None:
        """Delete a file. Does nothing where it is gone."""
        await self.blocking(lambda: path.unlink(missing_ok=True))

    async def take(self, seconds: float, on_progress: OnProgress | None) -> None:
        """Wait as long as a long call takes."""
        for piece in range(PIECES):
            await self.clock.sleep(seconds / PIECES)
            if on_progress is not None:
                on_progress(piece + 1, PIECES)

    def publish(self, kind: EventKind, name: str, data: Mapping[str, Json] = _NO_DATA) -> None:
        """Publish an event of a machine, with the clock's time."""
        told = {"host": self.host, **data}
        self._publish(Event(kind=kind, subject=name, at=self.clock.now(), data=told))

    async def blocking(self, call: Callable[[], T]) -> T:
        """Make a call that touches files."""
        return await asyncio.to_thread(call) if self._threads else call()

    # Machinery

    def _snapshot(self, name: str, machine: SimulatedMachine) -> Machine:
        """A machine as it is: the same value again where nothing has been done to it."""
        known, seen = self._seen.get(name, (None, None))
        if known is machine and seen is not None:
            return seen
        seen = machine.snapshot(self.host, self.identity.id)
        lock = self._locks.get(name)
        if lock is None or not lock.locked():  # else a thread is changing it right now
            self._seen[name] = machine, seen
        return seen

    def _act(self, machine: SimulatedMachine, act: Callable[[SimulatedMachine, float], T]) -> T:
        now = self.clock.now().timestamp()
        before = machine.to_bytes()
        try:
            was_on = machine.is_on
            machine.live(now)
            if was_on and not machine.is_on:
                self.publish(EventKind.MACHINE_STOPPING, machine.name, {"reason": "guest"})
            return act(machine, now)
        finally:
            after = machine.to_bytes()
            if after != before:
                fake_disks.replace_file(str(self.record(machine)), after)

    def _publish_state(self, machine: SimulatedMachine, before: MachineState) -> None:
        if machine.state is before:
            return
        resumed = (before, machine.state) == (MachineState.PAUSED, MachineState.RUNNING)
        self.publish(EventKind.MACHINE_RESUMED if resumed else _EVENTS[machine.state], machine.name)

    def _create(self, machine: SimulatedMachine, lead: Lead | None = None) -> None:
        self.record(machine).parent.mkdir(parents=True, exist_ok=True)
        for disk in machine.disks:
            if disk.path and disk.kind == "file":
                fake_disks.create_base(disk.path)
        if lead is not None:
            lead(machine, self.clock.now().timestamp())
        fake_disks.replace_file(str(self.record(machine)), machine.to_bytes())


def _id_in(directory: Path) -> str:
    """The id of the simulated host whose directory it is: made once."""
    path = directory / "host-id"
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True)
        fake_disks.replace_file(str(path), f"{uuid.uuid4().hex}-simulated".encode())
    return path.read_text()


def _read_all(directory: Path) -> dict[str, SimulatedMachine]:
    with contextlib.suppress(FileNotFoundError):
        found = [SimulatedMachine.from_bytes(path.read_bytes()) for path in directory.glob("*.json")]
        return {machine.name: machine for machine in found}
    return {}
