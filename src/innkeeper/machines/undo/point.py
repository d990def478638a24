"""The undo point of one machine: taken, merged, discarded; each operation looks before it acts."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import enum
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Final

from innkeeper.errors import AgentError, DiskError, ErrorCode, HypervisorError, MachineError, WrongState
from innkeeper.machines.change import MetadataChanged, Scope
from innkeeper.machines.machine import DiskKind, Machine, MachineState
from innkeeper.machines.named_files import names, values_in
from innkeeper.machines.ports.host import Host
from innkeeper.machines.ports.image_files import FileIdentity, ImageFiles
from innkeeper.machines.ports.progress import OnProgress
from innkeeper.machines.undo.freezing import Freeze
from innkeeper.machines.undo.merge_marks import half_merged, is_merge_marked, mark_merge, unnamed_undo_disks
from innkeeper.machines.undo.state_copies import StateCopies, StatePlan
from innkeeper.tasks.ports import Clock
from innkeeper.wire.events import Json
from innkeeper.wire.json_fields import (
    JsonObject,
    as_int,
    as_object,
    as_row,
    as_str,
    get,
    get_list,
    get_object,
    get_or,
    get_str,
    get_strs,
    refuse_newer,
)

#: The version of a plan's JSON. See docs/decisions/0043-journals-are-versioned.md before it changes.
_VERSION: Final = 2
#: What release 0.1.0 reads, and takes for all there is: right as long as no state files are covered.
_WITHOUT_STATE: Final = 1
#: So long nobody else is to start a machine that is brought back; a service that died holds it no longer.
_HELD_SECONDS: Final = 900.0
_NO_STATE: Final = StatePlan()


def _unheard(_: str) -> None:
    """Nobody listens."""


def _go_on() -> None:
    """Nobody gives up."""


class Consistency(enum.StrEnum):
    """State of the guest's file systems at the undo point."""

    #: The machine was off: nothing was being written.
    OFF = "off"
    #: The machine was saved: the memory that goes with the disks is kept.
    SAVED = "saved"
    #: The guest held its writes while the disks were taken.
    FROZEN = "frozen"
    #: As after a power cut: the guest could not be frozen.
    CRASH = "crash"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class UndoDisk:
    """One disk of an undo point."""

    #: The name inside the definition: ``vda``.
    target: str
    #: What holds the disk as it was, as the definition has it: a file, a device, ``pool/volume``, an address.
    base: str
    #: The overlay that takes all writes.
    overlay: str
    #: The kind of storage that the definition names.
    kind: DiskKind = DiskKind.FILE
    #: The base's file or device on the host, where the definition does not name it.
    resolved: str = ""

    @property
    def image(self) -> str:
        """The base by its file or device, or by its address where it is on the network."""
        return self.resolved or self.base

    @property
    def is_remote(self) -> bool:
        """Whether the base is on the network, where the service cannot look at it."""
        return not self.image.startswith("/")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class UndoPlan:
    """Disks and files that an undo point of one run covers, decided before anything is touched."""

    machine: str
    disks: tuple[UndoDisk, ...]
    #: UEFI variables and TPM state.
    state: StatePlan = _NO_STATE
    #: Disks that take writes and are left out by name: a roll back does not undo those.
    excluded: tuple[str, ...] = ()
    #: Storage of the host that the guest writes to past its disks, for people.
    host_storage: tuple[str, ...] = ()

    @property
    def overlays(self) -> Mapping[str, str]:
        """Overlay by target."""
        return {disk.target: disk.overlay for disk in self.disks}

    @property
    def bases(self) -> Mapping[str, str]:
        """Base by target."""
        return {disk.target: disk.base for disk in self.disks}

    @property
    def images(self) -> Mapping[str, str]:
        """Base by target, by its file, device or address."""
        return {disk.target: disk.image for disk in self.disks}

    @property
    def files(self) -> tuple[str, ...]:
        """The bases that are files of the definition's own."""
        return tuple(disk.base for disk in self.disks if disk.kind is DiskKind.FILE)

    @property
    def gaps(self) -> tuple[str, ...]:
        """What a roll back will not undo, a sentence for each disk, folder or device."""
        return tuple(
            f"The disk {target} of {self.machine} is left out of undo points (undo_exclude): "
            "a roll back does not undo what is written to it."
            for target in self.excluded
        ) + tuple(
            f"{self.machine} can write to {storage}, of its host and past its undo disks: "
            "a roll back does not undo that."
            for storage in self.host_storage
        )

    def to_json(self) -> Json:
        """For the journal."""
        return {
            "version": _VERSION if self.state.files else _WITHOUT_STATE,
            "machine": self.machine,
            "disks": [[disk.target, disk.base, disk.overlay] for disk in self.disks],
            "storages": {
                disk.target: [str(disk.kind), disk.resolved]
                for disk in self.disks
                if disk.kind is not DiskKind.FILE
            },
            "nvram_path": "",
            "nvram_copy": "",
            "state": self.state.to_json(),
            "excluded": list(self.excluded),
            "host_storage": list(self.host_storage),
        }

    @classmethod
    def from_json(cls, data: Json) -> UndoPlan:
        """From the journal. Raises ``JsonError``."""
        fields = as_object(data)
        refuse_newer(fields, _VERSION)
        # Plans of release 0.1.0 had files alone.
        storages = get_object(fields, "storages") if "storages" in fields else {}
        disks = get_list(fields, "disks", _undo_disk)
        return cls(
            machine=get_str(fields, "machine"),
            disks=tuple(_on_storage(disk, storages) for disk in disks),
            state=get_or(fields, "state", StatePlan.from_json, StatePlan.from_first_release(fields)),
            # Plans of release 0.1.0 left no disk out.
            excluded=get_strs(fields, "excluded") if "excluded" in fields else (),
            host_storage=get_strs(fields, "host_storage") if "host_storage" in fields else (),
        )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class BaseRecord:
    """Identity of a base when the undo point had been taken: nobody may write to it from then on."""

    path: str
    identity: FileIdentity
    #: The digest of its content, or empty where it was not read.
    checksum: str

    def to_json(self) -> Json:
        """For the journal."""
        return [
            self.path,
            self.identity.size_bytes,
            # Nanoseconds since 1970 outgrow the integers that JSON readers agree on.
            str(self.identity.mtime_ns),
            self.identity.inode,
            self.checksum,
        ]

    @classmethod
    def from_json(cls, data: Json) -> BaseRecord:
        """From the journal. Raises ``JsonError``."""
        path, size, mtime, inode, checksum = as_row(data, 5)
        identity = FileIdentity(size_bytes=as_int(size), mtime_ns=int(as_str(mtime)), inode=as_int(inode))
        return cls(path=as_str(path), identity=identity, checksum=as_str(checksum))


