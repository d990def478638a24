"""Undo disks of a libvirt host's machines: added, merged, dropped.

Every step looks before it does, because it may be the one that a crash cut short.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import libvirt

from innkeeper.errors import HypervisorError, WrongState
from innkeeper.hypervisor.libvirt.connection import Connection
from innkeeper.hypervisor.libvirt.definition import Definition
from innkeeper.hypervisor.libvirt.domains import Domains, current, persistent
from innkeeper.hypervisor.libvirt.exported_disks import ExportedDisks
from innkeeper.hypervisor.libvirt.merging import BlockJobs, MergeStage, adding_up, advance_merge
from innkeeper.hypervisor.libvirt.offline_merges import OfflineMerges
from innkeeper.hypervisor.libvirt.overlays import Overlays
from innkeeper.hypervisor.libvirt.starts import begin_without_processor
from innkeeper.hypervisor.libvirt.states import SavedImage
from innkeeper.hypervisor.libvirt.undo_definitions import UndoDefinitions
from innkeeper.machines.machine import MachineState
from innkeeper.machines.ports.progress import OnProgress

_OFF = frozenset({MachineState.TURNED_OFF, MachineState.SAVED})
_SETTLED = _OFF | {MachineState.RUNNING, MachineState.PAUSED}


class LibvirtUndoDisks:
    """The undo disks of one host's machines (``machines.ports.undo_disks.UndoDisks``)."""

    #: How fast a merge may write, in MiB a second; 0 for as fast as it can.
    bandwidth_mib = 0

    def __init__(
        self,
        connection: Connection,
        domains: Domains,
        definitions: UndoDefinitions,
        overlays: Overlays,
        jobs: BlockJobs,
        exported: ExportedDisks,
        offline: OfflineMerges,
    ) -> None:
        self._connection = connection
        self._domains = domains
        self._definitions = definitions
        self._overlays = overlays
        self._jobs = jobs
        self._exported = exported
        self._offline = offline

    async def add(self, name: str, overlays: Mapping[str, str]) -> None:
        """Put a new overlay over each disk, all at once or none."""

        def work(connect: libvirt.virConnect) -> None:
            domain = connect.lookupByName(name)
            _end_cut_off_making(domain)
            self._domains.require(domain, _SETTLED, "take an undo disk")
            self._definitions.note(domain, overlays)
            self._overlays.make(connect, domain, overlays)
            self._definitions.use_overlays(connect, domain, overlays)

        await self._connection.command(work, "put an undo disk under", name, again=True)

    async def merge(self, name: str, bases: Mapping[str, str], on_progress: OnProgress | None = None) -> None:
        """Merge every overlay into its base, with the machine as it is: running, paused or off."""
        async with self._exported.held(name):
            if not await self._connection.command(
                lambda c: self._is_to_be_merged(c, name, bases), "merge the disks of", name, again=True
            ):
                return
            if not await self._offline.merge(name, bases, self.bandwidth_mib, on_progress):
                await self._merge_by_machine(name, bases, on_progress)
            await self._connection.command(
                lambda c: self._end_merge(c, name, bases), "end the merge of", name, again=True
            )

    async def stand_down(self, name: str, bases: Mapping[str, str]) -> None:
        """Make whoever starts the machine next start it on the bases."""

        def work(connect: libvirt.virConnect) -> None:
            self._definitions.use_bases(connect, connect.lookupByName(name), bases)

        await self._connection.command(work, "prepare the way back of", name, again=True)

    async def drop(self, name: str, bases: Mapping[str, str]) -> None:
        """Make the persistent definition what it was, on the bases again."""

        def work(connect: libvirt.virConnect) -> None:
            domain = connect.lookupByName(name)
            is_started = bool(domain.isActive()) and current(domain).has_sources(bases)
            if not is_started:
                self._domains.require(domain, _OFF, "go back to its own disks")
            self._definitions.put_back(connect, domain, bases)
            if is_started:
                self._definitions.forget_live(domain, bases)

        await self._connection.command(work, "take the undo disk from", name, again=True)

    # Merging

    def _is_to_be_merged(self, connect: libvirt.virConnect, name: str, bases: Mapping[str, str]) -> bool:
        """Whether anything is to be done; nothing stands in its way then."""
        domain = connect.lookupByName(name)
        state = self._domains.state(domain)
        if state is MachineState.MERGING_DRIVES:
            return True
        if state not in _SETTLED:
            raise WrongState.of(name, state, "merge its undo disks")
        self._definitions.refuse_taken_away(domain, bases)
        if current(domain).has_sources(bases) and self._definitions.is_as_before(domain, bases):
            self._definitions.point_memory_at(domain, bases)
            return False
        self._forget_memory_of(domain, bases)
        return True

    async def _merge_by_machine(
        self, name: str, bases: Mapping[str, str], on_progress: OnProgress | None
    ) -> None:
        """Merge by the QEMU of the machine, or by one that is started for the merge alone."""

        def begin(connect: libvirt.virConnect) -> None:
            domain = connect.lookupByName(name)
            if not domain.isActive():
                begin_without_processor(connect, persistent(domain).for_merging(bases))

        await self._connection.command(begin, "merge the disks of", name, again=True)
        totals: dict[str, tuple[int, int]] = {}
        for target, base in bases.items():
            await self._merge_disk(name, target, base, adding_up(totals, target, on_progress))

    def _forget_memory_of(self, domain: libvirt.virDomain, bases: Mapping[str, str]) -> None:
        """Once the bases change, memory that was saved on top of them is worth nothing, and a danger.

        Memory that was saved on top of the overlays fits what is merged.
        """
        image = self._domains.saved_image(domain)
        if image is SavedImage.NONE:
            return
        if image is SavedImage.PARTIAL or Definition.parse(domain.managedSaveGetXMLDesc(0)).has_sources(
            bases
        ):
            domain.managedSaveRemove(0)

    async def _merge_disk(self, name: str, target: str, base: str, on_progress: OnProgress | None) -> None:
        begun = False
        while True:
            advance = functools.partial(
                advance_merge,
                name=name,
                target=target,
                base=base,
                bandwidth_mib=None if begun else self.bandwidth_mib,
            )
            step = await self._connection.command(advance, f"merge {target} of", name, again=True)
            begun = True
            if on_progress is not None and step.bytes_total > 0:
                on_progress(step.bytes_done, step.bytes_total)
            if step.stage is MergeStage.DONE:
                return
            if step.stage is MergeStage.COPYING:
                await self._jobs.wait(name)

    def _end_merge(self, connect: libvirt.virConnect, name: str, bases: Mapping[str, str]) -> None:
        domain = connect.lookupByName(name)
        live, is_on = current(domain), domain.isActive()
        if is_on and not live.has_sources(bases):
            raise HypervisorError(f"The merge of {name!r} ended, but the machine is not on its base disks.")
        self._definitions.put_back(connect, domain, bases)
        if is_on and not live.is_merging():
            self._definitions.forget_live(domain, bases)
            return
        if is_on:
            domain.destroy()
        self._definitions.point_memory_at(domain, bases)


def _end_cut_off_making(domain: libvirt.virDomain) -> None:
    """End a QEMU that a crash left while it made overlays; one that merges is left to its merge."""
    live = current(domain)
    if domain.isActive() and live.is_merging() and not any(disk.mirror_job for disk in live.disks()):
        domain.destroy()
