"""The memory of an undo point: planned, kept with the disks at one moment, checked, and gone back to."""

from __future__ import annotations

import dataclasses
import enum
import json
from collections.abc import Sequence
from pathlib import PurePath
from typing import Final

from innkeeper.errors import ErrorCode, HypervisorError, InnkeeperError, MachineError, MachineUnfit
from innkeeper.machines.machine import Disk, DiskKind, Machine, MachineState
from innkeeper.machines.ports.host import Host
from innkeeper.machines.ports.memory_points import Hardware, MemoryFile, MemoryLimits
from innkeeper.machines.ports.progress import OnProgress
from innkeeper.machines.undo.fitness import UndoRules
from innkeeper.machines.undo.overlay_names import MARK, beside
from innkeeper.machines.undo.point import BaseRecord, Consistency, UndoPlan, UndoPoint, checksum_if_readable
from innkeeper.machines.undo.refusals import in_place, is_beginning, refuse_files_in_place
from innkeeper.tasks.ports import Clock
from innkeeper.wire.events import Json
from innkeeper.wire.json_fields import (
    as_object,
    get,
    get_bool,
    get_float,
    get_int,
    get_list,
    get_str,
    refuse_newer,
)

#: The version of what is kept of it. See docs/decisions/0043-journals-are-versioned.md before it changes.
_VERSION: Final = 1
#: How its note begins, whole or cut short.
_NOTE_BEGINS: Final = '{"plan": {'
#: Hypervisors write memory no faster than so many bytes a second, and take so long beside the writing.
_HYPERVISOR_SPEED: Final = 500e6
_STOP_SECONDS: Final = 0.3
#: While the guest runs on, memory that it writes meanwhile is written again: so many times its size at most.
_LIVE_SIZES: Final = 3
#: How long keeping the memory of a guest that runs on may take, in seconds.
_LIVE_SECONDS: Final = 300.0


class WithoutMemory(enum.StrEnum):
    """What is done where memory was asked for and cannot be kept."""

    #: An undo point of the disks alone: a roll back boots the machine.
    DISKS = "disks"
    #: Nothing: the machine is left alone.
    REFUSE = "refuse"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MemoryRules:
    """How the memory of undo points is kept, where it is (`undo_point = "memory"`)."""

    #: Let the guest run while its memory is kept: a shorter pause, a longer call, and a file of up to three
    #: times its memory. Otherwise it stands still until the file is written.
    live: bool = False
    #: The longest that a guest may stand still for it, predicted from its memory and the speed of
    #: the disk, and given up after. Without effect where `live` is set.
    longest_pause_seconds: float = 30.0
    #: Where memory cannot be kept: an undo point of the disks alone (`disks`), or none (`refuse`).
    otherwise: WithoutMemory = WithoutMemory.DISKS


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MemoryPlan:
    """Where a machine's memory goes, and what it takes; decided before anything is touched."""

    machine: str
    path: str
    #: The most that the file may take.
    most_bytes: int
    #: How long the guest will stand still at most, by the speed of the disk.
    pause_seconds: float
    #: Where taking it is given up.
    limit_seconds: float
    live: bool
    hardware: Hardware

    @property
    def note(self) -> str:
        """The file that says what was kept, for whoever has no journal of it."""
        head, _, run = self.path.rpartition(MARK)
        return f"{head}-note{MARK}{run}"

    @property
    def words(self) -> str:
        """What is to come, in a sentence."""
        if self.live:
            return "Its memory is kept while it runs; a roll back goes back to the running moment."
        return (
            f"The guest will stand still for about {self.pause_seconds:.1f} seconds while its memory is "
            "kept; a roll back goes back to the running moment."
        )

    def to_json(self) -> Json:
        """For the journal."""
        return {
            "version": _VERSION,
            "machine": self.machine,
            "path": self.path,
            "most_bytes": self.most_bytes,
            "pause_seconds": self.pause_seconds,
            "limit_seconds": self.limit_seconds,
            "live": self.live,
            "hypervisor": self.hardware.hypervisor,
            "machine_type": self.hardware.machine_type,
            "processor": self.hardware.processor,
        }

    @classmethod
    def from_json(cls, data: Json) -> MemoryPlan:
        """From the journal. Raises ``JsonError``."""
        fields = as_object(data)
        refuse_newer(fields, _VERSION)
        return cls(
            machine=get_str(fields, "machine"),
            path=get_str(fields, "path"),
            most_bytes=get_int(fields, "most_bytes"),
            pause_seconds=get_float(fields, "pause_seconds"),
            limit_seconds=get_float(fields, "limit_seconds"),
            live=get_bool(fields, "live"),
            hardware=Hardware(
                hypervisor=get_str(fields, "hypervisor"),
                machine_type=get_str(fields, "machine_type"),
                processor=get_str(fields, "processor"),
            ),
        )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MemoryRecord:
    """The memory that was kept, so that no other is gone back to."""

    #: The file: its length, time and inode, and its digest where the service may read it.
    file: BaseRecord
    #: How long keeping it took, which is how long the guest stood still, unless it ran on; 0 where a crash
    #: of the service came between.
    seconds: float
    #: What its disks were like then, with digests where they were read; empty in records of earlier releases.
    bases: tuple[BaseRecord, ...] = ()

    @property
    def words(self) -> str:
        """How much it is, and how long it took, for a person."""
        took = f", kept in {self.seconds:.1f} seconds" if self.seconds else ""
        return f"{self.file.identity.size_bytes / (1 << 20):.1f} MiB of memory{took}"

    def to_json(self) -> Json:
        """For the journal."""
        return {
            "version": _VERSION,
            "file": self.file.to_json(),
            "seconds": self.seconds,
            "bases": [base.to_json() for base in self.bases],
        }

    @classmethod
    def from_json(cls, data: Json) -> MemoryRecord:
        """From the journal. Raises ``JsonError``."""
        fields = as_object(data)
        refuse_newer(fields, _VERSION)
        return cls(
            file=get(fields, "file", BaseRecord.from_json),
            seconds=get_float(fields, "seconds"),
            bases=get_list(fields, "bases", BaseRecord.from_json) if "bases" in fields else (),
        )