class UndoPoint:
    """The undo point that a plan describes, on the host that has the machine."""

    def __init__(self, hypervisor: Host, plan: UndoPlan, *, clock: Clock) -> None:
        self._hypervisor = hypervisor
        self._plan = plan
        self._clock = clock
        self._state = StateCopies(hypervisor, plan.machine, plan.state)

    # Questions

    @property
    def plan(self) -> UndoPlan:
        """The disks and files that the undo point covers."""
        return self._plan

    async def is_taken(self) -> bool:
        """Whether the machine stands on the overlays, or on any of them."""
        machine = await self._hypervisor.inventory.get(self._plan.machine)
        return bool(_paths(machine) & set(self._plan.overlays.values()))

    async def is_named(self) -> bool:
        """Whether any of the machine's definitions (live, persistent, saved) names an overlay."""
        machine = await self._hypervisor.inventory.get(self._plan.machine)
        values = {*_paths(machine), *values_in(await self._hypervisor.definitions.read(self._plan.machine))}
        with contextlib.suppress(WrongState):
            values |= values_in(await self._hypervisor.saved_states.definition(self._plan.machine))
        return any(names(values, overlay) for overlay in self._plan.overlays.values())

    async def is_held(self) -> bool:
        """Whether the way back was begun, and nobody else has been allowed to start the machine since."""
        return bool((await self._hypervisor.configurations.read(self._plan.machine)).extras.held_until)

    # Commands

    async def take(
        self,
        *,
        freeze_seconds: float,
        hook_seconds: float = 30.0,
        keep_memory: Callable[[], Awaitable[None]] | None = None,
        was_running: bool = False,
        say: Callable[[str], None] = _unheard,
        give_up: Callable[[], None] = _go_on,
    ) -> Consistency:
        """Put the overlays over the disks, all at once; a running guest is frozen meanwhile.

        ``keep_memory`` puts them over the disks of a running guest itself, at the moment of its memory.
        ``was_running``: the machine ran when the work on it began. Found paused, an attempt that a crash cut
        short has paused it, and it is resumed. ``say`` hears of a guest that cannot be frozen, or thawed;
        ``give_up`` is called between tries to thaw it, and raises to end them.
        """
        name = self._plan.machine
        machine = await self._hypervisor.inventory.get(name)
        if was_running and machine.state is MachineState.PAUSED:
            await self._hypervisor.lifecycle.resume(name)
            machine = await self._hypervisor.inventory.get(name)
        freeze = Freeze(self._hypervisor, name, self._clock, say=say, give_up=give_up)
        if machine.freezing_since:
            # A crash may have left it frozen, and a frozen guest helps nobody.
            await freeze.thaw()
        if await self.is_taken():
            await self._thaw_once(machine)
            # A crash may have come before the definition for the next start was written too.
            await self._hypervisor.undo_disks.add(name, self._plan.overlays)
            return _consistency(machine.state, frozen=False)
        await self._clear_leftovers()
        await self._state.keep()
        if machine.state is not MachineState.RUNNING:
            await self._hypervisor.undo_disks.add(name, self._plan.overlays)
            return _consistency(machine.state, frozen=False)
        if keep_memory is not None:
            await keep_memory()
            return _consistency(machine.state, frozen=False)
        async with freeze.held(freeze_seconds=freeze_seconds, hook_seconds=hook_seconds), self._still():
            await self._hypervisor.undo_disks.add(name, self._plan.overlays)
            frozen = freeze.is_held
        return _consistency(machine.state, frozen=frozen and not freeze.was_cut)

    async def merge(self, on_progress: OnProgress | None = None) -> None:
        """Write the overlays into their bases; a merge that has begun can only be finished.

        It is marked in the definition before its first byte; ``forget_merge`` takes the mark away. Raises
        ``MachineError`` where no definition names the overlays and no mark says that they were merged.
        """
        machine = await self._hypervisor.inventory.get(self._plan.machine)
        # A crash may have come when all was merged, and before the QEMU that merged it had ended.
        if machine.state is MachineState.MERGING_DRIVES or await self.is_named():
            await mark_merge(self._hypervisor, self._plan.machine, self._overlays)
            await self._hypervisor.undo_disks.merge(self._plan.machine, self._plan.bases, on_progress)
        elif self._overlays and not await self._is_marked():
            raise self._unnamed()
        if await self.is_named():
            raise MachineError(
                f"{self._plan.machine} still stands on its undo disks after they were merged.",
                machine=self._plan.machine,
                code=ErrorCode.E_UNEXPECTED,
                advice="Leave the overlay files where they are, and merge again.",
            )

    async def stand_down(self) -> None:
        """Make whoever starts the machine next start it on its bases, while it still runs on its undo disks.

        So nothing that starts machines which have stopped lets a half-done update run. Until it is released,
        the hook of libvirt's that comes with Innkeeper refuses to start it at all. Raises ``MachineError``
        where a merge has begun to write to the bases.
        """
        if await self._is_marked():
            raise half_merged(self._plan.machine)
        until = int(self._clock.now().timestamp() + _HELD_SECONDS)
        try:
            await self._note_held(until)
        except HypervisorError as error:
            # A job on the running machine, as a dump or a monitor that hangs: it can be turned off all the
            # same, and its definition written, and half an update is not left running for want of a note.
            if error.code is not ErrorCode.ERROR_BUSY:
                raise
        await self._hypervisor.undo_disks.stand_down(self._plan.machine, self._plan.bases)

    async def release(self) -> None:
        """Allow anybody to start the machine again."""
        if await self.is_held():
            await self._note_held(0)

    async def drop(self) -> None:
        """Return the machine to its bases: it is off or saved, or somebody has started it on them meanwhile.

        Raises ``MachineError`` where a merge has begun to write to them, and ``WrongState`` where it is on
        otherwise, or with UEFI variables or a TPM that are not those of its bases.
        """
        is_named = await self.is_named() or await self.is_held()
        if await self._is_marked():
            raise half_merged(self._plan.machine)
        # First: as long as an undo disk is named, whoever comes after a crash knows that this is not done.
        if is_named or not self._plan.state.note:
            await self._state.put_back()
        if is_named:
            await self._hypervisor.undo_disks.drop(self._plan.machine, self._plan.bases)

    async def delete_files(self) -> None:
        """Delete the overlays and the copies, which nothing names any more."""
        if await self.is_named():
            raise MachineError(
                f"{self._plan.machine} still stands on its undo disks, so they are not deleted.",
                machine=self._plan.machine,
                code=ErrorCode.ERROR_SHARING_VIOLATION,
                advice=f"Run: innkeeper machine undo {self._plan.machine} --merge (or --discard)",
            )
        for disk in self._plan.disks:
            try:
                await self._hypervisor.disks.delete_undo_disk(disk.overlay, disk.image)
            except DiskError as error:
                # Somebody's file, which the taking was refused for.
                if error.code is not ErrorCode.ERROR_ALREADY_EXISTS:
                    raise
        await self._state.delete()

    # The bases

    async def record(
        self, *, read_up_to_bytes: int, on_progress: OnProgress | None = None
    ) -> tuple[BaseRecord, ...]:
        """Write down what the bases are like; those of at most so many bytes are read whole.

        A base on the network is left out: nobody but its machine's QEMU can look at it.
        """
        local = [disk for disk in self._plan.disks if not disk.is_remote]
        return tuple([await self._record(disk, read_up_to_bytes, on_progress) for disk in local])

    async def changed_bases(self, records: Sequence[BaseRecord]) -> tuple[str, ...]:
        """The bases that are not the files they were, by size, time of change and inode."""
        files = self._hypervisor.files
        return tuple([r.path for r in records if await files.identity(r.path) != r.identity])

    async def checksums(
        self, records: Sequence[BaseRecord], on_progress: OnProgress | None = None
    ) -> Mapping[str, str]:
        """The digests now, of the bases that were read when they were recorded."""
        files = self._hypervisor.files
        return {r.path: await files.checksum(r.path, on_progress) for r in records if r.checksum}

    # Machinery

    @property
    def _overlays(self) -> list[str]:
        return [*self._plan.overlays.values()]

    async def _is_marked(self) -> bool:
        return await is_merge_marked(self._hypervisor, self._plan.machine, self._overlays)

    def _unnamed(self) -> MachineError:
        """That no definition names an overlay proves nothing: somebody may have written it anew."""
        return unnamed_undo_disks(self._plan.machine, self._overlays)

    async def _record(
        self, disk: UndoDisk, read_up_to_bytes: int, on_progress: OnProgress | None
    ) -> BaseRecord:
        identity = await self._hypervisor.files.identity(disk.image)
        if identity is None:
            raise MachineError(
                f"The disk {disk.target} of {self._plan.machine} has lost its image {disk.image}.",
                machine=self._plan.machine,
                code=ErrorCode.VM_E_PARENT_PATH_NOT_FOUND,
                advice="Put it back.",
            )
        read = identity.size_bytes <= read_up_to_bytes
        checksum = await checksum_if_readable(self._hypervisor.files, disk.image, on_progress) if read else ""
        return BaseRecord(path=disk.image, identity=identity, checksum=checksum)

    async def _thaw_once(self, machine: Machine) -> None:
        """Thaw what a release before has left frozen, which noted nothing."""
        if machine.state is MachineState.RUNNING and machine.has_guest_agent_port:
            # Without an agent to ask there was none to freeze it either.
            with contextlib.suppress(AgentError):
                await self._hypervisor.guest_agents.thaw(machine.name)

    async def _note_held(self, until: int) -> None:
        change = MetadataChanged(extras={"held_until": until})
        await self._hypervisor.configurations.change(self._plan.machine, change, Scope.PERSISTENT)

    async def _clear_leftovers(self) -> None:
        """Delete what a crash left of an earlier attempt: overlays that no definition names.

        Raises ``DiskError`` where a file in their place is anything else.
        """
        if not await self.is_named():
            for disk in self._plan.disks:
                await self._hypervisor.disks.delete_undo_disk(disk.overlay, disk.image)

    @contextlib.asynccontextmanager
    async def _still(self) -> AsyncIterator[None]:
        """Hold a running machine still for a moment, so that disks and state files are of one instant."""
        if not self._plan.state.files:
            yield
            return
        await self._hypervisor.lifecycle.pause(self._plan.machine)
        try:
            # They were kept a moment ago: mostly there is nothing to copy any more.
            await self._state.keep()
            yield
        finally:
            await asyncio.shield(self._hypervisor.lifecycle.resume(self._plan.machine))


async def checksum_if_readable(files: ImageFiles, path: str, on_progress: OnProgress | None = None) -> str:
    """The digest of a file; empty where only libvirt may read it: its identity has to do then."""
    try:
        return await files.checksum(path, on_progress)
    except DiskError as error:
        if error.code is not ErrorCode.E_ACCESSDENIED:
            raise
        return ""


def _undo_disk(data: Json) -> UndoDisk:
    target, base, overlay = map(as_str, as_row(data, 3))
    return UndoDisk(target=target, base=base, overlay=overlay)


def _on_storage(disk: UndoDisk, storages: JsonObject) -> UndoDisk:
    if disk.target not in storages:
        return disk
    kind, resolved = get(storages, disk.target, lambda row: tuple(map(as_str, as_row(row, 2))))
    return dataclasses.replace(disk, kind=DiskKind(kind), resolved=resolved)


def _paths(machine: Machine) -> set[str]:
    return {disk.path for disk in machine.disks}


def _consistency(state: MachineState, *, frozen: bool) -> Consistency:
    if state is MachineState.SAVED:
        return Consistency.SAVED
    if state is MachineState.RUNNING:
        return Consistency.FROZEN if frozen else Consistency.CRASH
    return Consistency.OFF
