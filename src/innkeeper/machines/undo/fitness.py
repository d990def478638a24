"""Checks whether an undo point can be taken of a machine, and its plan; nothing is touched."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import PurePath

from innkeeper.errors import (
    DiskError,
    ErrorCode,
    InnkeeperError,
    MachineError,
    MachineUnfit,
    NotSupported,
)
from innkeeper.machines.machine import Disk, DiskKind, Machine, MachineState
from innkeeper.machines.ports.host import Host
from innkeeper.machines.undo.children import Users, not_looked_for, refuse_children
from innkeeper.machines.undo.exclusion import leave_out, or_leave_out, written_disks
from innkeeper.machines.undo.next_start import refuse_another_next_start
from innkeeper.machines.undo.overlay_names import MARK, run_of
from innkeeper.machines.undo.placing import PlacedDisk, place, refuse_lack_of_room
from innkeeper.machines.undo.point import UndoDisk, UndoPlan
from innkeeper.machines.undo.refusals import refuse_files_in_place, refuse_unfit_folder, refuse_unfit_image
from innkeeper.machines.undo.saved_memory import refuse_other_disks
from innkeeper.machines.undo.state_copies import StatePlan, plan_state


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class UndoRules:
    """Limits of undo points."""

    #: Room an overlay must find: this share of the disk's virtual size, or ``reserve_bytes`` where
    #: that is less.
    reserve_share: float = 0.1
    #: The most room that is asked for an overlay.
    reserve_bytes: int = 2 << 30
    #: The folder for undo disks of disks that lie in no folder of the host (block devices, network disks);
    #: QEMU must be allowed to write there. Left out: `/var/lib/libvirt/images` of the system's libvirt,
    #: `~/.local/share/libvirt/images` of a user's, or a folder of the service's own.
    undo_directory: str = ""
    #: Backing files that are no surprise under a machine's disk: paths or globs. Kept for settings of former
    #: releases: no backing file is refused any more, for none is written to.
    known_parents: tuple[str, ...] = ()
    #: Maintain machines with a TPM also where its state cannot be part of the undo point.
    leave_tpm_out: bool = False
    #: Bases up to this size are read whole, to prove that a roll back left them as they were; 0 for none.
    checksum_max_bytes: int = 4 << 30
    #: The longest a guest's file systems stay frozen; the host thaws them then.
    freeze_seconds: float = 10.0
    #: How long the freeze hooks of a guest may take (`/etc/qemu/fsfreeze-hook.d`). After that its disks are
    #: taken without a freeze, as soon as the guest says that it is thawed.
    hook_seconds: float = 30.0


def is_undo_disk(path: str) -> bool:
    """Whether a file is an overlay of an undo point, by its name."""
    return run_of(path) is not None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Obstacle:
    """One reason why a machine gets no undo point."""

    #: The disk that it is about; empty where it is about the machine.
    target: str
    #: The sentence, its documented identifier, and the way out.
    error: InnkeeperError


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Examination:
    """What an undo point would cover, and everything that is in its way."""

    plan: UndoPlan
    #: What a run would be refused for comes first.
    obstacles: tuple[Obstacle, ...]
    #: What could not be looked at, a sentence each.
    unseen: tuple[str, ...] = ()

    def refuse(self) -> None:
        """Raises the first obstacle's error, where there is one."""
        for obstacle in self.obstacles:
            raise obstacle.error


class _Obstacles:
    """Gathers refusals instead of stopping at the first."""

    def __init__(self) -> None:
        self.found: list[Obstacle] = []

    @contextlib.contextmanager
    def of(self, target: str = "") -> Iterator[None]:
        """Note the refusal within; a host that does not answer is none."""
        try:
            yield
        except (MachineError, DiskError, NotSupported) as error:
            self.found.append(Obstacle(target=target, error=error))

    def clear_of(self, disks: Iterable[Disk]) -> list[Disk]:
        """The disks that nothing is in the way of."""
        refused = {each.target for each in self.found}
        return [disk for disk in disks if disk.target not in refused]


async def plan_undo_point(
    hypervisor: Host, machine: Machine, run: int, rules: UndoRules, others: Iterable[Host] = ()
) -> UndoPlan:
    """Plan the undo point of a run. Raises ``MachineUnfit`` or ``MachineError`` naming what is in the way.

    Machines of ``others``, the service's other hosts, may stand on its disks too.
    """
    found = await examine(hypervisor, machine, run, rules, others)
    found.refuse()
    return found.plan


