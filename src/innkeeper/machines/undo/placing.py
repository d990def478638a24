"""Choose the folders in which overlays lie, and see that there is room in them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import PurePath

from innkeeper.errors import ErrorCode, MachineError, MachineUnfit
from innkeeper.machines.machine import Disk, DiskKind, Machine
from innkeeper.machines.ports.disks import DiskStorage
from innkeeper.machines.ports.host import Host
from innkeeper.machines.undo.overlay_names import MARK
from innkeeper.machines.undo.point import UndoDisk


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PlacedDisk:
    """A disk with its storage, and the folder for its undo disk."""

    disk: Disk
    storage: DiskStorage
    directory: str

    def planned(self, machine: Machine, run: int) -> UndoDisk:
        """The undo disk that a run puts over it."""
        overlay = PurePath(self.directory) / f"{machine.name}.{self.disk.target}{MARK}{run}.qcow2"
        return undo_disk(self.disk, self.storage, overlay=str(overlay))


def undo_disk(disk: Disk, storage: DiskStorage, *, overlay: str) -> UndoDisk:
    """One disk of an undo point, on its storage."""
    is_named = storage.source == storage.path or not storage.path
    return UndoDisk(
        target=disk.target,
        base=storage.source,
        overlay=overlay,
        kind=storage.kind if is_named else DiskKind.VOLUME,
        resolved="" if is_named else storage.path,
    )


async def place(host: Host, machine: Machine, disk: Disk, undo_directory: str) -> PlacedDisk:
    """Find a folder for a disk's overlay: beside its file, or in ``undo_directory`` where it has none.

    Raises ``MachineUnfit`` where there is no such folder.
    """
    storage = await host.disks.storage(machine.name, disk.target)
    if storage.kind is DiskKind.FILE and storage.path:
        return PlacedDisk(disk=disk, storage=storage, directory=str(PurePath(storage.path).parent))
    directory = undo_directory or await host.disks.undo_directory()
    if not directory:
        raise MachineUnfit(
            f"The disk {disk.target} of {machine.title} is on {storage.source}, which no folder goes with, "
            "and its host has none for undo disks.",
            machine=machine.title,
            advice="Name a folder of the host in undo_directory that its QEMU may write to.",
        )
    return PlacedDisk(disk=disk, storage=storage, directory=directory)


async def refuse_lack_of_room(
    host: Host, machine: Machine, placed: Iterable[PlacedDisk], share: float, most_bytes: int
) -> None:
    """Raises ``MachineError`` where the overlays' reserves do not fit together into their folders.

    A reserve is this share of the disk's size, or ``most_bytes`` where that is less or the size is unknown.
    """
    needed: dict[str, int] = {}
    for each in placed:
        directory, size = each.directory, each.storage.size_bytes
        reserve = min(int(size * share), most_bytes) if size else most_bytes
        needed[directory] = needed.get(directory, 0) + reserve
        free = await host.disks.free_bytes(directory)
        if free < needed[directory]:
            raise MachineError(
                f"There is no room for the undo disk of {each.disk.target} of {machine.title}: {directory} "
                f"has {free} bytes free, and {needed[directory]} are asked for.",
                machine=machine.title,
                code=ErrorCode.ERROR_DISK_FULL,
                advice="Free some room, or lower the reserve.",
            )
