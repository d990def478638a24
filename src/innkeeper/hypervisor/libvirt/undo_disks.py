"""Undo disks of a libvirt host's machines: added, merged, dropped.

Every step looks before it does, because it may be the one that a crash cut short.
"""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import functools
from collections.abc import Callable, Mapping

import libvirt

from innkeeper.errors import DiskError, ErrorCode, HypervisorError, MachineUnfit, WrongState
from innkeeper.hypervisor.libvirt.connection import Connection
from innkeeper.hypervisor.libvirt.definition import EXPORTED, Definition, DiskElement, overlays_xml
from innkeeper.hypervisor.libvirt.domains import Domains, current, persistent, redefine
from innkeeper.hypervisor.libvirt.exported_disks import ExportedDisks
from innkeeper.hypervisor.libvirt.images import Images
from innkeeper.hypervisor.libvirt.starts import begin_without_processor
from innkeeper.hypervisor.libvirt.states import SavedImage
from innkeeper.machines.machine import MachineState
from innkeeper.machines.ports.progress import OnProgress

_OFF = frozenset({MachineState.TURNED_OFF, MachineState.SAVED})
_SETTLED = _OFF | {MachineState.RUNNING, MachineState.PAUSED}
_ATOMIC_OVERLAY = (
    libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY
    | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC
    | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA
)
#: How long a look at a merge waits for an event of it.
_MERGE_LOOK_S = 0.3


class MergeStage(enum.Enum):
    """Where one disk's merge stands."""

    #: QEMU copies the overlay into the base.
    COPYING = enum.auto()
    #: All is copied, and the machine was told to go over to the base.
    ON_BASE = enum.auto()
    #: The machine has only the base.
    DONE = enum.auto()


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MergeStep:
    """Result of one look at a merge."""

    stage: MergeStage
    bytes_done: int = 0
    bytes_total: int = 0