async def examine(
    hypervisor: Host,
    machine: Machine,
    run: int,
    rules: UndoRules,
    others: Iterable[Host] = (),
    known: Users | None = None,
) -> Examination:
    """Look for everything that is in the way of an undo point, touching nothing.

    ``known``: who stands on images, where that has been looked at for many machines at once.
    """
    obstacles = _Obstacles()
    with obstacles.of():
        _refuse_devices(machine)
    with obstacles.of():
        await refuse_another_next_start(hypervisor, machine)
    written = written_disks(machine)
    disks = [disk for disk in written if disk.target not in machine.undo_exclude]
    with obstacles.of():
        _refuse_nothing_left(machine, written, disks)
    with obstacles.of():
        await refuse_other_disks(hypervisor, machine)
    placed: list[PlacedDisk] = []
    unseen: dict[str, None] = {}
    for disk in disks:
        with obstacles.of(disk.target):
            _refuse_disk(machine, disk)
            await refuse_unfit_image(hypervisor, machine, disk, disk.path, disk.kind)
            found = await place(hypervisor, machine, disk, rules.undo_directory)
            await _refuse_undo_disks(hypervisor, machine, found)
            if disk.kind is DiskKind.VOLUME:
                await refuse_unfit_image(
                    hypervisor, machine, disk, found.storage.path, found.storage.kind, found.directory
                )
            overlay = found.planned(machine, run).overlay
            await refuse_unfit_folder(hypervisor, machine, disk, overlay)
            await refuse_files_in_place(hypervisor, machine, [overlay])
            image = found.storage.path or found.storage.source
            bases = {disk.target: image}
            unseen |= dict.fromkeys(
                await refuse_children(hypervisor, machine.name, bases, others, known or Users())
            )
            unseen |= dict.fromkeys(await not_looked_for(hypervisor, machine.name, image))
            placed.append(found)
    with obstacles.of():
        await refuse_lack_of_room(hypervisor, machine, placed, rules.reserve_share, rules.reserve_bytes)
    planned = tuple(each.planned(machine, run) for each in placed)
    state = StatePlan()
    with obstacles.of():
        state = await _plan_state(hypervisor, machine, planned, run, rules)
        await refuse_files_in_place(hypervisor, machine, state.paths)
    plan = UndoPlan(
        machine=machine.name,
        disks=planned,
        state=state,
        excluded=tuple(disk.target for disk in written if disk.target in machine.undo_exclude),
        host_storage=machine.host_storage,
    )
    return Examination(plan=plan, obstacles=tuple(obstacles.found), unseen=tuple(unseen))


def _refuse_nothing_left(machine: Machine, written: list[Disk], disks: list[Disk]) -> None:
    if written and not disks:
        raise MachineUnfit(
            f"All disks of {machine.title} are left out of undo points, so nothing could be rolled back.",
            machine=machine.title,
            way_out=f"innkeeper machine set {machine.title} --undo-exclude ''",
        )


async def _plan_state(
    hypervisor: Host, machine: Machine, disks: Sequence[UndoDisk], run: int, rules: UndoRules
) -> StatePlan:
    paths = await hypervisor.state_files.find(machine.name, leave_tpm_out=rules.leave_tpm_out)
    beside = disks[0].overlay if disks else next(iter(paths), "")
    return plan_state(paths, machine.name, run, str(PurePath(beside).parent))


def _refuse_devices(machine: Machine) -> None:
    if machine.passthrough and machine.state is MachineState.PAUSED:
        raise MachineUnfit(
            f"{machine.title} is paused and has the host's {machine.passthrough[0]}: it cannot be saved.",
            machine=machine.title,
            code=ErrorCode.VM_E_UNSUPPORTED_HARDWARE,
            advice="Resume it or shut it down before its window.",
        )


#: Protocols by which QEMU can only read.
_ONLY_READ = ("http:", "https:", "ftp:", "ftps:", "tftp:")
#: What is wrong with a disk, and what to do about it; the first that holds is said.
_FAULTS: tuple[tuple[Callable[[Disk], bool], str, str], ...] = (
    (
        lambda disk: disk.device == "lun",
        "is the host's SCSI device {path}, passed through: the guest's own commands go past an undo disk",
        "Give it to the machine as a plain disk: device='disk' instead of 'lun'.",
    ),
    (
        lambda disk: disk.shared,
        "is shared with other machines, which would not see the undo disk",
        "Stop sharing {path}.",
    ),
    (
        lambda disk: disk.transient,
        "is declared transient, and would lose the update at the next power-off",
        "Remove <transient/> from its definition.",
    ),
    (
        lambda disk: disk.sliced,
        "is a slice of {path}, which no undo disk can be put over",
        "Copy the slice into an image file of its own.",
    ),
    (
        lambda disk: disk.kind is DiskKind.NETWORK and disk.path.startswith(_ONLY_READ),
        "is read from {path}, which takes no writes: an undo disk could not be kept",
        "Declare it read-only (<readonly/>), or copy it into an image.",
    ),
    (
        lambda disk: disk.kind is DiskKind.OTHER or not disk.path,
        "is of a kind that Innkeeper does not know",
        "Move the disk to an image file.",
    ),
)


def _refuse_disk(machine: Machine, disk: Disk) -> None:
    for is_so, sentence, advice in _FAULTS:
        if is_so(disk):
            raise MachineUnfit(
                f"The disk {disk.target} of {machine.name} {sentence.format(path=disk.path)}.",
                machine=machine.title,
                advice=f"{advice.format(path=disk.path)} {or_leave_out(machine, disk)}".rstrip(),
                way_out=leave_out(machine, disk),
            )


async def _refuse_undo_disks(host: Host, machine: Machine, placed: PlacedDisk) -> None:
    disk = placed.disk
    for path in (disk.path, *placed.storage.chain):
        if run_of(path) is not None:
            undo = f"innkeeper machine undo {machine.title}"
            advice = f"Turn it off, and run: {undo} --merge (or --discard)"
            if await _has_memory(host, machine, path):
                advice = (
                    f"Go back to the running moment: {undo} --to-running. Or turn it off, and run: {undo} "
                    "--merge (or --discard)"
                )
            raise MachineError(
                f"The disk {disk.target} of {machine.title} still has the undo disk {path}.",
                machine=machine.title,
                code=ErrorCode.VM_E_DRIVE_IN_USE,
                advice=advice,
            )


async def _has_memory(host: Host, machine: Machine, overlay: str) -> bool:
    """Whether the note of memory that was kept lies beside an undo disk."""
    note = PurePath(overlay).with_name(f"{machine.name}.memory-note{MARK}{run_of(overlay)}")
    with contextlib.suppress(DiskError, NotSupported):
        return await host.files.identity(str(note)) is not None
    return False
