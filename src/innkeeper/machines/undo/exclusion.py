"""Leave disks out of undo points by name: the way out for disks that no undo disk can be put over."""

from __future__ import annotations

from innkeeper.machines.machine import Disk, Machine


def takes_writes(disk: Disk) -> bool:
    """Whether a guest can write to the drive, so that a roll back has something to undo."""
    return disk.device in ("disk", "lun") and not disk.read_only


def is_floppy_to_write(disk: Disk) -> bool:
    """Whether a guest can write to the floppy in the drive, which no undo point covers."""
    return disk.device == "floppy" and not disk.read_only and bool(disk.path)


def written_disks(machine: Machine) -> list[Disk]:
    """The disks that an undo point has to deal with: covered, or left out by name."""
    return [disk for disk in machine.disks if takes_writes(disk)]


def leave_out(machine: Machine, disk: Disk) -> str:
    """The command that leaves one more disk out; empty where none would be left to roll back."""
    excluded = {*machine.undo_exclude, disk.target}
    if all(each.target in excluded for each in written_disks(machine)):
        return ""
    return f"innkeeper machine set {machine.title} --undo-exclude {','.join(sorted(excluded))}"


def or_leave_out(machine: Machine, disk: Disk) -> str:
    """The same as advice that follows another; empty where it is none."""
    command = leave_out(machine, disk)
    return f"Or leave it out, where its content may stay as an update leaves it: {command}" if command else ""
