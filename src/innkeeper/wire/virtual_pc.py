"""Name the documented values of Virtual PC's machines and devices, as both sides of a door speak of them."""

from __future__ import annotations

import enum
import re

from innkeeper.wire.named_number import NamedNumber

#: The longest documented name of a machine, in characters.
MAX_NAME_LENGTH = 80
#: Characters that the documentation forbids in a name.
FORBIDDEN_IN_NAMES = '*?:<>/|\\"'
#: Words that mean something else in a selector: no new machine is called so, in letters of either case.
SELECTOR_WORDS = frozenset({"all", "and", "or", "not"})
#: The longest documented notes, in characters.
MAX_NOTES_LENGTH = 65_536
#: The least memory of a machine, in MiB.
MIN_MEMORY_MIB = 4
#: A label: a short word of letters, digits, ``.``, ``_`` and ``-`` that begins with a letter or digit.
LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")


class DriveBus(NamedNumber):
    """What a drive is attached to (``VMDriveBusType``); from 100 on, what Linux adds."""

    INVALID = -1
    IDE = 0
    SCSI = 1
    VIRTIO = 100
    SATA = 101
    USB = 102
    FLOPPY = 103


class DriveType(NamedNumber):
    """What is attached at a location (``VMDriveType``)."""

    NULL = 0
    HARD_DISK = 1
    DVD = 2


class Attachment(NamedNumber):
    """What is in a DVD or floppy drive (``VMDVDDriveAttachmentType``, ``VMFloppyDriveAttachmentType``)."""

    NONE = 0
    IMAGE = 1
    HOST_DRIVE = 2


class FloppyDiskImageType(NamedNumber):
    """The type of a floppy's image (``VMFloppyDiskImageType``)."""

    UNKNOWN = 0
    #: 720 KiB.
    LOW_DENSITY = 1
    #: 1.44 MB.
    HIGH_DENSITY = 2
    #: 1.68 MB.
    DMF = 3
    #: 160 or 360 KiB.
    LOW_DENSITY_SINGLE_SIDED = 4
    #: 1.2 MB.
    MEDIUM_DENSITY = 5
    #: 1.84 MB (XDF).
    HIGH_DENSITY_MSS = 6


class SerialPortType(NamedNumber):
    """What a serial port is joined to (``VMSerialPortType``)."""

    #: A serial port of the host.
    HOST_PORT = 0
    #: A file that takes what the guest writes.
    TEXT_FILE = 1
    #: A Unix socket at which QEMU listens.
    NAMED_PIPE = 2
    NULL = 3


class ShutdownAction(NamedNumber):
    """What happens to a running machine when the service ends orderly (``VMShutdownAction``)."""

    SAVE = 0
    #: Without regard to its undo disks: they are kept.
    TURN_OFF = 1
    #: Shut the guest down, or save the machine where it cannot be asked.
    SHUTDOWN = 2


class StartupOption(NamedNumber):
    """How a machine is started (``VMStartupOption``)."""

    NORMAL = 0
    #: Start although a parent of its disks was changed, and take the parent for what it is now.
    FIX_PARENT_TIMESTAMP_MISMATCH = 1


class UndoAction(NamedNumber):
    """What becomes of the undo disks when the machine is turned off (``VMUndoAction``)."""

    DISCARD = 0
    KEEP = 1
    COMMIT = 2


class UndoPointKind(NamedNumber):
    """How an update run takes the undo point of a machine that it finds running: our own setting."""

    #: As the service's policy has it for the machine's labels, or for all.
    POLICY = 0
    #: As the machine runs, its disks alone: a roll back boots it.
    LIVE = 1
    #: Shut down first, its disks alone: a roll back boots it.
    OFF = 2
    #: As the machine runs, with its memory: a roll back goes back to the running moment.
    MEMORY = 3


class UsbDeviceClass(NamedNumber):
    """The class of a USB device (``VMUSBDeviceClassEnum``)."""

    INTERFACE = 0x00
    AUDIO = 0x01
    COMM = 0x02
    HID = 0x03
    PHYSICAL = 0x05
    IMAGE = 0x06
    PRINTER = 0x07
    MASS_STORAGE = 0x08
    HUB = 0x09
    CDC_DATA = 0x0A
    SMART_CARD = 0x0B
    CONTENT_SECURITY = 0x0D
    VIDEO = 0x0E
    PERSONAL_HEALTHCARE = 0x0F
    DIAGNOSTIC = 0xDC
    WIRELESS = 0xE0
    MISC = 0xEF
    APP_SPECIFIC = 0xFE
    VENDOR = 0xFF


class BiosField(enum.StrEnum):
    """The strings of a machine's firmware."""

    GUID = "bios_guid"
    SERIAL_NUMBER = "bios_serial_number"
    BASE_BOARD_SERIAL_NUMBER = "base_board_serial_number"
    CHASSIS_SERIAL_NUMBER = "chassis_serial_number"
    CHASSIS_ASSET_TAG = "chassis_asset_tag"