class BlockJobs:
    """Wakes whoever follows a block job when libvirt says something of it."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Event] = {}

    def happened(self, machine: str) -> None:
        """Called in the loop for every block job event."""
        if machine in self._waiting:
            self._waiting[machine].set()

    async def wait(self, machine: str) -> None:
        """Return at the next event, or after a moment: an event may have come before we listened."""
        event = self._waiting.setdefault(machine, asyncio.Event())
        event.clear()
        try:
            await asyncio.wait_for(event.wait(), _MERGE_LOOK_S)
        except TimeoutError:
            return
        finally:
            self._waiting.pop(machine, None)


class LibvirtUndoDisks:
    """The undo disks of one host's machines (``machines.ports.undo_disks.UndoDisks``)."""

    #: How fast a merge may write, in MiB a second; 0 for as fast as it can.
    bandwidth_mib = 0

    def __init__(
        self,
        connection: Connection,
        domains: Domains,
        images: Images,
        jobs: BlockJobs,
        exported: ExportedDisks,
    ) -> None:
        self._connection = connection
        self._exported = exported
        self._domains = domains
        self._images = images
        self._jobs = jobs

    async def add(self, name: str, overlays: Mapping[str, str]) -> None:
        """Put a new overlay over each disk, all at once or none."""

        def work(connect: libvirt.virConnect) -> None:
            domain = connect.lookupByName(name)
            self._domains.require(domain, _SETTLED, "take an undo disk")
            if not current(domain).has_sources(overlays):
                self._create(connect, domain, overlays)
            definition = persistent(domain)
            if not definition.has_sources(overlays):
                self._use_files(definition, overlays, lambda _target, _path: "qcow2")
                redefine(connect, definition)

        await self._connection.command(work, "put an undo disk under", name)

    async def merge(self, name: str, bases: Mapping[str, str], on_progress: OnProgress | None = None) -> None:
        """Merge every overlay into its base, with the machine as it is: running, paused or off."""
        async with self._exported.held(name):
            await self._merge(name, bases, on_progress)

    async def _merge(self, name: str, bases: Mapping[str, str], on_progress: OnProgress | None) -> None:
        if not await self._connection.command(
            lambda c: self._begin_merge(c, name, bases), "merge the disks of", name
        ):
            return
        totals: dict[str, tuple[int, int]] = {}
        for target, base in bases.items():
            await self._merge_disk(name, target, base, _adding_up(totals, target, on_progress))
        await self._connection.command(lambda c: self._end_merge(c, name, bases), "end the merge of", name)

    async def drop(self, name: str, bases: Mapping[str, str]) -> None:
        """Make the persistent definition name the bases again."""

        def work(connect: libvirt.virConnect) -> None:
            domain = connect.lookupByName(name)
            self._domains.require(domain, _OFF, "go back to its own disks")
            self._use_bases(connect, domain, bases)

        await self._connection.command(work, "take the undo disk from", name)

    # Adding

    def _create(
        self, connect: libvirt.virConnect, domain: libvirt.virDomain, overlays: Mapping[str, str]
    ) -> None:
        definition = current(domain)
        for target, path in overlays.items():
            disk = definition.disk(target)
            if disk.file == path:
                raise MachineUnfit(
                    f"Disk {target!r} of {domain.name()!r} has its undo disk already, and another has not.",
                    machine=domain.name(),
                    advice="Take away the undo disks of this machine first.",
                )
            # What a crash left half made: no definition names it, and no QEMU has it open.
            self._images.refuse_if_open(path)
            self._images.delete(connect, path)
        if not domain.isActive() and any(definition.disk(target).is_exported for target in overlays):
            # libvirt knows no way; and the definition names all of them at once, or none.
            for target, path in overlays.items():
                disk = definition.disk(target)
                self._exported.create_overlay(path, disk.file, disk.format)
            return
        domain.snapshotCreateXML(overlays_xml(definition, overlays), _ATOMIC_OVERLAY)

    # Merging

    def _begin_merge(self, connect: libvirt.virConnect, name: str, bases: Mapping[str, str]) -> bool:
        """Whether anything is to be done; QEMU runs then, for the machine or for the merge alone."""
        domain = connect.lookupByName(name)
        state = self._domains.state(domain)
        if state is MachineState.MERGING_DRIVES:
            return True
        if state not in _SETTLED:
            raise WrongState.of(name, state, "merge its undo disks")
        if current(domain).has_sources(bases) and persistent(domain).has_sources(bases):
            self._point_memory_at(connect, domain, bases)
            return False
        self._forget_memory_of(domain, bases)
        if not domain.isActive():
            begin_without_processor(connect, persistent(domain).for_merging(bases))
        return True

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
                _advance_merge,
                name=name,
                target=target,
                base=base,
                bandwidth_mib=None if begun else self.bandwidth_mib,
            )
            step = await self._connection.command(advance, f"merge {target} of", name)
            begun = True
            if on_progress is not None and step.bytes_total > 0:
                on_progress(step.bytes_done, step.bytes_total)
            if step.stage is MergeStage.DONE:
                return
            if step.stage is MergeStage.COPYING:
                await self._jobs.wait(name)

    def _end_merge(self, connect: libvirt.virConnect, name: str, bases: Mapping[str, str]) -> None:
        domain = connect.lookupByName(name)
        live = current(domain)
        if not live.has_sources(bases):
            raise HypervisorError(f"The merge of {name!r} ended, but the machine is not on its base disks.")
        self._use_bases(connect, domain, bases)
        if live.is_merging():
            domain.destroy()
            self._point_memory_at(connect, domain, bases)

    def _point_memory_at(
        self, connect: libvirt.virConnect, domain: libvirt.virDomain, bases: Mapping[str, str]
    ) -> None:
        """Point memory that was saved on top of the overlays at the bases they were merged into."""
        if self._domains.saved_image(domain) is not SavedImage.WHOLE:
            return
        saved = Definition.parse(domain.managedSaveGetXMLDesc(libvirt.VIR_DOMAIN_SAVE_IMAGE_XML_SECURE))
        if saved.has_sources(bases):
            return
        definition = persistent(domain)
        self._use_files(saved, bases, lambda target, _base: definition.disk(target).format)
        domain.managedSaveDefineXML(saved.text(), 0)

    def _use_bases(
        self, connect: libvirt.virConnect, domain: libvirt.virDomain, bases: Mapping[str, str]
    ) -> None:
        definition = persistent(domain)
        if definition.has_sources(bases):
            return

        def base_format(target: str, base: str) -> str:
            return self._base_format(connect, domain, definition.disk(target), base)

        self._use_files(definition, bases, base_format)
        redefine(connect, definition)

    def _use_files(
        self, definition: Definition, files: Mapping[str, str], image_format: Callable[[str, str], str]
    ) -> None:
        for target, path in files.items():
            disk = definition.disk(target)
            if disk.file != path:
                self._exported.use(disk, path, image_format(target, path))

    def _base_format(
        self, connect: libvirt.virConnect, domain: libvirt.virDomain, disk: DiskElement, base: str
    ) -> str:
        """The format of a base image, from whoever has it written down; never guessed."""
        live = current(domain).disk(disk.target)
        declared = (
            dict(disk.backing()) | dict(live.backing()) | ({live.file: live.format} if live.file else {})
        )
        found = declared.get(base) or self._images.base_format(connect, disk.file, base)
        if found is None:
            raise DiskError(
                f"The format of {base}, base of {disk.target!r} of "
                f"{domain.name()!r}, is not recorded anywhere.",
                path=base,
                code=ErrorCode.VM_E_PARENT_PATH_NOT_FOUND,
                advice="Edit the machine's definition by hand so that it names this image and its format.",
            )
        return found


