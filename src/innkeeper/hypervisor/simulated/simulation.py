"""The simulated machines of one host: small real files, and an injected clock."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from innkeeper.errors import DiskError, ErrorCode, MachineNotFound
from innkeeper.hypervisor.simulated import disks as fake_disks
from innkeeper.hypervisor.simulated.failures import Condition, Failures
from innkeeper.hypervisor.simulated.machines import SimulatedMachine
from innkeeper.hypervisor.simulated.turns import Actor, Turns
from innkeeper.machines.machine import Machine, MachineState
from innkeeper.machines.ports.identity import HostIdentity
from innkeeper.machines.ports.progress import OnProgress
from innkeeper.servers.fence import Fence, HostElsewhere, through
from innkeeper.tasks.ports import Clock
from innkeeper.wire.events import Event, EventKind, Json, Publish

T = TypeVar("T")

#: Makes a machine in its first state at a moment, and the content of its disks: one that a fleet has.
Make = Callable[[float], tuple[SimulatedMachine, bytes]]

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
    ``kill -9`` finds the machines as they would be by then. So do several at once: each call is made on the
    machines as the last one left them, whoever made it.
    """

    def __init__(
        self,
        directory: Path,
        *,
        clock: Clock,
        publish: Publish,
        host: str,
        free_bytes: int,
        threads: bool,
        actor: Actor,
        failures: Failures,
        fence: Fence,
    ) -> None:
        """``threads``: file calls run in threads. Without, time cannot pass inside of one."""
        self.directory = directory
        self.host = host
        self.identity = HostIdentity()
        self.condition = Condition(host, failures=failures, clock=clock, publish=publish)
        self.condition.on_back(self._join_soon)
        self.fence = fence
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
        self._turns = Turns(directory, actor, fence)
        self._locks: dict[str, asyncio.Lock] = {}
        #: The records of machines as they were written last.
        self._written: dict[str, int] = {}
        #: The disks' content of machines that no call has touched yet, and their names by these disks: they
        #: have no files, so that ten thousand are there at once.
        self._untouched: dict[str, bytes] = {}
        self._untouched_by_disk: dict[str, str] = {}
        #: Names by UUID, as far as they were looked for.
        self._names: dict[str, str] = {}
        #: Machines to which nothing has been done since the last look, with the value of that look.
        self._seen: dict[str, tuple[SimulatedMachine, Machine]] = {}

    @property
    def disk_directory(self) -> Path:
        """Where simulated disks lie."""
        return self.directory / "disks"

    async def open(self) -> None:
        """Read the machines that are there, and the host's id, and take the host.

        One that another server looks after is taken by another call, once it is free; one that is away,
        when it is back.
        """
        await self._read()
        if not self.condition.is_away:
            await self._join()

    async def let_go(self) -> None:
        """Leave the host to another server; the machines go on."""
        self.condition.elsewhere = "another server looks after it"

    async def close(self) -> None:
        """Give the host up; the machines go on."""
        await self.blocking(self._turns.close)

    def abandon(self) -> None:
        """Close the host's files, as the end of a killed process does."""
        self._turns.abandon()

    async def add(self, machine: SimulatedMachine) -> None:
        """Add a machine, with the disks it lacks."""

        def add() -> None:
            with self._turns.turn():
                self._look_again()
                self._create(machine)
                self.machines[machine.name] = machine

        await self.blocking(add)

    async def settle(self, arrivals: Mapping[str, Make]) -> None:
        """Add those of many machines that were never there, each as it was when the first ones came.

        Each gets its files when something is done to it.
        """

        def settle() -> None:
            with self._turns.turn():
                self._look_again()
                at = self._first_arrival()
                for name in arrivals.keys() - self.machines.keys():
                    machine, content = arrivals[name](at)
                    self.machines[name] = machine
                    self._untouched[name] = content
                    self._untouched_by_disk |= {disk.path: name for disk in machine.disks}
                self.disk_directory.mkdir(exist_ok=True)

        await self.blocking(settle)

    def touch_disk(self, path: str) -> None:
        """Give the machine whose disk this is its files."""
        name = self._untouched_by_disk.get(path)
        if name is not None:
            with self._turns.turn():
                self._look_again()
                self._touch(name)

    # Questions

    async def now(self) -> list[Machine]:
        """All machines as they are now, by name. Raises ``HypervisorError`` where the host is away."""
        await self.condition.reach()
        if self._turns.is_stale:
            await self._read()
        now = self.clock.now().timestamp()
        for machine in list(self.machines.values()):
            if machine.has_due(now):
                await self._simulate(machine.name, _look, "")
        return [self._snapshot(name, self.machines[name]) for name in sorted(self.machines)]

    async def look(self, name: str) -> Machine:
        """One machine as it is now. Raises ``MachineNotFound``, and ``HypervisorError``, as ``simulate``."""
        await self.condition.reach()
        machine = self.machines.get(name)
        if machine is None or self._is_out_of_date(machine):
            return await self._simulate(name, self._snapshot_of, "")
        return self._snapshot(name, machine)

    def has_agent_up(self, name: str) -> bool:
        """Whether the machine's agent answered at the last look."""
        machine = self.machines.get(name)
        if machine is None or machine.memory is None or self.condition.is_away:
            return False
        return machine.memory.agent_up

    def name_of(self, uuid: str) -> str | None:
        """The name of the machine with this UUID."""
        name = self._names.get(uuid)
        known = None if name is None else self.machines.get(name)
        if known is None or known.uuid != uuid:
            self._names = {machine.uuid: name for name, machine in self.machines.items()}
            name = self._names.get(uuid)
        return name

    def heartbeat(self, name: str) -> int | None:
        """Percent of the heartbeats: 100 while the agent is up, 0 in a frozen guest, else ``None``."""
        if not self.has_agent_up(name):
            return None
        return 0 if self.machines[name].frozen else 100

    def record(self, machine: SimulatedMachine) -> Path:
        """The file that holds the machine."""
        return self.directory / "machines" / f"{machine.name}.json"

    # Commands

    async def simulate(
        self,
        name: str,
        act: Callable[[SimulatedMachine, float], T],
        *,
        doing: str = "",
        is_inside: bool = False,
    ) -> T:
        """Run the guest up to now, act on its machine, write down what changed, and publish it.

        ``doing`` names an act of the host's, which only its owner may do, and which counts even where it
        changes nothing, such as a second start; or one inside of the guest, by its agent. Raises
        ``MachineNotFound``, and ``HypervisorError`` where the host is away.
        """
        await self.condition.reach()
        if not doing or is_inside:
            return await self._simulate(name, act, doing)
        return await through(self.fence, lambda: self._simulate(name, act, doing, fenced=True))

    async def forget(self, name: str, *, keep_record: bool = False) -> SimulatedMachine:
        """Remove a machine, with its record; its disks stay."""

        def forget() -> SimulatedMachine:
            with self._turns.turn():
                self._look_again()
                machine = self.machines.pop(name)
                self._written.pop(name, None)
                self._turns.changing(self.host)
                if not keep_record:
                    self.record(machine).unlink(missing_ok=True)
                return machine

        return await self.blocking(forget)

    async def renamed(self, name: str, new_name: str) -> None:
        """Keep a machine under the name that it has now."""
        machine = await self.forget(name, keep_record=True)
        self.machines[new_name] = machine
        await self.delete(self.directory / "machines" / f"{name}.json")

    async def delete(self, path: Path) -> None:
        """Delete a file. Does nothing where it is gone."""
        await self.blocking(lambda: path.unlink(missing_ok=True))

    def refuse_full(self, machine: str) -> None:
        """Raises ``DiskError`` (ERROR_DISK_FULL) where the host's disk has no room left."""
        if self.condition.is_full:
            raise DiskError(
                f"The disk of the host {self.host} is full: no file for {machine} can be made.",
                path=str(self.disk_directory),
                code=ErrorCode.ERROR_DISK_FULL,
                advice="Make room on the host.",
            )

    async def take(self, seconds: float, on_progress: OnProgress | None) -> None:
        """Wait as long as a long call takes."""
        for piece in range(PIECES):
            await self.clock.sleep(seconds / PIECES)
            await self.condition.reach()
            if on_progress is not None:
                on_progress(piece + 1, PIECES)

    def publish(self, kind: EventKind, name: str, data: Mapping[str, Json] = _NO_DATA) -> None:
        """Publish an event of a machine, with the clock's time."""
        machine = self.machines.get(name)
        key = {} if machine is None else {"key": f"{self.identity.id}/{machine.uuid}"}
        told = {"host": self.host, **key, **data}
        self._publish(Event(kind=kind, subject=name, at=self.clock.now(), data=told))

    async def blocking(self, call: Callable[[], T]) -> T:
        """Make a call that touches files."""
        return await asyncio.to_thread(call) if self._threads else call()

    # Machinery

    async def _read(self) -> None:
        def read() -> None:
            with self._turns.turn():
                self.identity.id = _id_in(self.directory)
                self._look_again()

        await self.blocking(read)

    async def _join(self) -> None:
        """Take the host, as of which its machines are this server's to act on."""
        try:
            await self.fence.claim(self.identity.id)
        except HostElsewhere as error:
            self.condition.elsewhere = error.sentence.rstrip(".")
            return
        self.condition.elsewhere = ""
        await self.fence.opened()

    def _join_soon(self) -> None:
        self._joining = asyncio.get_running_loop().create_task(self._join(), name=f"to {self.host}")

    def _is_out_of_date(self, machine: SimulatedMachine) -> bool:
        """Whether the machine is another by now, or is being changed."""
        lock = self._locks.get(machine.name)
        is_changing = lock is not None and lock.locked()
        return is_changing or self._turns.is_stale or machine.has_due(self.clock.now().timestamp())

    def _snapshot_of(self, machine: SimulatedMachine, now: float) -> Machine:
        return machine.snapshot(self.host, self.identity.id)

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

    async def _simulate(
        self, name: str, act: Callable[[SimulatedMachine, float], T], doing: str, *, fenced: bool = False
    ) -> T:
        async with self._locks.setdefault(name, asyncio.Lock()):
            self._seen.pop(name, None)
            before: list[tuple[MachineState, int]] = []
            try:
                return await self.blocking(lambda: self._in_turn(name, act, doing, before, fenced=fenced))
            finally:
                self._publish_changes(name, before)

    def _in_turn(
        self,
        name: str,
        act: Callable[[SimulatedMachine, float], T],
        doing: str,
        before: list[tuple[MachineState, int]],
        *,
        fenced: bool,
    ) -> T:
        """Act on a machine as the last act left it; what it was before goes to ``before``."""
        with self._turns.turn():
            if fenced:
                self.fence.check(final=True)
            was_mine = not self._turns.may_have_been_taken
            self._look_again()
            self._touch(name)
            machine = self.machines.get(name)
            if machine is None:
                raise MachineNotFound(
                    f"The host {self.host} has no machine “{name}”.",
                    machine=name,
                    advice="List the machines.",
                )
            before.append((machine.state, machine.resets))
            return self._act(machine, act, doing, was_mine)

    def _act(
        self,
        machine: SimulatedMachine,
        act: Callable[[SimulatedMachine, float], T],
        doing: str,
        was_mine: bool,
    ) -> T:
        now = self.clock.now().timestamp()
        was_on = machine.is_on
        try:
            machine.live(now)
            if was_on and not machine.is_on:
                self.publish(EventKind.MACHINE_STOPPING, machine.name, {"reason": "guest"})
            found = b"" if was_mine else machine.to_bytes()
            told = act(machine, now)
            if doing or (not was_mine and machine.to_bytes() != found):
                self._turns.acting(self.host, machine.name, doing, now, was_mine=was_mine)
            return told
        finally:
            self._write(machine)

    def _write(self, machine: SimulatedMachine) -> None:
        """Write the machine down where it is not what was written last."""
        content = machine.to_bytes()
        if hash(content) == self._written.get(machine.name):
            return
        self._turns.changing(self.host)
        fake_disks.replace_file(str(self.record(machine)), content)
        self._written[machine.name] = hash(content)

    def _look_again(self) -> None:
        """Read all machines, where another service has changed one."""
        if self._turns.is_stale:
            self._read_all()

    def _read_all(self) -> None:
        self._turns.looked()
        self._seen.clear()
        records = _records(self.directory / "machines")
        self._written = {name: hash(record) for name, record in records.items()}
        self._untouched = {n: content for n, content in self._untouched.items() if n not in records}
        found = map(SimulatedMachine.from_bytes, records.values())
        self.machines = {machine.name: machine for machine in found} | {
            name: self.machines[name] for name in self._untouched
        }

    def _publish_changes(self, name: str, before: list[tuple[MachineState, int]]) -> None:
        machine = self.machines.get(name)
        if machine is None or not before:
            return
        ((state, resets),) = before
        self._publish_state(machine, state)
        for _ in range(machine.resets - resets):
            self.publish(EventKind.MACHINE_REBOOTED, name)

    def _publish_state(self, machine: SimulatedMachine, before: MachineState) -> None:
        if machine.state is before:
            return
        resumed = (before, machine.state) == (MachineState.PAUSED, MachineState.RUNNING)
        self.publish(EventKind.MACHINE_RESUMED if resumed else _EVENTS[machine.state], machine.name)

    def _touch(self, name: str) -> None:
        """Give the machine its files, where it has none yet."""
        content = self._untouched.pop(name, None)
        if content is not None:
            self._create(self.machines[name], content)

    def _create(self, machine: SimulatedMachine, content: bytes = b"") -> None:
        self.record(machine).parent.mkdir(parents=True, exist_ok=True)
        for disk in machine.disks:
            self._untouched_by_disk.pop(disk.path, None)
            if disk.path and disk.kind == "file":
                fake_disks.create_base(disk.path, content)
        self._written.pop(machine.name, None)
        self._write(machine)

    def _first_arrival(self) -> float:
        """When the first machines came, by the simulated clock."""
        file = self.directory / "settled"
        if not file.exists():
            fake_disks.replace_file(str(file), str(self.clock.now().timestamp()).encode())
        return float(file.read_bytes())


def _id_in(directory: Path) -> str:
    """The id of the simulated host whose directory it is: made once."""
    path = directory / "host-id"
    if not path.exists():
        fake_disks.replace_file(str(path), f"{uuid.uuid4().hex}-simulated".encode())
    return path.read_text()


def _look(_machine: SimulatedMachine, _now: float) -> None:
    """Do nothing: the guest has lived up to now."""


def _records(directory: Path) -> dict[str, bytes]:
    """What is written of each machine, by its name."""
    with contextlib.suppress(FileNotFoundError):
        return {path.stem: path.read_bytes() for path in directory.glob("*.json")}
    return {}
