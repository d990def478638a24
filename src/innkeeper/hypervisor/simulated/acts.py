"""Do to a simulated machine what a host's calls do, and refuse what a host would refuse."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from innkeeper.errors import AgentError, DiskError, ErrorCode, HypervisorError, WrongState
from innkeeper.hypervisor.domain.fields import child, parse, written
from innkeeper.hypervisor.simulated import definition as fake_definition
from innkeeper.hypervisor.simulated import disks as fake_disks
from innkeeper.hypervisor.simulated.guests import Due
from innkeeper.hypervisor.simulated.machines import SimulatedMachine, with_paths
from innkeeper.machines.change import Change, DriveAdded
from innkeeper.machines.machine import Disk, MachineState


def need(machine: SimulatedMachine, command: str, allowed: bool) -> None:
    """Raises ``WrongState`` where the machine may not do this now."""
    if not allowed:
        raise WrongState.of(machine.name, machine.state, command)


def refuse_real_image(change: Change) -> None:
    """A simulated guest writes to its disks: never to an image that is somebody's."""
    if not isinstance(change, DriveAdded) or change.drive.device != "disk":
        return
    path = Path(change.drive.path)
    if (
        path.exists()
        and path.stat().st_size != fake_disks.DISK_BYTES
        and not fake_disks.is_overlay(str(path))
    ):
        raise DiskError(
            f"{path} is not a disk of a simulated machine.",
            path=str(path),
            code=ErrorCode.VM_E_INVALID_HD_FILE,
            advice=f"Simulated disks have {fake_disks.DISK_BYTES:,} bytes; create one with the machine.",
        )


def rename(machine: SimulatedMachine, new_name: str) -> None:
    """Rename a machine, in its definition too."""
    definition = fake_definition.write(machine, machine.disks)
    domain = parse(definition, "domain")
    child(domain, "name").text = new_name
    machine.name = new_name
    fake_definition.adopt(machine, written(domain))


def need_guest_agent(machine: SimulatedMachine) -> None:
    """Raises ``AgentError`` where no qemu-guest-agent would answer."""
    if not machine.has_guest_agent_port or machine.state is not MachineState.RUNNING:
        raise AgentError(
            f"No qemu-guest-agent answers in {machine.name}.",
            machine=machine.name,
            advice="Install qemu-guest-agent in the guest.",
        )


def need_freezing(machine: SimulatedMachine) -> None:
    """Raises ``AgentError`` where its qemu-guest-agent may neither freeze nor thaw."""
    if machine.forbids_freezing:
        raise AgentError(
            f"qemu-guest-agent in {machine.name} has this command disabled.", machine=machine.name
        )


def in_hook(machine: SimulatedMachine, now: float) -> bool:
    """Whether the agent is busy with a hook of a freeze; at its end it freezes what it was told to."""
    if not machine.hook_until:
        return False
    if now < machine.hook_until:
        return True
    machine.frozen, machine.hook_until = True, 0.0
    return False


def saved_definition(machine: SimulatedMachine, now: float) -> str:
    """The definition inside the saved state."""
    return fake_definition.write(machine, saved_disks(machine, now))


def saved_disks(machine: SimulatedMachine, now: float) -> list[Disk]:
    """The drives that the saved memory knows."""
    if machine.saved is None:
        raise WrongState.of(
            machine.name, machine.state, "show a saved state", code=ErrorCode.VM_E_VM_NO_SAVED_STATE
        )
    return machine.saved.disks


def pause(machine: SimulatedMachine, now: float) -> None:
    """Stop the machine's processors."""
    need(machine, "pause", machine.is_on)
    machine.pause(now)


def resume(machine: SimulatedMachine, now: float) -> None:
    """Start the machine's processors again."""
    need(machine, "resume", machine.is_on)
    machine.resume(now)


def ask(machine: SimulatedMachine, what: Due, now: float) -> None:
    """Ask the guest to go down or to reboot, once."""
    need(machine, what.replace("_", " "), machine.state is MachineState.RUNNING)
    guest = machine.guest()
    if not any(due[1] == what for due in guest.memory.due):
        guest.schedule(now + guest.pace.shut_down, what)


def back_up(machine: SimulatedMachine, checkpoint: str, seconds: float, now: float, since: str = "") -> None:
    """Do what a backup program does: begin a checkpoint, and a backup that takes so long.

    Raises ``HypervisorError`` where nothing tells what was written ``since`` another checkpoint.
    """
    need(machine, "be backed up", machine.is_on)
    refuse_in_backup(machine, now)
    if since and any(since not in machine.bitmaps.get(disk.path, []) for disk in machine.live_disks):
        raise HypervisorError(f"A bitmap of {since} is missing or broken in {machine.name}.")
    machine.checkpoints = [each for each in machine.checkpoints if each[0] != checkpoint]
    machine.checkpoints.append((checkpoint, int(now)))
    for disk in machine.live_disks:
        machine.bitmaps[disk.path] = sorted({*machine.bitmaps.get(disk.path, []), checkpoint})
    machine.backup_until = now + seconds


def refuse_in_backup(machine: SimulatedMachine, now: float) -> None:
    """Raises ``HypervisorError`` (ERROR_BUSY) while a backup runs, as a host does."""
    if now < machine.backup_until:
        raise HypervisorError(
            f"{machine.backup_words.capitalize()} holds a disk of {machine.name}.",
            code=ErrorCode.ERROR_BUSY,
            advice="Wait until the backup has ended.",
        )


def merging(bases: Mapping[str, str], first: int, last: int) -> Callable[[SimulatedMachine, float], None]:
    """The act that merges some blocks."""
    return lambda machine, _: merge_piece(machine, bases, first, last)


def merge_piece(machine: SimulatedMachine, bases: Mapping[str, str], first: int, last: int) -> None:
    """Write some blocks of every overlay into its base."""
    machine.merging = True
    for disk in machine.active_disks:
        base = bases.get(disk.target, disk.path)
        if base != disk.path:
            fake_disks.merge_blocks(disk.path, base, first, last)


def pivot(machine: SimulatedMachine, bases: Mapping[str, str]) -> None:
    """Merge what was written meanwhile, and go over to the bases."""
    merge_piece(machine, bases, 0, fake_disks.BLOCK_COUNT)
    for disk in machine.active_disks:
        # A merge brings the bitmaps with it, as libvirt's does.
        base = bases.get(disk.target, disk.path)
        if names := {*machine.bitmaps.get(disk.path, []), *machine.bitmaps.get(base, [])}:
            machine.bitmaps[base] = sorted(names)
    machine.disks = with_paths(machine.disks, dict(bases))
    machine.live_disks = with_paths(machine.live_disks, dict(bases))
    if machine.saved is not None:
        machine.saved.disks = with_paths(machine.saved.disks, dict(bases))
    machine.merging = False