def _advance_merge(
    connect: libvirt.virConnect, name: str, target: str, base: str, *, bandwidth_mib: int | None
) -> MergeStep:
    """Do the next step of one disk's merge: begin or adopt its job, switch to the base, or wait.

    Without a ``bandwidth_mib``, a merge that is not under way has failed.
    """
    domain = connect.lookupByName(name)
    if not domain.isActive():
        raise HypervisorError(
            f"QEMU ended in the middle of the merge of {name!r}.", advice="The merge can be taken up again."
        )
    disk = current(domain).disk(target)
    if not disk.mirror_job:
        if disk.file == base:
            return MergeStep(stage=MergeStage.DONE)
        if bandwidth_mib is None:
            raise DiskError(
                f"QEMU failed to merge disk {target!r} of {name!r} into {base}.",
                path=base,
                advice="See that there is room on the base's disk; the merge can be taken up again.",
            )
        # An exported base has no path that libvirt knows: it is the lowest image, which is the default.
        named = None if dict(disk.backing()).get(base) == EXPORTED else base
        domain.blockCommit(target, named, None, bandwidth_mib, libvirt.VIR_DOMAIN_BLOCK_COMMIT_ACTIVE)
        return MergeStep(stage=MergeStage.COPYING)
    job = domain.blockJobInfo(target, 0)
    copied = (job.get("cur", 0), job.get("end", 0))
    # cur == end alone does not mean ready: going over to the base would be refused.
    if disk.mirror_ready != "yes":
        return MergeStep(stage=MergeStage.COPYING, bytes_done=copied[0], bytes_total=copied[1])
    domain.blockJobAbort(target, libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT)
    return MergeStep(stage=MergeStage.ON_BASE, bytes_done=copied[1], bytes_total=copied[1])


def _adding_up(
    totals: dict[str, tuple[int, int]], target: str, on_progress: OnProgress | None
) -> OnProgress | None:
    """Report one disk's progress as part of all disks' bytes."""
    if on_progress is None:
        return None

    def report(done: int, total: int) -> None:
        totals[target] = (done, total)
        on_progress(sum(each for each, _ in totals.values()), sum(each for _, each in totals.values()))

    return report