async def plan_memory(
    host: Host, machine: Machine, plan: UndoPlan, run: int, rules: MemoryRules, undo: UndoRules
) -> MemoryPlan:
    """Plan to keep the memory of a running machine.

    Raises ``MachineUnfit`` or ``MachineError`` naming what is in the way. Nothing is touched, but for a short
    trial of how fast the folder's disk is.
    """
    outlook = await host.memory_points.outlook(machine.name)
    if outlook.obstacle:
        raise _unfit(machine, outlook.obstacle, ErrorCode.VM_E_UNSUPPORTED_HARDWARE)
    left_out = [
        disk.target for disk in machine.disks if _keeps_writes(disk) and disk.target not in plan.overlays
    ]
    if left_out:
        # Memory must never meet a disk that was written since.
        obstacle = f"no undo disk covers {', '.join(left_out)}, which would have changed under its memory"
        raise _unfit(machine, obstacle, ErrorCode.VM_E_UNSUPPORTED_HD_DISK_TYPE)
    if not plan.disks:
        raise _unfit(machine, "it has no disk to lie beside", ErrorCode.VM_E_UNSUPPORTED_HD_DISK_TYPE)
    directory = str(PurePath(plan.disks[0].overlay).parent)
    most = outlook.most_bytes * (_LIVE_SIZES if rules.live else 1)
    await _refuse_lack_of_room(host, machine, plan, directory, most, undo)
    speed = min(await host.memory_points.write_speed(directory), _HYPERVISOR_SPEED)
    pause = _STOP_SECONDS + outlook.most_bytes / speed
    if not rules.live and pause > rules.longest_pause_seconds:
        raise MachineError(
            f"{machine.title} cannot go back to the running moment: it would stand still for up to "
            f"{pause:.1f} seconds while its memory is kept, and {rules.longest_pause_seconds:g} are allowed.",
            machine=machine.title,
            code=ErrorCode.VM_E_TIMED_OUT,
            advice="Raise longest_pause_seconds or set live = true in [policy.memory], or do without memory: "
            f"innkeeper machine set {machine.title} --undo-point live",
            way_out=f"innkeeper machine set {machine.title} --undo-point live",
        )
    planned = MemoryPlan(
        machine=machine.name,
        path=f"{directory}/{machine.name}.memory{MARK}{run}",
        most_bytes=most,
        pause_seconds=0.0 if rules.live else pause,
        limit_seconds=_LIVE_SECONDS if rules.live else rules.longest_pause_seconds,
        live=rules.live,
        hardware=outlook.hardware,
    )
    await refuse_files_in_place(host, machine, (planned.path, planned.note))
    return planned


