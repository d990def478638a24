"""Checks whether an undo point can be taken of a machine, and its plan; nothing is touched."""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
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
from innkeeper.machines.undo.children import refuse_children
from innkeeper.machines.undo.exclusion import leave_out, or_leave_out, written_disks
from innkeeper.machines.undo.overlay_names import MARK, run_of
from innkeeper.machines.undo.point import UndoDisk, UndoPlan
from innkeeper.machines.undo.state_copies import StatePlan, plan_state


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class UndoRules:
    """Limits of undo points."""

    #: Room an overlay must find: this share of the disk's virtual size, or ``reserve_bytes`` where
    #: that is less.
    reserve_share: float = 0.1
    #: The most room that is asked for an overlay.
    reserve_bytes: int = 2 << 30
    #: Backing files that are no surprise under a machine's disk: paths or globs.
    known_parents: tuple[str, ...] = ()
    #: Maintain machines with a TPM also where its state cannot be part of the undo point.
    leave_tpm_out: bool = False
    #: Bases up to this size are read whole, to prove that a roll back left them as they were; 0 for none.
    checksum_max_bytes: int = 4 << 30
    #: The longest a guest's file systems stay frozen; the host thaws them then.
    freeze_seconds: float = 10.0


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
    hypervisor: Host, machine: Machine, run: int, rules: UndoRules, others: Iterable[Host] = ()
) -> Examination:
    """Look for everything that is in the way of an undo point, touching nothing."""
    obstacles = _Obstacles()
    with obstacles.of():
        _refuse_devices(machine)
    written = written_disks(machine)
    disks = [disk for disk in written if disk.target not in machine.undo_exclude]
    with obstacles.of():
        _refuse_nothing_left(machine, written, disks)
    for disk in disks:
        with obstacles.of(disk.target):
            _refuse_disk(machine, disk)
            await _refuse_chain(hypervisor, machine, disk, run, rules)
            await refuse_children(hypervisor, machine.name, {disk.target: disk.path}, others)
    covered = obstacles.clear_of(disks)
    with obstacles.of():
        await _refuse_lack_of_room(hypervisor, machine, covered, rules)
    planned = tuple(_plan_disk(machine, disk, run) for disk in covered)
    state = StatePlan()
    with obstacles.of():
        state = await _plan_state(hypervisor, machine, planned, run, rules)
    plan = UndoPlan(
        machine=machine.name,
        disks=planned,
        state=state,
        excluded=tuple(disk.target for disk in written if disk.target in machine.undo_exclude),
    )
    return Examination(plan=plan, obstacles=tuple(obstacles.found))


def _plan_disk(machine: Machine, disk: Disk, run: int) -> UndoDisk:
    directory = PurePath(disk.path).parent
    overlay = directory / f"{machine.name}.{disk.target}{MARK}{run}.qcow2"
    return UndoDisk(target=disk.target, base=disk.path, overlay=str(overlay))


def _refuse_nothing_left(machine: Machine, written: list[Disk], disks: list[Disk]) -> None:
    if written and not disks:
        raise MachineUnfit(
            f"All disks of {machine.name} are left out of undo points, so nothing could be rolled back.",
            machine=machine.name,
            way_out=f"innkeeper machine set {machine.name} --undo-exclude ''",
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
            f"{machine.name} is paused and has the host's {machine.passthrough[0]}: it cannot be saved.",
            machine=machine.name,
            code=ErrorCode.VM_E_UNSUPPORTED_HARDWARE,
            advice="Resume it or shut it down before its window.",
        )


#: What is wrong with a disk, and what to do about it; the first that holds is said.
_FAULTS: tuple[tuple[Callable[[Disk], bool], str, str], ...] = (
    (
        lambda disk: disk.device == "lun" or disk.kind is DiskKind.BLOCK,
        "is the host's block device {path}, passed through: what is written to it cannot be undone",
        "Move the disk to an image file.",
    ),
    (
        lambda disk: disk.shared,
        "is shared with other machines, which would not see the undo disk",
        "Stop sharing {path}, or leave the machine out.",
    ),
    (
        lambda disk: disk.transient,
        "is declared transient, and would lose the update at the next power-off",
        "Remove <transient/> from its definition.",
    ),
    (
        lambda disk: disk.encrypted,
        "is encrypted: an undo disk would keep what is written to it in the clear",
        "Encrypt inside the guest, or the host's storage below {path}, instead of the image.",
    ),
    (
        lambda disk: disk.sliced,
        "is a slice of {path}, which no undo disk can be put over",
        "Copy the slice into an image file of its own.",
    ),
    (
        lambda disk: disk.kind is DiskKind.NETWORK,
        "is a network disk ({path}), which no undo disk can be put over yet",
        "Move the disk to an image file of the host.",
    ),
    (
        lambda disk: disk.kind is DiskKind.VOLUME,
        "is a volume of a storage pool that is not resolved to a file",
        "Name the volume's file in the definition.",
    ),
    (
        lambda disk: disk.kind is not DiskKind.FILE or not disk.path,
        "is of a kind that Innkeeper does not know",
        "Move the disk to an image file.",
    ),
)


def _refuse_disk(machine: Machine, disk: Disk) -> None:
    for is_so, sentence, advice in _FAULTS:
        if is_so(disk):
            raise MachineUnfit(
                f"The disk {disk.target} of {machine.name} {sentence.format(path=disk.path)}.",
                machine=machine.name,
                advice=f"{advice.format(path=disk.path)} {or_leave_out(machine, disk)}".rstrip(),
                way_out=leave_out(machine, disk),
            )


async def _refuse_chain(hypervisor: Host, machine: Machine, disk: Disk, run: int, rules: UndoRules) -> None:
    chain = await hypervisor.disks.backing_chain(disk.path)
    for path in chain:
        if run_of(path) is not None:
            raise MachineError(
                f"The disk {disk.target} of {machine.name} still has the undo disk {path}.",
                machine=machine.name,
                code=ErrorCode.VM_E_DRIVE_IN_USE,
                advice=f"Turn it off, and run: innkeeper machine undo {machine.name} --merge (or --discard)",
            )
    for parent in chain[1:]:
        if parent in machine.known_parents:
            continue
        if not any(fnmatch.fnmatchcase(parent, known) for known in rules.known_parents):
            raise MachineUnfit(
                f"The disk {disk.target} of {machine.name} stands on {parent}, "
                "which Innkeeper did not put there.",
                machine=machine.name,
                advice="Declare the file in known_parents, or flatten the image.",
            )


async def _refuse_lack_of_room(
    hypervisor: Host, machine: Machine, disks: list[Disk], rules: UndoRules
) -> None:
    needed: dict[str, int] = {}
    for disk in disks:
        directory = str(PurePath(disk.path).parent)
        size = await hypervisor.files.virtual_size(disk.path, disk.format)
        reserve = min(int(size * rules.reserve_share), rules.reserve_bytes)
        needed[directory] = needed.get(directory, 0) + reserve
        free = await hypervisor.disks.free_bytes(directory)
        if free < needed[directory]:
            raise MachineError(
                f"There is no room for the undo disk of {disk.target} of {machine.name}: {directory} has "
                f"{free} bytes free, and {needed[directory]} are asked for.",
                machine=machine.name,
                code=ErrorCode.ERROR_DISK_FULL,
                advice="Free some room, or lower the reserve.",
            )
