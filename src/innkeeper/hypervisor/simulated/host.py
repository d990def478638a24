"""Carry simulated machines: the whole port, on small real files and an injected clock."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from innkeeper.errors import MachineNotFound, NotSupported
from innkeeper.hypervisor.domain.reading import configuration_of
from innkeeper.hypervisor.domain.template import Platform, template
from innkeeper.hypervisor.files import LocalFiles
from innkeeper.hypervisor.simulated import acts
from innkeeper.hypervisor.simulated import definition as fake_definition
from innkeeper.hypervisor.simulated import disks as fake_disks
from innkeeper.hypervisor.simulated import usage as fake_usage
from innkeeper.hypervisor.simulated.guest_program import FakeGuestProgram
from innkeeper.hypervisor.simulated.guests import Due
from innkeeper.hypervisor.simulated.images import FakeImages
from innkeeper.hypervisor.simulated.input_devices import FakeInputDevices
from innkeeper.hypervisor.simulated.machines import SimulatedMachine, format_of, with_paths
from innkeeper.hypervisor.simulated.screens import FakeScreens
from innkeeper.hypervisor.simulated.surroundings import NETWORKS, USB_DEVICES, simulated_facts
from innkeeper.machines.change import Change, Scope, UsbAttached, UsbDetached
from innkeeper.machines.change_events import change_event
from innkeeper.machines.configuration import Configuration
from innkeeper.machines.host_facts import Acceleration, Accelerator, HostFacts, UsbDevice, VirtualNetwork
from innkeeper.machines.machine import Machine, MachineState
from innkeeper.machines.new_machine import NewMachine
from innkeeper.machines.ports import BytePipe, ExecResult, OnProgress
from innkeeper.machines.usage import Usage
from innkeeper.tasks.ports import Clock
from innkeeper.wire.events import Event, EventKind, Publish

T = TypeVar("T")

#: Leads a new machine to the state that it shall be found in.
Lead = Callable[[SimulatedMachine, float], None]

#: How long the host needs for things, in simulated seconds.
START_SECONDS = 0.4
RESTORE_SECONDS = 2.0
SAVE_SECONDS = 2.0
MERGE_SECONDS = 4.0
#: In how many pieces a long call is done.
_PIECES = 8

_EVENTS = {
    MachineState.RUNNING: EventKind.MACHINE_STARTED,
    MachineState.PAUSED: EventKind.MACHINE_PAUSED,
    MachineState.SAVED: EventKind.MACHINE_SAVED,
    MachineState.TURNED_OFF: EventKind.MACHINE_STOPPED,
    MachineState.MERGING_DRIVES: EventKind.MACHINE_MERGING,
}


class FakeHypervisor:
    """A host of simulated machines below one directory.

    Each machine is a file, and its disks are files: another process that opens the directory after a
    ``kill -9`` finds the machines as they would be by then. Two at once is not supported.
    """

    def __init__(
        self,
        directory: Path,
        *,
        clock: Clock,
        publish: Publish,
        name: str = "fake",
        memory_mib: int = 65536,
        free_bytes: int = 1 << 40,
        threads: bool = True,
    ) -> None:
        """``threads``: file calls run in threads. Without, time cannot pass inside of one."""
        self._directory = directory
        self._clock = clock
        self._publish = publish
        self._name = name
        self._memory_mib = memory_mib
        self._threads = threads
        self._machines: dict[str, SimulatedMachine] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        #: Machines to which nothing has been done since they were last seen, and as what.
        self._seen: dict[str, tuple[SimulatedMachine, Machine]] = {}
        #: What ``free_bytes`` answers; a test fills the disk with it.
        self.room_bytes = free_bytes
        self._files = FakeFiles(threads=threads)
        self._screens = FakeScreens(self)
        self._hands = FakeInputDevices(self)

    @property
    def name(self) -> str:
        """The host's name."""
        return self._name

    @property
    def uri(self) -> str:
        """Where it is."""
        return f"fake://{self._directory}"

    @property
    def files(self) -> FakeFiles:
        """The simulated disks' files."""
        return self._files

    @property
    def screens(self) -> FakeScreens:
        """What its machines show, and their serial ports."""
        return self._screens

    @property
    def input_devices(self) -> FakeInputDevices:
        """Their keyboards and mice."""
        return self._hands

    @property
    def images(self) -> FakeImages:
        """Makes simulated disks."""
        return FakeImages(clock=self._clock)

    @property
    def disk_directory(self) -> Path:
        """Where simulated disks lie."""
        return self._directory / "disks"

    async def open(self) -> None:
        """Read the machines that are there."""
        self._machines = await self._blocking(lambda: _read_all(self._directory / "machines"))

    async def close(self) -> None:
        """The machines go on."""

    async def add(self, machine: SimulatedMachine) -> None:
        """Put a machine there, with the disks it lacks."""
        self._machines[machine.name] = machine
        await self._blocking(lambda: self._create(machine))

    async def settle(self, arrivals: Iterable[tuple[SimulatedMachine, Lead]]) -> None:
        """Put many machines there, each led to its state, without a turn of the loop for every one."""

        def settle() -> dict[str, SimulatedMachine]:
            settled: dict[str, SimulatedMachine] = {}
            for machine, lead in arrivals:
                self._create(machine, lead)
                settled[machine.name] = machine
            return settled

        self._machines |= await self._blocking(settle)

    # Questions

    async def machines(self) -> Sequence[Machine]:
        """All machines, by name."""
        now = self._clock.now().timestamp()
        for machine in list(self._machines.values()):
            if machine.has_due(now):
                await self._do(machine.name, lambda *_: None)
        return [self._snapshot(name, self._machines[name]) for name in sorted(self._machines)]

    async def machine(self, name: str) -> Machine:
        """Raises ``MachineNotFound``."""
        return await self._do(name, lambda machine, _: machine.snapshot(self._name))

    async def definition(self, name: str) -> str:
        """The persistent definition, as libvirt would write it."""
        return await self._do(name, lambda machine, _: fake_definition.write(machine, machine.disks))

    async def saved_definition(self, name: str) -> str:
        """The definition inside the saved state."""
        return await self._do(name, acts.saved_definition)

    async def configuration(self, name: str, *, running: bool = False) -> Configuration:
        """How it is made: as it starts, or as it runs."""

        def read(machine: SimulatedMachine, _: float) -> str:
            if running:
                return fake_definition.write_live(machine)
            return fake_definition.write(machine, machine.disks)

        return configuration_of(await self._do(name, read))

    async def definition_path(self, name: str) -> str:
        """Its record."""
        return await self._do(name, lambda machine, _: str(self._record(machine)))

    async def saved_state_path(self, name: str) -> str:
        """Where its saved state is kept: in the machine's own record."""
        await self._do(name, acts.saved_definition)
        return str(self._record(self._machines[name]))

    async def free_bytes(self, directory: str) -> int:
        """Room left."""
        return self.room_bytes

    async def usage(self) -> Sequence[Usage]:
        """What the machines that are on use, by their own rhythms."""
        now = self._clock.now().timestamp()
        return [used for machine in list(self._machines.values()) if (used := fake_usage.usage(machine, now))]

    async def memory_free_mib(self) -> int:
        """What the machines that are on leave free."""
        return self._memory_mib - sum(m.memory_mib for m in self._machines.values() if m.is_on)

    async def acceleration(self) -> Acceleration:
        """None: nothing runs."""
        return Acceleration(accelerator=Accelerator.NONE, reason="Its machines are simulated.")

    async def facts(self) -> HostFacts:
        """What the host is."""
        return simulated_facts(self._name, self._memory_mib, await self.memory_free_mib())

    async def networks(self) -> Sequence[VirtualNetwork]:
        """A few networks."""
        return NETWORKS

    async def usb_devices(self) -> Sequence[UsbDevice]:
        """Two devices, and which machine has each."""
        holders = {
            (address.bus, address.device): machine.name
            for machine in self._machines.values()
            if machine.is_on
            for address in configuration_of(fake_definition.write_live(machine)).usb
        }
        return [
            dataclasses.replace(each, machine=holders.get((each.bus, each.device), ""))
            for each in USB_DEVICES
        ]

    # Life

    async def define(self, definition: str) -> Machine:
        """Make or change a machine."""
        wanted = fake_definition.read(definition)
        known = self._machines.get(wanted.name)
        if known is None:
            await self.add(wanted)
        else:
            await self._do(wanted.name, lambda machine, _: fake_definition.apply(wanted, machine))
        return await self.machine(wanted.name)

    async def define_new(self, wanted: NewMachine) -> Machine:
        """Define a machine as this host's are best made."""
        if wanted.name not in self._machines:
            await self.define(template(wanted, Platform(domain_type="fake", is_qemu=False)))
        return await self.machine(wanted.name)

    async def release(self, name: str, saved_state: str) -> None:
        """Forget a machine that is off or saved; its record goes where its saved state would."""
        if name not in self._machines:
            return
        await self._do(name, lambda machine, _: acts.need(machine, "be unregistered", not machine.is_on))
        machine = self._machines.pop(name)
        if machine.saved is not None:
            await self.images.move(str(self._record(machine)), saved_state)
        else:
            await self._blocking(lambda: self._record(machine).unlink(missing_ok=True))
        self._say(EventKind.MACHINE_UNDEFINED, name)

    async def take_in(self, definition: str, saved_state: str) -> Machine:
        """Define a machine again, and give it its saved state."""
        machine = fake_definition.read(definition)
        if await self._blocking(lambda: Path(saved_state).exists()):
            before = await self._blocking(lambda: SimulatedMachine.from_bytes(Path(saved_state).read_bytes()))
            machine.saved = before.saved
            await self._blocking(lambda: Path(saved_state).unlink(missing_ok=True))
        await self.add(machine)
        self._say(EventKind.MACHINE_DEFINED, machine.name)
        return await self.machine(machine.name)

    async def change(self, name: str, change: Change, scope: Scope = Scope.PERSISTENT) -> None:
        """Change how it is made."""

        def act(machine: SimulatedMachine, _: float) -> None:
            acts.refuse_real_image(change)
            if isinstance(change, UsbAttached | UsbDetached):
                acts.need(machine, "change USB devices", machine.is_on)
                fake_definition.change(machine, change, Scope.RUNNING)
            else:
                fake_definition.change(machine, change, scope)

        await self._do(name, act)
        kind, data = change_event(change)
        self._publish(Event(kind=kind, subject=name, at=self._clock.now(), data=data))

    async def rename(self, name: str, new_name: str) -> None:
        """Give it another name."""
        if name not in self._machines and new_name in self._machines:
            return

        def rename(machine: SimulatedMachine, _: float) -> None:
            acts.need(machine, "be renamed", machine.state is MachineState.TURNED_OFF)
            acts.rename(machine, new_name)

        machine = self._machines.get(name)
        record = self._record(machine) if machine is not None else None
        await self._do(name, rename)
        self._machines[new_name] = self._machines.pop(name)
        if record is not None:
            await self._blocking(lambda: record.unlink(missing_ok=True))
        self._say(EventKind.MACHINE_UNDEFINED, name)
        self._say(EventKind.MACHINE_DEFINED, new_name)

    async def undefine(self, name: str) -> None:
        """Forget a machine that is off."""
        await self._do(name, lambda machine, _: acts.need(machine, "undefine", not machine.is_on))
        machine = self._machines.pop(name)
        await self._blocking(lambda: self._record(machine).unlink(missing_ok=True))

    async def start(self, name: str, *, paused: bool = False, on_progress: OnProgress | None = None) -> None:
        """Boot it, or restore its saved state, which is used up by that."""
        state = (await self.machine(name)).state
        if state in (MachineState.RUNNING, MachineState.PAUSED):
            return
        saved = state is MachineState.SAVED
        await self._take(RESTORE_SECONDS if saved else START_SECONDS, on_progress)

        def start(machine: SimulatedMachine, now: float) -> None:
            if machine.is_on:
                return
            if machine.saved is not None:
                machine.restore(now)
                machine.saved = None
            else:
                machine.boot(now)
            if paused:
                machine.pause(now)

        await self._do(name, start)

    async def restore_keeping_saved_state(
        self, name: str, sources: Mapping[str, str], on_progress: OnProgress | None = None
    ) -> None:
        """Restore the saved state onto overlays made anew; it is kept."""
        if (await self.machine(name)).state in (MachineState.RUNNING, MachineState.PAUSED):
            return
        await self._take(RESTORE_SECONDS, on_progress)

        def restore(machine: SimulatedMachine, now: float) -> None:
            acts.need(machine, "restore", machine.saved is not None or machine.is_on)
            if machine.is_on or machine.saved is None:
                return
            for disk in machine.saved.disks:
                if disk.target in sources:
                    fake_disks.create_overlay(sources[disk.target], disk.path, anew=True)
            machine.disks = with_paths(machine.disks, dict(sources))
            machine.restore(now, dict(sources))

        await self._do(name, restore)

    async def pause(self, name: str) -> None:
        """Hold its processors."""
        await self._do(name, acts.pause)

    async def resume(self, name: str) -> None:
        """Let it go on."""
        await self._do(name, acts.resume)

    async def save(self, name: str, on_progress: OnProgress | None = None) -> None:
        """Save it, after the time that takes; until then a cancel leaves it running."""
        if not (await self._do(name, lambda machine, _: machine.is_on)):
            return
        await self._take(SAVE_SECONDS, on_progress)
        await self._do(name, SimulatedMachine.save)

    async def discard_saved_state(self, name: str) -> None:
        """Forget the saved state."""
        await self._do(name, lambda machine, _: setattr(machine, "saved", None))

    async def shut_down(self, name: str) -> None:
        """Ask the guest; it takes its time, and a hung guest never does."""
        await self._do(name, lambda machine, now: acts.ask(machine, Due.POWER_OFF, now))

    async def reboot(self, name: str) -> None:
        """Ask the guest to reboot."""
        await self._do(name, lambda machine, now: acts.ask(machine, Due.REBOOT, now))

    async def reset(self, name: str) -> None:
        """Press the reset button."""

        def reset(machine: SimulatedMachine, now: float) -> None:
            acts.need(machine, "reset", machine.is_on)
            machine.reset(now)

        await self._do(name, reset)

    async def turn_off(self, name: str) -> None:
        """Pull the plug."""
        await self._do(name, lambda machine, _: machine.turn_off())

    async def set_autostart(self, name: str, autostart: bool) -> None:
        """Whether the host starts it when it starts itself."""
        await self._do(name, lambda machine, _: setattr(machine, "autostart", autostart))
        self._say(EventKind.MACHINE_CONFIGURATION_CHANGED, name)

    # Undo disks

    async def backing_chain(self, path: str) -> Sequence[str]:
        """The image file and what it stands on."""
        return await self._blocking(lambda: fake_disks.chain(path))

    async def add_overlays(self, name: str, overlays: Mapping[str, str]) -> None:
        """Put new overlays over the disks, live and in the definition."""

        def add(machine: SimulatedMachine, _: float) -> None:
            for disk in machine.active_disks:
                overlay = overlays.get(disk.target, disk.path)
                if overlay != disk.path:
                    fake_disks.create_overlay(overlay, disk.path)
            machine.disks = with_paths(machine.disks, dict(overlays))
            machine.live_disks = with_paths(machine.live_disks, dict(overlays))

        await self._do(name, add)

    async def commit_overlays(
        self, name: str, bases: Mapping[str, str], on_progress: OnProgress | None = None
    ) -> None:
        """Merge piece by piece: whoever is killed on the way leaves changed bases, as QEMU does."""
        blocks = fake_disks.BLOCK_COUNT
        for piece in range(_PIECES):
            first, last = piece * blocks // _PIECES, (piece + 1) * blocks // _PIECES
            await self._do(name, acts.merging(bases, first, last))
            await self._clock.sleep(MERGE_SECONDS / _PIECES)
            if on_progress is not None:
                on_progress(last * fake_disks.BLOCK_BYTES, fake_disks.DISK_BYTES)
        await self._do(name, lambda machine, _: acts.pivot(machine, bases))

    async def drop_overlays(self, name: str, bases: Mapping[str, str]) -> None:
        """Make the definition name the bases again."""

        def drop(machine: SimulatedMachine, _: float) -> None:
            acts.need(machine, "drop overlays", not machine.is_on)
            machine.disks = with_paths(machine.disks, dict(bases))

        await self._do(name, drop)

    async def connect_disks(self, name: str) -> Sequence[str]:
        """Make the definition use an export for each VHD."""

        def connect(machine: SimulatedMachine, _: float) -> Sequence[str]:
            acts.need(machine, "be given its disks by exports", not machine.is_on)
            found = [disk.target for disk in machine.disks if disk.format == "vpc"]
            machine.disks = [
                dataclasses.replace(disk, format="vhd") if disk.target in found else disk
                for disk in machine.disks
            ]
            return found

        return await self._do(name, connect)

    async def delete_file(self, path: str) -> None:
        """Delete an image file."""
        await self._blocking(lambda: Path(path).unlink(missing_ok=True))

    # Through qemu-guest-agent

    async def freeze(self, name: str) -> int:
        """Freeze the guest: nothing is written any more."""

        def freeze(machine: SimulatedMachine, _: float) -> int:
            acts.need_guest_agent(machine)
            machine.frozen = True
            return 1

        return await self._do(name, freeze)

    async def thaw(self, name: str) -> int:
        """Thaw it."""

        def thaw(machine: SimulatedMachine, _: float) -> int:
            acts.need_guest_agent(machine)
            frozen, machine.frozen = machine.frozen, False
            return int(frozen)

        return await self._do(name, thaw)

    def guest_program(self, name: str) -> FakeGuestProgram:
        """The guest's qemu-guest-agent, as a program that can be asked."""
        return FakeGuestProgram(self, name)

    async def guest_exec(self, name: str, argv: Sequence[str], *, timeout: float) -> ExecResult:
        """Every simulated command does nothing, well."""
        await self._do(name, lambda machine, _: acts.need_guest_agent(machine))
        return ExecResult(exit_code=0, stdout=b"", stderr=b"")

    async def guest_write_file(self, name: str, path: str, data: bytes) -> None:
        """Keep a short note of the file on the simulated disk."""

        def write(machine: SimulatedMachine, _: float) -> None:
            acts.need_guest_agent(machine)
            guest = machine.guest()
            guest.disk.files[path] = f"{len(data)} bytes"
            machine.write(guest)

        await self._do(name, write)

    # Ports

    async def attach_agent_port(self, name: str) -> None:
        """Give it the port."""
        await self._do(name, lambda machine, _: setattr(machine, "has_agent_port", True))

    async def open_agent_port(self, name: str) -> BytePipe:
        """Simulated guests speak no bytes: their agents are ``FakeAgents``."""
        raise NotSupported(
            f"The simulated machine {name} has no port that bytes go through.",
            advice="Use the simulated agents.",
        )

    # Machinery

    async def simulate(self, name: str, act: Callable[[SimulatedMachine, float], T]) -> T:
        """Do something to a machine from outside: what tests and simulated agents do to it."""
        return await self._do(name, act)

    def has_agent_up(self, name: str) -> bool:
        """Whether the machine's agent answered when it was last looked at."""
        machine = self._machines.get(name)
        return machine is not None and machine.memory is not None and machine.memory.agent_up

    def heartbeat(self, name: str) -> int | None:
        """Percent of its heartbeats: all while its agent is up, none while it is frozen; else nothing."""
        if not self.has_agent_up(name):
            return None
        return 0 if self._machines[name].frozen else 100

    async def _do(self, name: str, act: Callable[[SimulatedMachine, float], T]) -> T:
        """Let the guest live up to now, act on its machine, write down what changed, and tell of it."""
        machine = self._machines.get(name)
        if machine is None:
            raise MachineNotFound(
                f"The host {self._name} has no machine “{name}”.", machine=name, advice="List the machines."
            )
        async with self._locks.setdefault(name, asyncio.Lock()):
            self._seen.pop(name, None)
            before, boot = machine.state, machine.boot_id
            try:
                return await self._blocking(lambda: self._act(machine, act))
            finally:
                self._tell(machine, before)
                if boot and machine.boot_id not in ("", boot):
                    self._publish(Event(kind=EventKind.MACHINE_REBOOTED, subject=name, at=self._clock.now()))

    def _snapshot(self, name: str, machine: SimulatedMachine) -> Machine:
        """A machine as it is: the same value again where nothing has been done to it."""
        known, seen = self._seen.get(name, (None, None))
        if known is machine and seen is not None:
            return seen
        seen = machine.snapshot(self._name)
        lock = self._locks.get(name)
        if lock is None or not lock.locked():  # else a thread is changing it right now
            self._seen[name] = machine, seen
        return seen

    def _act(self, machine: SimulatedMachine, act: Callable[[SimulatedMachine, float], T]) -> T:
        now = self._clock.now().timestamp()
        before = machine.to_bytes()
        try:
            was_on = machine.is_on
            machine.live(now)
            if was_on and not machine.is_on:
                self._say(EventKind.MACHINE_STOPPING, machine.name, "guest")
            return act(machine, now)
        finally:
            after = machine.to_bytes()
            if after != before:
                fake_disks.replace_file(str(self._record(machine)), after)

    def _tell(self, machine: SimulatedMachine, before: MachineState) -> None:
        if machine.state is before:
            return
        resumed = (before, machine.state) == (MachineState.PAUSED, MachineState.RUNNING)
        self._say(EventKind.MACHINE_RESUMED if resumed else _EVENTS[machine.state], machine.name)

    def _say(self, kind: EventKind, name: str, reason: str = "") -> None:
        data = {"reason": reason} if reason else {}
        self._publish(Event(kind=kind, subject=name, at=self._clock.now(), data=data))

    async def _take(self, seconds: float, on_progress: OnProgress | None) -> None:
        """Let a long call take its time."""
        for piece in range(_PIECES):
            await self._clock.sleep(seconds / _PIECES)
            if on_progress is not None:
                on_progress(piece + 1, _PIECES)

    def _create(self, machine: SimulatedMachine, lead: Lead | None = None) -> None:
        self._record(machine).parent.mkdir(parents=True, exist_ok=True)
        for disk in machine.disks:
            if disk.path and disk.kind == "file":
                fake_disks.create_base(disk.path)
        if lead is not None:
            lead(machine, self._clock.now().timestamp())
        fake_disks.replace_file(str(self._record(machine)), machine.to_bytes())

    def _record(self, machine: SimulatedMachine) -> Path:
        return self._directory / "machines" / f"{machine.name}.json"

    async def _blocking(self, call: Callable[[], T]) -> T:
        return await asyncio.to_thread(call) if self._threads else call()


class FakeFiles(LocalFiles):
    """The simulated disks' files: their overlays have a format of their own."""

    def __init__(self, *, threads: bool) -> None:
        self._threads = threads

    async def virtual_size(self, path: str) -> int:
        """Every simulated disk has the same."""
        return fake_disks.DISK_BYTES

    async def format(self, path: str) -> str:
        """Overlays call themselves qcow2, as a real host's would be."""
        return await self._run(lambda: format_of(path))

    async def _run(self, call: Callable[[], T]) -> T:
        return await super()._run(call) if self._threads else call()


def _read_all(directory: Path) -> dict[str, SimulatedMachine]:
    with contextlib.suppress(FileNotFoundError):
        found = [SimulatedMachine.from_bytes(path.read_bytes()) for path in directory.glob("*.json")]
        return {machine.name: machine for machine in found}
    return {}