class MemoryPoint:
    """The memory of one undo point, on the host that has the machine."""

    def __init__(self, host: Host, plan: MemoryPlan, *, clock: Clock) -> None:
        self._host = host
        self._plan = plan
        self._clock = clock

    @property
    def plan(self) -> MemoryPlan:
        """Where the memory goes, and what it takes."""
        return self._plan

    async def take(
        self, undo: UndoPoint, on_progress: OnProgress | None = None
    ) -> tuple[Consistency, MemoryRecord | None]:
        """Keep memory and disks at one moment; done again after a crash, it goes on with what is there.

        Without a record the disks are protected, and their memory is lost: the machine went off meanwhile.
        Raises where neither was taken.
        """
        if await undo.is_taken():
            return await undo.take(freeze_seconds=0, was_running=True), await self._adopt(undo)
        seconds = [0.0]

        async def keep() -> None:
            asked = self._clock.monotonic()
            await self._host.memory_points.take(
                self._plan.machine,
                self._plan.path,
                undo.plan.overlays,
                live=self._plan.live,
                limits=MemoryLimits(most_bytes=self._plan.most_bytes, most_seconds=self._plan.limit_seconds),
                on_progress=on_progress,
            )
            seconds[0] = self._clock.monotonic() - asked

        await self._clear_leftovers()
        consistency = await undo.take(freeze_seconds=0, keep_memory=keep, was_running=True)
        return consistency, await self._record(undo, seconds[0])

    async def why_not(self, record: MemoryRecord) -> str:
        """Why the memory may not be gone back to, as a sentence; empty where it may."""
        files, known = self._host.files, record.file
        now = await files.identity(known.path)
        if now is None:
            return f"The memory in {known.path} is gone."
        if now.size_bytes != known.identity.size_bytes:
            return f"The memory has {now.size_bytes:,} bytes, and {known.identity.size_bytes:,} were kept."
        if known.checksum:
            if await files.checksum(known.path) != known.checksum:
                return "The memory is not what was kept: its digest is another one."
        elif now != known.identity:
            return "The memory was written to since it was kept."
        hardware = (await self._host.memory_points.outlook(self._plan.machine)).hardware
        return _changed(self._plan.hardware, hardware)

    async def note_bases(self, record: MemoryRecord, read: Sequence[BaseRecord]) -> None:
        """Write down the digests of its disks too, which were read meanwhile; for whoever has no journal."""
        digests = {(base.path, base.identity): base.checksum for base in read}
        bases = tuple(
            dataclasses.replace(base, checksum=digests.get((base.path, base.identity), ""))
            for base in record.bases
        )
        await self._write_note(dataclasses.replace(record, bases=bases))

    async def changed_bases(self, record: MemoryRecord) -> list[str]:
        """The disks that are not what they were: by content where they were read, or else by identity."""
        return [base.path for base in record.bases if await self._is_changed(base)]

    async def restore(self, on_progress: OnProgress | None = None) -> str:
        """Start the machine from its memory, paused, on its own disks; returns why that failed, or nothing.

        What an earlier try has left paused is turned off first: it has not run.
        """
        name = self._plan.machine
        state = (await self._host.inventory.get(name)).state
        if state is MachineState.RUNNING:
            return "Somebody has started the machine meanwhile."
        if state not in (MachineState.TURNED_OFF, MachineState.SAVED):
            await self._host.lifecycle.turn_off(name)
        try:
            await self._host.memory_points.restore(name, self._plan.path, on_progress)
        except InnkeeperError as error:
            if isinstance(error, HypervisorError) and error.code is ErrorCode.ERROR_ONLY_IF_CONNECTED:
                raise
            await self._host.lifecycle.turn_off(name)
            return f"The host does not take the memory: {error.sentence}"
        return ""

    async def delete(self) -> None:
        """Delete the file, which holds what was in the guest's memory. Does nothing where it is gone."""
        await self._host.disks.delete(self._plan.path)
        await self._host.disks.delete(self._plan.note)

    # Machinery

    async def _clear_leftovers(self) -> None:
        """Delete what a crash left of an earlier attempt. Raises ``MachineError`` for anybody else's file."""
        if await self._host.memory_points.state(self._plan.path) is MemoryFile.FOREIGN:
            raise in_place(self._plan.machine, self._plan.path)
        if not is_beginning(await self._host.state_files.read_note(self._plan.note), _NOTE_BEGINS):
            raise in_place(self._plan.machine, self._plan.note)
        await self.delete()

    async def _is_changed(self, base: BaseRecord) -> bool:
        now = await self._host.files.identity(base.path)
        if now is None or not base.checksum:
            return now != base.identity
        return await self._host.files.checksum(base.path) != base.checksum

    async def _adopt(self, undo: UndoPoint) -> MemoryRecord | None:
        """What a crash of the service has left; of a machine that died with the host it may be cut short."""
        machine = await self._host.inventory.get(self._plan.machine)
        if machine.state is MachineState.RUNNING:
            return await self._record(undo, 0.0)
        await self.delete()
        return None

    async def _record(self, undo: UndoPoint, seconds: float) -> MemoryRecord | None:
        path = self._plan.path
        identity = await self._host.files.identity(path)
        if identity is None or await self._host.memory_points.state(path) is not MemoryFile.WHOLE:
            await self.delete()
            return None
        checksum = await checksum_if_readable(self._host.files, path)
        file = BaseRecord(path=path, identity=identity, checksum=checksum)
        bases = await undo.record(read_up_to_bytes=0)
        record = MemoryRecord(file=file, seconds=seconds, bases=bases)
        await self._write_note(record)
        return record

    async def _write_note(self, record: MemoryRecord) -> None:
        note = json.dumps({"plan": self._plan.to_json(), "record": record.to_json()})
        await self._host.state_files.write_note(self._plan.note, note)


