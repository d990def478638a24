"""Add, remove and move drives of machines, and change what is in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Final

from innkeeper.errors import DiskError, ErrorCode, InvalidArgument, MachineError
from innkeeper.machines import change as changes
from innkeeper.machines.change import Scope
from innkeeper.machines.configuration import Configuration, Drive, Location, drive_name
from innkeeper.machines.devices import Devices, full
from innkeeper.machines.image_users import refuse_outside
from innkeeper.machines.machine import Machine
from innkeeper.machines.naming import checked_path
from innkeeper.machines.ports.host import Host
from innkeeper.machines.service import Machines
from innkeeper.wire.virtual_pc import Attachment, DriveBus

#: Two drives a bus.
MAX_BUSES: Final = 13
MAX_FLOPPIES: Final = 2

_HARD_DISKS: Final = frozenset({"disk", "lun"})
_FORMATS: Final = frozenset({"raw", "qcow2", "qed", "vdi", "vmdk", "vpc", "vhdx"})


class Drives(Devices):
    """The hard disks, DVD drives and floppy drives of all machines."""

    def __init__(self, machines: Machines, folders: Sequence[str] | None = None) -> None:
        """``folders``: where the files that images name may lie; anywhere for ``None``."""
        super().__init__(machines)
        self._folders = folders

    # Hard disks

    async def add_hard_disk(
        self,
        name: str,
        path: str,
        location: Location | None = None,
        *,
        image_format: str = "",
        bus: DriveBus | None = None,
    ) -> Drive:
        """Connect a hard disk (``AddHardDiskConnection``); at the first free location where none is named."""
        machine, host, made = await self.off(name, "take a hard disk")
        path = checked_path(path, what="hard disk")
        await self._refuse_image(host, path)
        if image_format and image_format not in _FORMATS:
            raise InvalidArgument(
                f"There is no image format “{image_format}”.", advice=f"Known: {', '.join(sorted(_FORMATS))}."
            )
        await self._refuse_shared(machine, path)
        image_format = image_format or await host.files.format(path)
        await refuse_outside(host, path, image_format, self._folders)
        location = _free(machine, made, location)
        bus = bus or _bus_of_disks(made)
        drive = Drive(
            target=drive_name(bus, location),
            device="disk",
            bus=bus,
            location=location,
            path=path,
            format=image_format,
            attachment=Attachment.IMAGE,
        )
        await host.configurations.change(machine.name, changes.DriveAdded(drive=drive))
        return drive

    async def remove_hard_disk(self, name: str, target: str) -> None:
        """Take a hard disk out (``RemoveHardDiskConnection``); its image stays."""
        await self._remove_drive(name, target, _HARD_DISKS, "lose a hard disk")

    # DVD drives

    async def add_dvd_drive(self, name: str, location: Location | None = None) -> Drive:
        """Add an empty DVD drive (``AddDVDROMDrive``)."""
        machine, host, made = await self.off(name, "take a DVD drive")
        location = _free(machine, made, location)
        bus = DriveBus.SATA if "q35" in made.chipset or made.firmware == "uefi" else DriveBus.IDE
        if bus is DriveBus.IDE and location.bus > 1:
            raise _bad_location(location, 1)
        target = drive_name(bus, location)
        drive = Drive(target=target, device="cdrom", bus=bus, location=location, read_only=True)
        await host.configurations.change(machine.name, changes.DriveAdded(drive=drive))
        return drive

    async def remove_dvd_drive(self, name: str, target: str) -> None:
        """Take a DVD drive out (``RemoveDVDROMDrive``)."""
        await self._remove_drive(name, target, frozenset({"cdrom"}), "lose a DVD drive")

    # Floppy drives

    async def add_floppy_drive(self, name: str) -> Drive:
        """Add an empty floppy drive; two at most."""
        machine, host, made = await self.off(name, "take a floppy drive")
        taken = {drive.location for drive in made.drives if drive.device == "floppy"}
        location = next((each for each in map(Location.at, range(MAX_FLOPPIES)) if each not in taken), None)
        if location is None:
            raise full(machine, MAX_FLOPPIES, "floppy drives")
        target = drive_name(DriveBus.FLOPPY, location)
        drive = Drive(target=target, device="floppy", bus=DriveBus.FLOPPY, location=location)
        await host.configurations.change(machine.name, changes.DriveAdded(drive=drive))
        return drive

    async def remove_floppy_drive(self, name: str, target: str) -> None:
        """Take a floppy drive out."""
        await self._remove_drive(name, target, frozenset({"floppy"}), "lose a floppy drive")

    # All drives

    async def move_drive(self, name: str, target: str, location: Location) -> Drive:
        """Attach a drive at another location (``SetBusLocation``); its name follows."""
        machine, host, made = await self.off(name, "move a drive")
        drive = _drive(machine, made, target, _HARD_DISKS | {"cdrom"})
        _refuse_location(location)
        if location == drive.location:
            return drive
        _refuse_taken(machine, made, location)
        new_target = drive_name(drive.bus, location)
        moved = changes.DriveMoved(
            target=target, new_target=new_target, location=location, device=drive.device
        )
        await host.configurations.change(machine.name, moved)
        return _drive(machine, await host.configurations.read(machine.name), new_target, None)

    async def attach_image(self, name: str, target: str, path: str) -> Drive:
        """Put an image into a DVD or floppy drive (``AttachImage``), also while the machine runs."""
        path = checked_path(path, what="image")
        return await self._attach(name, target, Attachment.IMAGE, path)

    async def attach_host_drive(self, name: str, target: str, device: str) -> Drive:
        """Connect a DVD or floppy drive to one of the host (``AttachHostDrive``), such as ``/dev/sr0``."""
        return await self._attach(name, target, Attachment.HOST_DRIVE, checked_path(device, what="drive"))

    async def release(self, name: str, target: str, attachment: Attachment | None = None) -> Drive:
        """Take out what is in a DVD or floppy drive (``ReleaseImage``, ``ReleaseHostDrive``).

        ``attachment`` is what should be in it: VM_E_MEDIA_WRONG_TYPE where something else is.
        """
        machine, host, made = await self.any(name)
        drive = _drive(machine, made, target, frozenset({"cdrom", "floppy"}))
        if drive.attachment is Attachment.NONE or attachment not in (None, drive.attachment):
            empty = drive.attachment is Attachment.NONE
            code = ErrorCode.VM_E_MEDIA_WRONG_TYPE
            if empty and drive.device == "floppy":
                code = ErrorCode.VM_E_NO_MEDIA_CAPTURED
            raise MachineError(
                f"The drive {target} of {machine.title} has "
                f"{'nothing' if empty else 'something else'} in it.",
                machine=machine.title,
                code=code,
                advice=f"innkeeper machine show {machine.title} shows what it has.",
            )
        await host.configurations.change(
            machine.name, changes.MediumChanged(target=target, attachment=Attachment.NONE), Scope.BOTH
        )
        return _drive(machine, await host.configurations.read(machine.name), target, None)

    # Machinery

    async def _remove_drive(self, name: str, target: str, kinds: frozenset[str], command: str) -> None:
        machine, host, made = await self.off(name, command)
        drive = _drive(machine, made, target, kinds)
        await host.configurations.change(
            machine.name, changes.DriveRemoved(target=target, device=drive.device)
        )

    async def _attach(self, name: str, target: str, attachment: Attachment, path: str) -> Drive:
        machine, host, made = await self.any(name)
        drive = _drive(machine, made, target, frozenset({"cdrom", "floppy"}))
        await self._refuse_medium(machine, host, drive, attachment, path)
        medium = changes.MediumChanged(target=target, attachment=attachment, path=path)
        await host.configurations.change(machine.name, medium, Scope.BOTH)
        return _drive(machine, await host.configurations.read(machine.name), target, None)

    async def _refuse_medium(
        self, machine: Machine, host: Host, drive: Drive, attachment: Attachment, path: str
    ) -> None:
        if drive.attachment is not Attachment.NONE:
            raise MachineError(
                f"The drive {drive.target} of {machine.name} has {drive.path} in it.",
                machine=machine.title,
                code=ErrorCode.VM_E_DRIVE_IN_USE,
                advice="Release that first.",
            )
        if attachment is Attachment.IMAGE:
            if await host.files.identity(path) is None:
                code = ErrorCode.ERROR_FILE_NOT_FOUND
                if drive.device == "floppy":
                    code = ErrorCode.VM_E_IMAGE_CAPTURE_FAIL
                raise DiskError(f"There is no image {path}.", path=path, code=code, advice="Check the path.")
            return
        facts = await host.information.facts()
        known = facts.dvd_drives if drive.device == "cdrom" else facts.floppy_drives
        if path not in known:
            raise InvalidArgument(
                f"The host has no drive {path}.", advice=f"It has: {', '.join(known) or 'none'}."
            )

    async def _refuse_image(self, host: Host, path: str) -> None:
        if await host.files.identity(path) is not None:
            return
        folder = await host.files.identity(str(PurePosixPath(path).parent))
        raise DiskError(
            f"There is no file {path}.",
            path=path,
            code=ErrorCode.ERROR_FILE_NOT_FOUND if folder else ErrorCode.ERROR_PATH_NOT_FOUND,
            advice="Check the path, or create the disk first: innkeeper disk create",
        )

    async def _refuse_shared(self, machine: Machine, path: str) -> None:
        """One image under two machines is one image lost."""
        for other in await self.machines.list():
            if other.host == machine.host and any(disk.path == path for disk in other.disks):
                raise DiskError(
                    f"{path} is a disk of {other.name} already.",
                    path=path,
                    code=ErrorCode.ERROR_SHARING_VIOLATION,
                    advice="Give each machine its own image.",
                )


def _bus_of_disks(made: Configuration) -> DriveBus:
    """The bus of the disks that a machine has; virtio for the first."""
    return next((drive.bus for drive in made.drives if drive.device in _HARD_DISKS), DriveBus.VIRTIO)


def _free(machine: Machine, made: Configuration, location: Location | None) -> Location:
    """The location that is asked for, or the first free one."""
    if location is not None:
        _refuse_location(location)
        _refuse_taken(machine, made, location)
        return location
    taken = _taken(made)
    free = next((each for each in map(Location.at, range(2 * MAX_BUSES)) if each not in taken), None)
    if free is None:
        raise full(machine, 2 * MAX_BUSES, "drives")
    return free


def _taken(made: Configuration) -> dict[Location, str]:
    return {drive.location: drive.target for drive in made.drives if drive.device != "floppy"}


def _refuse_location(location: Location) -> None:
    if not (0 <= location.bus < MAX_BUSES and location.device in (0, 1)):
        raise _bad_location(location, MAX_BUSES - 1)


def _bad_location(location: Location, last_bus: int) -> InvalidArgument:
    return InvalidArgument(
        f"There is no location {location.bus}:{location.device}.",
        advice=f"Buses are 0 to {last_bus}, the devices of each 0 and 1.",
    )


def _refuse_taken(machine: Machine, made: Configuration, location: Location) -> None:
    holder = _taken(made).get(location)
    if holder is not None:
        raise MachineError(
            f"The drive {holder} of {machine.title} is at {location.bus}:{location.device}.",
            machine=machine.title,
            code=ErrorCode.VM_E_DRIVE_BUS_LOC_IN_USE,
            advice="Choose another location, or none for the first that is free.",
        )


def _drive(machine: Machine, made: Configuration, target: str, kinds: frozenset[str] | None) -> Drive:
    for drive in made.drives:
        if drive.target == target and (kinds is None or drive.device in kinds):
            return drive
    names = [drive.target for drive in made.drives if kinds is None or drive.device in kinds]
    raise MachineError(
        f"{machine.title} has no such drive “{target}”.",
        machine=machine.title,
        code=ErrorCode.VM_E_DRIVE_INVALID,
        advice=f"It has: {', '.join(names) or 'none'}.",
    )
