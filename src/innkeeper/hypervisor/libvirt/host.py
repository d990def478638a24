"""Carry machines with libvirt."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ParamSpec, TypeVar

import libvirt
import structlog

from innkeeper.errors import MachineNotFound
from innkeeper.hypervisor.domain.template import Platform, domain_type, template
from innkeeper.hypervisor.files import LocalFiles
from innkeeper.hypervisor.image_maker import LocalImages
from innkeeper.hypervisor.libvirt.acceleration import acceleration
from innkeeper.hypervisor.libvirt.agent_port import AgentPorts
from innkeeper.hypervisor.libvirt.configurations import Configurations
from innkeeper.hypervisor.libvirt.connection import Connection
from innkeeper.hypervisor.libvirt.definition import Definition
from innkeeper.hypervisor.libvirt.domains import Domains, wrong_state
from innkeeper.hypervisor.libvirt.events import lifecycle_event, lifecycle_reason
from innkeeper.hypervisor.libvirt.exported_disks import ExportedDisks
from innkeeper.hypervisor.libvirt.gauges import Gauges
from innkeeper.hypervisor.libvirt.guest_agent import GuestAgentPort
from innkeeper.hypervisor.libvirt.guest_program import QemuGuestProgram
from innkeeper.hypervisor.libvirt.images import Images
from innkeeper.hypervisor.libvirt.input_devices import LibvirtInputDevices
from innkeeper.hypervisor.libvirt.local_files import NearFiles
from innkeeper.hypervisor.libvirt.remote_files import FarFiles
from innkeeper.hypervisor.libvirt.remote_images import FarImages
from innkeeper.hypervisor.libvirt.saved_states import SavedStates
from innkeeper.hypervisor.libvirt.screens import LibvirtScreens
from innkeeper.hypervisor.libvirt.stale_starts import clear_stale_starts
from innkeeper.hypervisor.libvirt.surroundings import Surroundings
from innkeeper.hypervisor.libvirt.trays import Trays
from innkeeper.hypervisor.libvirt.undo_disks import BlockJobs, UndoDisks
from innkeeper.hypervisor.libvirt.uris import HostUri
from innkeeper.machines.change import Change, Scope
from innkeeper.machines.change_events import change_event
from innkeeper.machines.configuration import Configuration
from innkeeper.machines.host_facts import Acceleration, Accelerator, HostFacts, UsbDevice, VirtualNetwork
from innkeeper.machines.machine import Machine, MachineState
from innkeeper.machines.new_machine import NewMachine
from innkeeper.machines.ports import BytePipe, DiskExports, ExecResult, ImageFiles, ImageMaker, OnProgress
from innkeeper.machines.usage import Usage
from innkeeper.wire.events import Event, EventKind, Publish

T = TypeVar("T")
P = ParamSpec("P")

_log = structlog.get_logger()
_OFF = frozenset({MachineState.TURNED_OFF, MachineState.SAVED})
_UP = frozenset({MachineState.RUNNING, MachineState.PAUSED})
_LIVE = _UP | {MachineState.TURNING_ON, MachineState.RESTORING, MachineState.TURNING_OFF, MachineState.SAVING}
_MIB = 1024 * 1024
#: A saved state has been moved away by then.
_FORGET_DEFINITION = (
    libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
)
_FORGET_ALL = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
)


class LibvirtHypervisor:
    """One host and its machines (``machines.ports.Hypervisor``)."""

    def __init__(
        self,
        *,
        name: str,
        uri: str,
        publish: Publish,
        state_directory: Path,
        exports: DiskExports | None = None,
    ) -> None:
        """``state_directory`` is where the answer of the KVM probe is remembered; ``exports`` offers VHDs."""
        self._name = name
        self._uri = HostUri.parse(uri)
        self._publish = publish
        self._state_directory = state_directory
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connection = Connection(
            uri, on_open=self._watch, on_connected=self._connected, on_lost=self._lost
        )
        self._jobs = BlockJobs()
        self._domains = Domains(name, self._uri)
        self._images = Images(self._uri)
        self._near_files = NearFiles(self._connection, self._images)
        self._exported = ExportedDisks(self._uri, self._connection, self._domains, exports)
        self._undo_disks = UndoDisks(
            self._connection, self._domains, self._images, self._jobs, self._exported
        )
        self._saved_states = SavedStates(
            self._uri, self._connection, self._domains, self._images, self._undo_disks, self._exported
        )
        self._configurations = Configurations(self._uri, self._connection, self._domains)
        self._surroundings = Surroundings(self._uri, self._connection, name)
        self._guest_agent = GuestAgentPort(self._connection)
        self._agent_ports = AgentPorts(self._uri, self._connection)
        self._screens = LibvirtScreens(self._uri, self._connection, self._domains)
        self._trays = Trays(name, publish)
        self._gauges = Gauges(self._uri, self._connection)
        self._hands = LibvirtInputDevices(self._uri, self._connection, self._domains)

    @property
    def name(self) -> str:
        """The host's name, unique in the inn."""
        return self._name

    @property
    def uri(self) -> str:
        """Where libvirt is."""
        return self._uri.text

    @property
    def files(self) -> ImageFiles:
        """The host's image files."""
        if self._uri.is_test:
            return LocalFiles()
        return self._near_files if self._uri.is_local else FarFiles(self._uri.text)

    @property
    def screens(self) -> LibvirtScreens:
        """What its machines show, and their serial ports."""
        return self._screens

    @property
    def input_devices(self) -> LibvirtInputDevices:
        """Their keyboards and mice."""
        return self._hands

    @property
    def images(self) -> ImageMaker:
        """Makes image files on the host."""
        here = self._uri.is_local or self._uri.is_test
        return LocalImages() if here else FarImages(self._uri.text)

    async def open(self) -> None:
        """Connect, publish events from now on, and remove what cut-off starts and saves have left."""
        self._loop = asyncio.get_running_loop()
        if self._uri.root is not None:
            await asyncio.to_thread(clear_stale_starts, self._uri.root)
        await self._connection.open()
        await self._exported.open()

    async def close(self) -> None:
        """Let go of the host. Its machines go on."""
        await self._exported.close()
        await self._connection.close()

    # Questions

    async def machines(self) -> Sequence[Machine]:
        """All machines, by bulk calls."""
        return await self._connection.ask(self._domains.machines, "list the machines")

    async def machine(self, name: str) -> Machine:
        """One machine."""
        return await self._connection.ask(lambda c: self._domains.machine(c, name), "look at", name)

    async def definition(self, name: str) -> str:
        """The persistent definition, without passwords."""
        return await self._on(
            name, "read", lambda domain: str(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
        )

    async def configuration(self, name: str, *, running: bool = False) -> Configuration:
        """How it is made: as it starts, or as it runs."""
        return await self._configurations.read(name, running=running)

    async def definition_path(self, name: str) -> str:
        """The file in which libvirt keeps its definition."""
        return str(self._uri.definition_file(name) or "")

    async def saved_state_path(self, name: str) -> str:
        """The file of its saved state."""
        return await self._saved_states.path(name)

    async def saved_definition(self, name: str) -> str:
        """The definition inside the saved state."""
        return await self._saved_states.definition(name)

    async def free_bytes(self, directory: str) -> int:
        """Room left in a directory of the host."""
        return await self._connection.ask(
            lambda c: self._images.free_bytes(c, directory), f"see the room left in {directory}"
        )

    async def usage(self) -> Sequence[Usage]:
        """What the machines that are on have used, by one bulk call."""
        return await self._gauges.usage()

    async def memory_free_mib(self) -> int:
        """Memory that machines could get: free, or held by caches that give way."""

        def look(connect: libvirt.virConnect) -> int:
            if self._uri.is_test:
                return int(connect.getFreeMemory()) // _MIB
            stats = connect.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS, 0)
            return int(sum(stats.get(kind, 0) for kind in ("free", "buffers", "cached"))) // 1024

        return await self._connection.ask(look, "see the free memory")

    async def facts(self) -> HostFacts:
        """What the host is."""
        return await self._surroundings.facts()

    async def networks(self) -> Sequence[VirtualNetwork]:
        """The networks that adapters can be attached to."""
        return await self._surroundings.networks()

    async def usb_devices(self) -> Sequence[UsbDevice]:
        """The host's USB devices, and which machine has each."""
        return await self._surroundings.usb_devices()

    async def acceleration(self) -> Acceleration:
        """How a new machine should run, and why; of another computer, what libvirt offers there."""
        if self._uri.is_test:
            return Acceleration(
                accelerator=Accelerator.NONE, reason="libvirt's test driver makes machines up."
            )
        if self._uri.is_local:
            return await asyncio.to_thread(acceleration, self._state_directory)
        return await self._surroundings.offered_acceleration()

    # Life

    async def define(self, definition: str) -> Machine:
        """Make or change a machine's persistent definition."""
        name = Definition.parse(definition).name

        def work(connect: libvirt.virConnect) -> Machine:
            return self._domains.machine(connect, connect.defineXML(definition).name())

        return await self._connection.command(work, "define", name)

    async def define_new(self, wanted: NewMachine) -> Machine:
        """Define a machine as this host's are best made."""
        with contextlib.suppress(MachineNotFound):
            return await self.machine(wanted.name)
        if self._uri.is_test:
            platform = Platform(domain_type="test", is_qemu=False)
        else:
            platform = Platform(domain_type=domain_type((await self.acceleration()).accelerator))
        return await self.define(template(wanted, platform))

    async def release(self, name: str, saved_state: str) -> None:
        """Forget a machine that is off or saved, and keep its NVRAM and its saved state."""
        with contextlib.suppress(MachineNotFound):
            state = (await self.machine(name)).state
            if state is MachineState.SAVED:
                await self.images.move(await self.saved_state_path(name), saved_state)
            await self._on(name, "release", _release, is_long=True)

    async def take_in(self, definition: str, saved_state: str) -> Machine:
        """Define a machine again, and give it its saved state."""
        machine = await self.define(definition)
        image = self._uri.saved_image(machine.name) if self._uri.is_local else None
        if image is not None and await self.files.identity(saved_state) is not None:
            await self.images.move(saved_state, str(image))
        return await self.machine(machine.name)

    async def change(self, name: str, change: Change, scope: Scope = Scope.PERSISTENT) -> None:
        """Change how it is made."""
        kind, data = change_event(change)
        with self._trays.changing(name):
            await self._configurations.change(name, change, scope)
        self._publish(
            Event(kind=kind, subject=name, at=dt.datetime.now(dt.UTC), data={"host": self._name, **data})
        )

    async def rename(self, name: str, new_name: str) -> None:
        """Give a machine that is off another name."""
        await self._configurations.rename(name, new_name)
        self._say(EventKind.MACHINE_UNDEFINED, name, "renamed")
        self._say(EventKind.MACHINE_DEFINED, new_name, "renamed")

    async def undefine(self, name: str) -> None:
        """Forget a machine that is off; its disks stay."""

        def work(connect: libvirt.virConnect) -> None:
            domain = connect.lookupByName(name)
            self._domains.require(domain, _OFF, "be forgotten")
            domain.undefineFlags(0 if self._uri.is_test else _FORGET_ALL)

        await self._connection.command(work, "forget", name)

    async def start(self, name: str, *, paused: bool = False, on_progress: OnProgress | None = None) -> None:
        """Boot it, or restore its saved state. Does nothing where it runs already."""
        await self._saved_states.start(name, paused=paused, on_progress=on_progress)

    async def restore_keeping_saved_state(
        self, name: str, sources: Mapping[str, str], on_progress: OnProgress | None = None
    ) -> None:
        """Restore the saved state onto fresh overlays (target → path); the saved state is kept."""
        await self._saved_states.restore_keeping(name, sources, on_progress)

    async def pause(self, name: str) -> None:
        """Stop its processors. Does nothing where they are stopped."""
        await self._between(MachineState.RUNNING, MachineState.PAUSED, name, "pause", lambda d: d.suspend())

    async def resume(self, name: str) -> None:
        """Let its processors go on. Does nothing where they run."""
        await self._between(MachineState.PAUSED, MachineState.RUNNING, name, "resume", lambda d: d.resume())

    async def save(self, name: str, on_progress: OnProgress | None = None) -> None:
        """Save memory to the host's disk and stop; cancelling the awaiting task aborts it cleanly."""
        await self._saved_states.save(name, on_progress)

    async def discard_saved_state(self, name: str) -> None:
        """Does nothing where there is none."""
        await self._saved_states.discard(name)

    async def shut_down(self, name: str) -> None:
        """Ask the guest to power off: through its agent where that answers, else by the power button."""

        def work(domain: libvirt.virDomain) -> None:
            if self._domains.require(domain, _LIVE | _OFF, "shut down") not in _OFF:
                domain.shutdown()

        await self._on(name, "shut down", work, is_long=True)

    async def reboot(self, name: str) -> None:
        """Ask the guest to reboot."""

        def work(domain: libvirt.virDomain) -> None:
            self._domains.require(domain, frozenset({MachineState.RUNNING}), "reboot")
            domain.reboot(0)

        await self._on(name, "reboot", work, is_long=True)

    async def reset(self, name: str) -> None:
        """Press the reset button."""

        def work(domain: libvirt.virDomain) -> None:
            self._domains.require(domain, _UP, "be reset")
            domain.reset(0)

        await self._on(name, "reset", work, is_long=True)

    async def turn_off(self, name: str) -> None:
        """Pull the plug. Does nothing where it is off; a saved state stays."""

        def work(domain: libvirt.virDomain) -> None:
            try:
                if domain.isActive():
                    domain.destroy()
            except libvirt.libvirtError:
                # It may have ended by itself between the look and the deed.
                if domain.isActive():
                    raise

        await self._on(name, "turn off", work, is_long=True)

    async def set_autostart(self, name: str, autostart: bool) -> None:
        """Say whether it starts with its host."""
        await self._on(name, "set the autostart of", lambda domain: domain.setAutostart(int(autostart)))
        self._say(EventKind.MACHINE_CONFIGURATION_CHANGED, name)

    # Undo disks

    async def backing_chain(self, path: str) -> Sequence[str]:
        """The image file and what it stands on, top first."""
        chain = await self._connection.ask(lambda c: self._images.chain(c, path), f"read the chain of {path}")
        return [each for each, _ in chain]

    async def add_overlays(self, name: str, overlays: Mapping[str, str]) -> None:
        """Put a new qcow2 overlay (target → path) over each disk, all at once or none."""
        await self._undo_disks.add(name, overlays)

    async def commit_overlays(
        self, name: str, bases: Mapping[str, str], on_progress: OnProgress | None = None
    ) -> None:
        """Merge each disk's overlay into its base (target → base path), and go over to the base."""
        await self._undo_disks.merge(name, bases, on_progress)

    async def drop_overlays(self, name: str, bases: Mapping[str, str]) -> None:
        """Make the persistent definition name the bases (target → path) again. Off or saved only."""
        await self._undo_disks.drop(name, bases)

    async def connect_disks(self, name: str) -> Sequence[str]:
        """Make the definition of a machine that is off use an export for each VHD."""
        return await self._exported.connect(name)

    async def delete_file(self, path: str) -> None:
        """Delete an image file of this host. Does nothing where it is gone."""
        await self._connection.command(lambda c: self._images.delete(c, path), f"delete {path}")

    # Through qemu-guest-agent

    async def freeze(self, name: str) -> int:
        """Freeze the guest's file systems; returns how many."""
        return await self._guest_agent.freeze(name)

    async def thaw(self, name: str) -> int:
        """Thaw them. Does nothing where none is frozen."""
        return await self._guest_agent.thaw(name)

    def guest_program(self, name: str) -> QemuGuestProgram:
        """The guest's qemu-guest-agent, as a program that can be asked."""
        return QemuGuestProgram(name, self._guest_agent)

    async def guest_exec(self, name: str, argv: Sequence[str], *, timeout: float) -> ExecResult:
        """Run a command in the guest."""
        return await self._guest_agent.run(name, argv, timeout)

    async def guest_write_file(self, name: str, path: str, data: bytes) -> None:
        """Write a file in the guest."""
        await self._guest_agent.write_file(name, path, data)

    # Ports

    async def attach_agent_port(self, name: str) -> None:
        """Give the machine the task agent's port, live where it runs."""
        if await self._agent_ports.attach(name):
            self._say(EventKind.MACHINE_AGENT_PORT_CHANGED, name)

    async def open_agent_port(self, name: str) -> BytePipe:
        """Open the host's end of the task agent's port."""
        return await self._agent_ports.open(name)

    # Machinery

    async def _on(
        self, name: str, doing: str, work: Callable[[libvirt.virDomain], T], *, is_long: bool = False
    ) -> T:
        run = self._connection.command if is_long else self._connection.ask
        return await run(lambda connect: work(connect.lookupByName(name)), doing, name)

    async def _between(
        self,
        before: MachineState,
        after: MachineState,
        name: str,
        doing: str,
        act: Callable[[libvirt.virDomain], object],
    ) -> None:
        def work(domain: libvirt.virDomain) -> None:
            if self._domains.require(domain, frozenset({before, after}), doing) is before:
                act(domain)

        await self._on(name, doing, work, is_long=True)

    def _connected(self) -> None:
        self._say(EventKind.HOST_CONNECTED, self._name)

    def _lost(self, why: str) -> None:
        _log.warning("host_lost", host=self._name, why=why)
        self._say(EventKind.HOST_LOST, self._name, why)

    def _say(self, kind: EventKind, subject: str, reason: str = "") -> None:
        data = {"host": self._name, "reason": reason} if reason else {"host": self._name}
        self._publish(Event(kind=kind, subject=subject, at=dt.datetime.now(dt.UTC), data=data))

    # In libvirt's event thread: never a call that blocks, only a word to the loop

    def _watch(self, connect: libvirt.virConnect) -> list[int]:
        """Take over a fresh connection: events first, so that nothing is missed, then the sweep."""
        wanted = (
            (libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._on_lifecycle),
            (libvirt.VIR_DOMAIN_EVENT_ID_REBOOT, self._on_reboot),
            (libvirt.VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE, self._on_guest_agent),
            (libvirt.VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2, self._on_block_job),
            (libvirt.VIR_DOMAIN_EVENT_ID_TRAY_CHANGE, self._on_tray),
            (libvirt.VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON, self._on_disk_error),
        )
        callbacks = [connect.domainEventRegisterAny(None, event, handle, None) for event, handle in wanted]
        if not self._uri.is_test:
            self._domains.settle(connect)
            self._saved_states.sweep(connect)
        return callbacks

    def _on_lifecycle(
        self, _c: libvirt.virConnect, domain: libvirt.virDomain, event: int, detail: int, _o: object
    ) -> None:
        kind = lifecycle_event(event, detail)
        if kind is not None:
            self._notify(self._say, kind, domain.name(), lifecycle_reason(event, detail))

    def _on_reboot(self, _c: libvirt.virConnect, domain: libvirt.virDomain, _o: object) -> None:
        self._notify(self._say, EventKind.MACHINE_REBOOTED, domain.name())

    def _on_guest_agent(
        self, _c: libvirt.virConnect, domain: libvirt.virDomain, _state: int, _reason: int, _o: object
    ) -> None:
        self._notify(self._say, EventKind.MACHINE_GUEST_AGENT_CHANGED, domain.name())

    def _on_tray(
        self, _c: libvirt.virConnect, domain: libvirt.virDomain, drive: str, reason: int, _o: object
    ) -> None:
        if reason == libvirt.VIR_DOMAIN_EVENT_TRAY_CHANGE_OPEN:
            self._notify(self._trays.opened, domain.name(), drive)

    def _on_disk_error(
        self,
        _c: libvirt.virConnect,
        domain: libvirt.virDomain,
        path: str,
        _device: str,
        _action: int,
        reason: str,
        _o: object,
    ) -> None:
        if reason == "enospc":
            self._notify(self._trays.full, domain.name(), path)

    def _on_block_job(
        self, _c: libvirt.virConnect, domain: libvirt.virDomain, _disk: str, _t: int, _s: int, _o: object
    ) -> None:
        self._notify(self._jobs.happened, domain.name())

    def _notify(self, callback: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        assert self._loop is not None
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(lambda: callback(*args, **kwargs))


def _release(domain: libvirt.virDomain) -> None:
    if domain.isActive():
        raise wrong_state(domain.name(), MachineState.RUNNING, "be unregistered")
    try:
        domain.undefineFlags(_FORGET_DEFINITION)
    except libvirt.libvirtError as error:
        # libvirt's made-up machines have nothing but a definition.
        if "unsupported flags" not in error.get_error_message():
            raise
        domain.undefine()
