"""Declare: the devices of a machine, and its connections to hard disks."""

from virtual_pc.member import Carriage, Interface, Member

_DIRECT = Carriage.DIRECT
_EMULATED = Carriage.EMULATED
_MEANINGLESS = Carriage.MEANINGLESS
_NEAREST = Carriage.NEAREST

HARD_DISK_CONNECTION = Interface(
    "IVMHardDiskconnection",
    (
        Member(
            "BusNumber",
            _DIRECT,
            "HardDiskConnection.bus_number",
            "By the drive’s name: vdc is at 1:0.",
        ),
        Member(
            "DeviceNumber",
            _DIRECT,
            "HardDiskConnection.device_number",
            "By the drive’s name: vdd is at 1:1.",
        ),
        Member(
            "HardDisk",
            _DIRECT,
            "HardDiskConnection.hard_disk",
            "The image below the undo disk.",
        ),
        Member(
            "SetBusLocation",
            _DIRECT,
            "HardDiskConnection.set_bus_location",
            "libvirt defines the drive under the name that belongs there. Off only.",
        ),
        Member(
            "UndoHardDisk",
            _EMULATED,
            "HardDiskConnection.undo_hard_disk",
            "The overlay that takes the writes.",
        ),
    ),
)

DVD_DRIVE = Interface(
    "IVMDVDDrive",
    (
        Member(
            "AttachHostDrive",
            _DIRECT,
            "DVDDrive.attach_host_drive",
            "libvirt gives it the host’s device, such as /dev/sr0, live too.",
        ),
        Member(
            "AttachImage",
            _DIRECT,
            "DVDDrive.attach_image",
            "libvirt changes the medium, live too.",
        ),
        Member(
            "Attachment",
            _DIRECT,
            "DVDDrive.attachment",
            "Read from the definition.",
        ),
        Member(
            "BusNumber",
            _DIRECT,
            "DVDDrive.bus_number",
            "By the drive’s name.",
        ),
        Member(
            "DeviceNumber",
            _DIRECT,
            "DVDDrive.device_number",
            "By the drive’s name.",
        ),
        Member(
            "HostDriveLetter",
            _NEAREST,
            "DVDDrive.host_drive_letter",
            "A device’s path, such as /dev/sr0, in place of a letter.",
        ),
        Member(
            "ImageFile",
            _DIRECT,
            "DVDDrive.image_file",
            "Read from the definition.",
        ),
        Member(
            "ReleaseHostDrive",
            _DIRECT,
            "DVDDrive.release_host_drive",
            "libvirt takes it out, live too.",
        ),
        Member(
            "ReleaseImage",
            _DIRECT,
            "DVDDrive.release_image",
            "libvirt takes it out, live too.",
        ),
        Member(
            "SetBusLocation",
            _DIRECT,
            "DVDDrive.set_bus_location",
            "libvirt defines the drive under the name that belongs there. Off only.",
        ),
    ),
)

FLOPPY_DRIVE = Interface(
    "IVMFloppyDrive",
    (
        Member(
            "AttachHostDrive",
            _NEAREST,
            "FloppyDrive.attach_host_drive",
            "A device’s path, such as /dev/fd0, in place of a letter; few hosts have one.",
        ),
        Member(
            "AttachImage",
            _DIRECT,
            "FloppyDrive.attach_image",
            "libvirt changes the medium, live too.",
        ),
        Member(
            "Attachment",
            _DIRECT,
            "FloppyDrive.attachment",
            "Read from the definition.",
        ),
        Member(
            "DriveNumber",
            _DIRECT,
            "FloppyDrive.drive_number",
            "By the drive’s name: fda is 0.",
        ),
        Member(
            "HostDriveLetter",
            _NEAREST,
            "FloppyDrive.host_drive_letter",
            "A device’s path, such as /dev/sr0, in place of a letter.",
        ),
        Member(
            "ImageFile",
            _DIRECT,
            "FloppyDrive.image_file",
            "Read from the definition.",
        ),
        Member(
            "ReleaseHostDrive",
            _DIRECT,
            "FloppyDrive.release_host_drive",
            "libvirt takes it out, live too.",
        ),
        Member(
            "ReleaseImage",
            _DIRECT,
            "FloppyDrive.release_image",
            "libvirt takes it out, live too.",
        ),
    ),
)

SERIAL_PORT = Interface(
    "IVMSerialPort",
    (
        Member(
            "_ID",
            _EMULATED,
            "SerialPort.id",
            "Its place among the machine’s serial ports, from 0.",
        ),
        Member(
            "Configure",
            _DIRECT,
            "SerialPort.configure",
            "HostPort is a device, TextFile a file, NamedPipe a Unix socket at which QEMU listens. From "
            "the next start on.",
        ),
        Member(
            "ConnectImmediately",
            _MEANINGLESS,
            "SerialPort.connect_immediately",
            "Kept, and without effect: QEMU waits for no modem command, and opens a port when the "
            "machine starts.",
        ),
        Member(
            "Name",
            _DIRECT,
            "SerialPort.name",
            "Read from the definition.",
        ),
        Member(
            "Type",
            _DIRECT,
            "SerialPort.type",
            "Read from the definition.",
        ),
    ),
)

PARALLEL_PORT = Interface(
    "IVMParallelPort",
    (
        Member(
            "_ID",
            _EMULATED,
            "ParallelPort.id",
            "Its place among the machine’s parallel ports, from 0.",
        ),
        Member(
            "Name",
            _DIRECT,
            "ParallelPort.name",
            "The path of a device or file of the host, in place of LPT1. Off only.",
        ),
    ),
)

NETWORK_ADAPTER = Interface(
    "IVMNetworkAdapter",
    (
        Member(
            "_ID",
            _EMULATED,
            "NetworkAdapter.id",
            "Its place among the machine’s adapters, from 1.",
        ),
        Member(
            "AttachToVirtualNetwork",
            _DIRECT,
            "NetworkAdapter.attach_to_virtual_network",
            "libvirt changes the adapter, live too.",
        ),
        Member(
            "DetachFromVirtualNetwork",
            _DIRECT,
            "NetworkAdapter.detach_from_virtual_network",
            "The adapter’s link goes down, live too.",
        ),
        Member(
            "EthernetAddress",
            _DIRECT,
            "NetworkAdapter.ethernet_address",
            "With colons, in lower case; hyphens are read too. Off only.",
        ),
        Member(
            "IsEthernetAddressDynamic",
            _EMULATED,
            "NetworkAdapter.is_ethernet_address_dynamic",
            "Kept in metadata.",
        ),
        Member(
            "VirtualMachine",
            _EMULATED,
            "NetworkAdapter.virtual_machine",
            "The machine’s name.",
        ),
        Member(
            "VirtualNetwork",
            _EMULATED,
            "NetworkAdapter.virtual_network",
            "The network’s name; None where the cable is out.",
        ),
    ),
)
