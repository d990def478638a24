"""Describe how a machine is made: its devices, its firmware's strings, and what Innkeeper notes of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from innkeeper.wire.machine_settings import MachineChanges
from innkeeper.wire.virtual_pc import (
    Attachment,
    DriveBus,
    SerialPortType,
    ShutdownAction,
    UndoAction,
    UndoPointKind,
)

#: A configuration value: raw bytes, a string, an integer or a truth (``VARIANT``).
Value = bytes | str | int | bool


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Location:
    """Where a drive is attached: two devices to a bus, as the documents have it."""

    bus: int
    device: int

    @property
    def index(self) -> int:
        """The location's position among all locations, from 0."""
        return 2 * self.bus + self.device

    @classmethod
    def at(cls, index: int) -> Location:
        """The location with this place."""
        return cls(bus=index // 2, device=index % 2)


#: How the names of the drives on each bus begin.
DRIVE_PREFIXES: Mapping[DriveBus, str] = {
    DriveBus.IDE: "hd",
    DriveBus.SCSI: "sd",
    DriveBus.VIRTIO: "vd",
    DriveBus.SATA: "sd",
    DriveBus.USB: "sd",
    DriveBus.FLOPPY: "fd",
}


def drive_name(bus: DriveBus, location: Location) -> str:
    """The name of the drive on this bus at this location: the first is ``vda``, the 27th ``vdaa``."""
    letters, rest = "", location.index + 1
    while rest:
        rest, letter = divmod(rest - 1, 26)
        letters = chr(ord("a") + letter) + letters
    return f"{DRIVE_PREFIXES[bus]}{letters}"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Drive:
    """One drive: a hard disk, a DVD drive or a floppy drive."""

    #: The name inside the definition: ``vda``.
    target: str
    #: ``disk``, ``cdrom``, ``floppy`` or ``lun``.
    device: str
    bus: DriveBus
    location: Location
    #: The image file or host device behind it; empty where there is none.
    path: str = ""
    #: ``raw``, ``qcow2`` …
    format: str = "raw"
    attachment: Attachment = Attachment.NONE
    read_only: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Adapter:
    """One network adapter."""

    #: A number that stays with it (``_ID``).
    id: int
    #: Its Ethernet address, in lower case with colons.
    mac: str
    #: Whether Innkeeper made the address up (``IsEthernetAddressDynamic``).
    dynamic: bool = True
    #: The virtual network it is attached to; empty where it is unplugged.
    network: str = ""
    #: ``virtio``, ``e1000`` …
    model: str = "virtio"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SerialPort:
    """One serial port."""

    id: int
    type: SerialPortType = SerialPortType.NULL
    #: The host's device, file or socket behind it.
    name: str = ""
    #: Kept, and without effect: QEMU opens a port when the machine starts.
    connect_immediately: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ParallelPort:
    """One parallel port."""

    id: int
    #: The host's device or file behind it; empty for none.
    name: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class UsbAddress:
    """One USB device of the host."""

    bus: int
    device: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ParentRecord:
    """Identity of a parent image when a disk was put over it."""

    path: str
    size_bytes: int
    mtime_ns: int
    inode: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Extras:
    """Innkeeper's own settings of a machine, kept in its definition's metadata."""

    #: Whether undo disks take its writes from the next start on (``Undoable``).
    undoable: bool = False
    undo_action: UndoAction = UndoAction.KEEP
    #: How an update run takes its undo point when it finds it running.
    undo_point: UndoPointKind = UndoPointKind.POLICY
    #: Whether the undo action is still to be applied: the machine has run since it was applied last.
    undo_pending: bool = False
    #: Runs whose undo disks have begun to be merged: they can only be merged now.
    merging: frozenset[int] = frozenset()
    #: Since when a guest that runs may be frozen by us, and is owed its thaw, in seconds since 1970; 0 for
    #: never.
    freezing_since: int = 0
    #: Until when nobody else is to start it, in seconds since 1970: it is being brought back. 0 for never.
    held_until: int = 0
    #: Disks that no undo point covers, by their targets, with commas between them.
    undo_exclude: str = ""
    shutdown_action: ShutdownAction = ShutdownAction.SAVE
    labels: tuple[str, ...] = ()
    #: What its health checks find that is no fault, as patterns of subjects.
    ignored: tuple[str, ...] = ()
    values: Mapping[str, Value] = dataclasses.field(default_factory=dict)
    parents: tuple[ParentRecord, ...] = ()
    #: Adapters whose address was set by a person.
    static_macs: frozenset[str] = frozenset()
    #: Serial ports that were asked to connect at once.
    immediate_ports: frozenset[int] = frozenset()
    #: Whether Innkeeper wrote the definition, and so may choose between KVM and software emulation.
    made_here: bool = False
    #: Why it runs in software emulation this time, though its definition asks for KVM; empty otherwise.
    software_reason: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Configuration:
    """How one machine is made."""

    name: str
    uuid: str
    #: The settings that the definition holds; ``name`` and ``autostart`` are the machine's.
    settings: MachineChanges
    #: ``q35``, ``pc`` …, as the definition names it.
    chipset: str = ""
    #: ``uefi`` or ``bios``.
    firmware: str = "bios"
    drives: tuple[Drive, ...] = ()
    adapters: tuple[Adapter, ...] = ()
    serial_ports: tuple[SerialPort, ...] = ()
    parallel_ports: tuple[ParallelPort, ...] = ()
    usb: tuple[UsbAddress, ...] = ()
    extras: Extras = Extras()
