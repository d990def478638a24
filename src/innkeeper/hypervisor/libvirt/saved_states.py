"""Saved states of a libvirt host's machines: made, restored for good or for a trial, discarded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import libvirt

from innkeeper.errors import ErrorCode, MachineUnfit, NotSupported, WrongState
from innkeeper.hypervisor.domain.fields import written
from innkeeper.hypervisor.domain.undo_note import NotedDisk, stand_on_overlay
from innkeeper.hypervisor.libvirt.connection import Connection
from innkeeper.hypervisor.libvirt.definition import Definition
from innkeeper.hypervisor.libvirt.domains import Domains, current, persistent, redefine
from innkeeper.hypervisor.libvirt.exported_disks import ExportedDisks
from innkeeper.hypervisor.libvirt.images import Images
from innkeeper.hypervisor.libvirt.progress import Look, abort_job, followed, look_at_restore, look_at_save
from innkeeper.hypervisor.libvirt.starts import Starts, kvm_needed
from innkeeper.hypervisor.libvirt.states import SavedImage
from innkeeper.hypervisor.libvirt.undo_definitions import UndoDefinitions
from innkeeper.hypervisor.libvirt.undo_disks import LibvirtUndoDisks
from innkeeper.hypervisor.libvirt.uris import HostUri
from innkeeper.machines.machine import Disk, MachineState
from innkeeper.machines.ports.progress import OnProgress

T = TypeVar("T")

_UP = frozenset({MachineState.RUNNING, MachineState.PAUSED})
_STARTABLE = frozenset({MachineState.TURNED_OFF, MachineState.SAVED})
_STARTING = frozenset({MachineState.TURNING_ON, MachineState.RESTORING})
#: An abort that comes before libvirt has begun its job finds none: it is sent again.
_ABORT_RETRY_S = 0.1
#: How often the end of a save is looked for whose wire was lost.
_LOOK_S = 0.5


class LibvirtSavedStates:
    """The saved states of one host's machines (``machines.ports.saved_states.SavedStates``)."""

    def __init__(
        self,
        uri: HostUri,
        connection: Connection,
        domains: Domains,
        images: Images,
        undo_disks: LibvirtUndoDisks,
        undo_definitions: UndoDefinitions,
        exported: ExportedDisks,
        starts: Starts,
    ) -> None:
        self._starts = starts
        self._uri = uri
        self._exported = exported
        self._connection = connection
        self._domains = domains
        self._images = images
        self._undo_disks = undo_disks
        self._undo_definitions = undo_definitions

    async def definition(self, name: str) -> str:
        """The definition inside the saved state."""
        return await self._connection.ask(lambda c: self._saved_definition(c, name).text(), "read", name)

    async def disks(self, name: str) -> Sequence[Disk]:
        """The drives that the saved memory knows."""
        return await self._connection.ask(
            lambda c: [disk.value() for disk in self._saved_definition(c, name).disks()], "read", name
        )

    async def path(self, name: str) -> str:
        """The file of the saved state."""

        def look(connect: libvirt.virConnect) -> str:
            domain = connect.lookupByName(name)
            if self._domains.saved_image(domain) is not SavedImage.WHOLE:
                state = self._domains.state(domain)
                raise WrongState.of(name, state, "show a saved state", code=ErrorCode.VM_E_VM_NO_SAVED_STATE)
            image = self._uri.saved_image(name)
            if image is None:
                raise NotSupported(
                    f"Where the host at {self._uri.text} keeps saved states is not known from here."
                )
            return str(image)

        return await self._connection.ask(look, "find the saved state of", name)

    async def start(self, name: str, *, paused: bool, on_progress: OnProgress | None) -> str:
        """Boot the machine, or restore its saved state; returns what a person should know of it."""
        flags = libvirt.VIR_DOMAIN_START_PAUSED if paused else 0

        def act(connect: libvirt.virConnect, domain: libvirt.virDomain, state: MachineState) -> str:
            if state in _UP:
                return ""
            self._exported.refuse_direct(persistent(domain))
            if state is MachineState.SAVED:
                self._starts.restore(domain, flags)
                return ""
            return self._starts.boot(connect, domain, flags)

        async with self._exported.held(name), followed(self._look_at_restore(name), on_progress):
            return await self._carry_out(
                act, "start", name, words="start", allowed=_UP | _STARTABLE, going=_STARTING
            )

    async def restore_keeping(
        self, name: str, sources: Mapping[str, str], on_progress: OnProgress | None = None
    ) -> None:
        """Restore onto fresh overlays over the saved disks; the saved state is kept for the way back.

        An overlay left by an earlier try is made anew: memory must not meet a disk that was written since.
        """
        if await self._connection.command(
            lambda c: self._clear_for_restore(c, name, sources), "restore", name
        ):
            return
        await self._undo_disks.add(name, sources)
        async with self._exported.held(name), followed(self._look_at_restore(name), on_progress):
            await self._connection.command(lambda c: self._restore(c, name, sources), "restore", name)

    async def save(self, name: str, on_progress: OnProgress | None = None) -> None:
        """Save memory and stop; a cancel puts the machine back to running."""
        saving = asyncio.ensure_future(self._save(name))
        try:
            async with followed(look_at_save(self._connection, name), on_progress):
                await asyncio.shield(saving)
        except asyncio.CancelledError:
            await self._abort(name, saving)
            raise

    async def discard(self, name: str) -> None:
        """Forget the saved state."""

        def work(connect: libvirt.virConnect) -> None:
            domain = connect.lookupByName(name)
            if domain.hasManagedSaveImage():
                domain.managedSaveRemove(0)

        await self._connection.command(work, "discard the saved state of", name)

    def sweep(self, connect: libvirt.virConnect) -> None:
        """Remove what saves that a crash cut short have left; libvirt takes them for saved states."""
        for domain in connect.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE):
            is_partial = self._domains.saved_image(domain) is SavedImage.PARTIAL
            if is_partial and self._domains.state(domain) is not MachineState.SAVING:
                domain.managedSaveRemove(0)

    # Machinery

    def _saved_definition(self, connect: libvirt.virConnect, name: str) -> Definition:
        domain = connect.lookupByName(name)
        if self._domains.saved_image(domain) is not SavedImage.WHOLE:
            raise WrongState.of(name, self._domains.state(domain), "show a saved state")
        return Definition.parse(domain.managedSaveGetXMLDesc(libvirt.VIR_DOMAIN_SAVE_IMAGE_XML_SECURE))

    async def _save(self, name: str) -> None:
        def act(_connect: libvirt.virConnect, domain: libvirt.virDomain, state: MachineState) -> None:
            if state in _UP:
                domain.managedSave(0)

        saving = frozenset({MachineState.SAVING})
        await self._carry_out(
            act, "save", name, words="be saved", allowed=_UP | {MachineState.SAVED}, going=saving
        )

    async def _carry_out(
        self,
        act: Callable[[libvirt.virConnect, libvirt.virDomain, MachineState], T],
        doing: str,
        name: str,
        *,
        words: str,
        allowed: frozenset[MachineState],
        going: frozenset[MachineState],
    ) -> T:
        """Do what takes long; where the wire is lost it goes on without us: wait for its end, and look again.

        The machine is in one of the states ``going`` meanwhile, and is in none of them before.
        """
        begun = False

        def work(connect: libvirt.virConnect) -> tuple[T] | None:
            nonlocal begun
            domain = connect.lookupByName(name)
            state = self._domains.require(domain, allowed | going if begun else allowed, words)
            begun = True
            return None if state in going else (act(connect, domain, state),)

        while True:
            ended = await self._connection.command(work, doing, name, again=True)
            if ended is not None:
                return ended[0]
            await asyncio.sleep(_LOOK_S)

    async def _abort(self, name: str, saving: asyncio.Future[None]) -> None:
        while not saving.done():
            await self._connection.ask(lambda c: abort_job(c, name), "abort the save of", name)
            await asyncio.wait([saving], timeout=_ABORT_RETRY_S)
        # That it was aborted is no news; a save that came to its end before the abort stands.
        saving.exception()

    def _clear_for_restore(self, connect: libvirt.virConnect, name: str, sources: Mapping[str, str]) -> bool:
        """Whether the machine runs on these disks already; if not, an earlier try's overlays are deleted."""
        domain = connect.lookupByName(name)
        state = self._domains.require(domain, _UP | {MachineState.SAVED}, "be restored onto undo disks")
        if state in _UP:
            if not current(domain).has_sources(sources):
                raise WrongState.of(name, state, "be restored onto other disks")
            return True
        saved = self._saved_definition(connect, name)
        self._point_at_saved_disks(connect, domain, saved, sources)
        for path in sources.values():
            self._images.refuse_if_open(path)
            self._images.delete(connect, path)
        return False

    def _point_at_saved_disks(
        self,
        connect: libvirt.virConnect,
        domain: libvirt.virDomain,
        saved: Definition,
        sources: Mapping[str, str],
    ) -> None:
        """Make the persistent definition name the disks that the saved memory knows."""
        definition = persistent(domain)
        _refuse_disks_without_definition(definition, saved)
        for target, path in sources.items():
            disk, known = definition.disk(target), saved.disk(target)
            if disk.source() not in (known.source(), path):
                raise MachineUnfit(
                    f"Disk {target!r} of {domain.name()!r} is {disk.source()}, "
                    f"not the saved {known.source()}.",
                    machine=domain.name(),
                    advice="Discard the saved state, or give the machine its former disk back.",
                )
            if disk.source() == path:
                self._undo_definitions.use_own(connect, domain, definition, target, known.source())
        redefine(connect, definition)

    def _restore(self, connect: libvirt.virConnect, name: str, sources: Mapping[str, str]) -> None:
        image = self._uri.saved_image(name)
        if image is None:
            raise NotSupported(
                f"Where the host at {self._uri.text} keeps saved states is not known from here."
            )
        saved = self._saved_definition(connect, name)
        for target, path in sources.items():
            disk = saved.disk(target).node
            stand_on_overlay(disk, NotedDisk(overlay=path, definition=written(disk)))
        # libvirt forgets a managed save when the machine is started; a restore from its file leaves it.
        with kvm_needed(name):
            connect.restoreFlags(str(image), saved.text(), 0)

    def _look_at_restore(self, name: str) -> Look:
        return look_at_restore(self._uri.saved_image(name) if self._uri.is_local else None)


def _refuse_disks_without_definition(definition: Definition, saved: Definition) -> None:
    """Memory would go on writing to a disk that was taken from the machine, past its undo disks."""
    defined = {disk.target for disk in definition.disks()}
    for disk in saved.disks():
        if disk.device in ("disk", "lun") and not disk.read_only and disk.target not in defined:
            raise MachineUnfit(
                f"The saved memory of {definition.name!r} writes to {disk.source()} as its disk "
                f"{disk.target!r}, which its definition does not have.",
                machine=definition.name,
                advice="Discard the saved state, or give the machine its former disk back.",
            )