async def noted_memory(host: Host, overlay: str, *, clock: Clock) -> tuple[MemoryPoint, MemoryRecord] | None:
    """The memory that was kept with an undo disk, by the note beside it; ``None`` where none was.

    Its machine may have another name by now.
    """
    note = beside(overlay, "memory-note")
    try:
        fields = as_object(json.loads(await host.state_files.read_note(note)))
    except ValueError:
        return None
    plan, record = get(fields, "plan", MemoryPlan.from_json), get(fields, "record", MemoryRecord.from_json)
    return MemoryPoint(host, plan, clock=clock), record


def _changed(then: Hardware, now: Hardware) -> str:
    """What has changed on the host, so that the memory may not fit it."""
    for what, before, after in (
        ("hypervisor", then.hypervisor, now.hypervisor),
        ("machine type", then.machine_type, now.machine_type),
        ("host's processor", then.processor, now.processor),
    ):
        if before != after:
            return f"The {what} is another since the memory was kept ({before}, now {after})."
    return ""


async def _refuse_lack_of_room(
    host: Host, machine: Machine, plan: UndoPlan, directory: str, most: int, rules: UndoRules
) -> None:
    """The memory and the undo disks beside it must find room together."""
    beside = sum(str(PurePath(disk.overlay).parent) == directory for disk in plan.disks)
    sizes = [
        await host.files.virtual_size(disk.path, disk.format)
        for disk in machine.disks
        if disk.target in plan.overlays and disk.kind is DiskKind.FILE
    ]
    reserved = sum(
        min(int(size * rules.reserve_share), rules.reserve_bytes) for size in sorted(sizes)[-beside:]
    )
    free = await host.disks.free_bytes(directory)
    if free < most + reserved:
        raise MachineError(
            f"{machine.title} cannot go back to the running moment: its memory takes up to {most:,} bytes in "
            f"{directory}, beside {reserved:,} for its undo disks, and {free:,} are free.",
            machine=machine.title,
            code=ErrorCode.ERROR_DISK_FULL,
            advice="Free some room there.",
        )


def _keeps_writes(disk: Disk) -> bool:
    return disk.device in ("disk", "lun", "floppy") and not disk.read_only and bool(disk.path)


def _unfit(machine: Machine, obstacle: str, code: ErrorCode) -> MachineUnfit:
    return MachineUnfit(
        f"{machine.title} cannot go back to the running moment: {obstacle}.",
        machine=machine.title,
        code=code,
        advice=f"Give it an undo point of its disks alone: innkeeper machine set {machine.title} "
        "--undo-point live",
    )
