"""Declare: the devices of a machine, and its connections to hard disks."""

from innkeeper.client.virtual_pc.member import Carriage, Interface, Member

_DIRECT = Carriage.DIRECT
_EMULATED = Carriage.EMULATED
_MEANINGLESS = Carriage.MEANINGLESS
_NEAREST = Carriage.NEAREST

HARD_DISK_CONNECTION = Interface(
    "IVMHardDiskconnection",
    (
        Member("BusNumber", _DIRECT, "", "Address controller/bus."),
        Member("DeviceNumber", _DIRECT, "", "Address unit."),
        Member("HardDisk", _DIRECT, "", "Base image below the undo overlay."),
        Member("SetBusLocation", _DIRECT, "", "DefineXML when off and not saved."),
        Member(
            "UndoHardDisk",
            _EMULATED,
            "",
            "Overlay file recorded in Innkeeper metadata; none → ERROR_FILE_NOT_FOUND.",
        ),
    ),
)

DVD_DRIVE = Interface(
    "IVMDVDDrive",
    (
        Member(
            "AttachHostDrive",
            _DIRECT,
            "",
            "ChangeMedia via updateDeviceFlags: <disk type='block' device='cdrom'><source "
            "dev='/dev/sr0'>; 'drive letter' → device node path.",
        ),
        Member(
            "AttachImage",
            _DIRECT,
            "",
            "UpdateDeviceFlags(LIVE+CONFIG) with <disk type='file' device='cdrom'>; refuse "
            "directories, refuse when already attached.",
        ),
        Member(
            "Attachment",
            _DIRECT,
            "",
            "From domain XML: no source → None(0), type=file → Image(1), type=block → HostDrive(2).",
        ),
        Member(
            "BusNumber", _DIRECT, "", "<address type='drive' bus=…> of IDE (pc machine) / SATA port//2 (q35)."
        ),
        Member("DeviceNumber", _DIRECT, "", "<address unit=…>."),
        Member("HostDriveLetter", _NEAREST, "", "Device path (/dev/sr0) instead of a letter."),
        Member("ImageFile", _DIRECT, "", "Source file path."),
        Member(
            "ReleaseHostDrive",
            _DIRECT,
            "",
            "UpdateDeviceFlags with empty cdrom source (+VIR_DOMAIN_DEVICE_MODIFY_FORCE if guest "
            "locked the tray).",
        ),
        Member("ReleaseImage", _DIRECT, "", "Same."),
        Member("SetBusLocation", _DIRECT, "", "Edit inactive XML (defineXML); only when off and not saved."),
    ),
)

FLOPPY_DRIVE = Interface(
    "IVMFloppyDrive",
    (
        Member(
            "AttachHostDrive",
            _NEAREST,
            "",
            "<disk type='block' device='floppy'> /dev/fd0 if present, else E_INVALIDARG.",
        ),
        Member(
            "AttachImage",
            _DIRECT,
            "",
            "UpdateDeviceFlags <disk type='file' device='floppy'> (machine 'pc'; on q35 libvirt "
            "adds isa-fdc – verify per machine type).",
        ),
        Member("Attachment", _DIRECT, "", "From XML."),
        Member("DriveNumber", _DIRECT, "", "Address unit 0/1."),
        Member("HostDriveLetter", _NEAREST, "", "/dev/fdN."),
        Member("ImageFile", _DIRECT, "", "XML source."),
        Member("ReleaseHostDrive", _DIRECT, "", "UpdateDeviceFlags empty source."),
        Member("ReleaseImage", _DIRECT, "", "Same."),
    ),
)

SERIAL_PORT = Interface(
    "IVMSerialPort",
    (
        Member("_ID", _EMULATED, "", "Index."),
        Member(
            "Configure",
            _DIRECT,
            "",
            "<serial type='dev'|'file'|'unix' bind|'null'>: HostPort→dev, TextFile→file, "
            "NamedPipe→unix socket (or pipe), Null→null; apply at next start.",
        ),
        Member(
            "ConnectImmediately",
            _MEANINGLESS,
            "",
            "No modem handshake wait in QEMU: kept as stored flag, always immediate.",
        ),
        Member("Name", _DIRECT, "", "Path from XML."),
        Member("Type", _DIRECT, "", "From XML."),
    ),
)

PARALLEL_PORT = Interface(
    "IVMParallelPort",
    (
        Member("_ID", _EMULATED, "", "Index."),
        Member("Name", _DIRECT, "", "<parallel type='dev'|'file'>; host device path instead of LPT1."),
    ),
)

NETWORK_ADAPTER = Interface(
    "IVMNetworkAdapter",
    (
        Member("_ID", _EMULATED, "", "Stable id in metadata / interface alias."),
        Member(
            "AttachToVirtualNetwork",
            _DIRECT,
            "",
            "UpdateDeviceFlags interface source network/bridge (live link change works).",
        ),
        Member(
            "DetachFromVirtualNetwork",
            _DIRECT,
            "",
            "Link state dInnkeeper’s + metadata 'unconnected' (libvirt has no source-less NIC; "
            "QEMU NIC without netdev possible only at define).",
        ),
        Member("EthernetAddress", _DIRECT, "", "<mac address>; accept XX-XX-… form, store XX:XX:…."),
        Member(
            "IsEthernetAddressDynamic",
            _EMULATED,
            "",
            "Metadata flag; dynamic → generate 52:54:00 address at define; set while dynamic → "
            "VM_E_CANT_SET_DYNAMIC_MAC_ADDRESS.",
        ),
        Member("VirtualMachine", _EMULATED, "", "Back reference."),
        Member("VirtualNetwork", _EMULATED, "", "Lookup; unplugged → S_FALSE."),
    ),
)
