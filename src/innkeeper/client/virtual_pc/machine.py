"""Declare: the virtual machine."""

from innkeeper.client.virtual_pc.member import Carriage, Interface, Member

_DIRECT = Carriage.DIRECT
_EMULATED = Carriage.EMULATED
_NEAREST = Carriage.NEAREST

VIRTUAL_MACHINE = Interface(
    "IVMVirtualMachine",
    (
        Member("Accountant", _EMULATED, "", "Object."),
        Member("AddDVDROMDrive", _DIRECT, "", "DefineXML + cdrom at bus/unit; off only."),
        Member(
            "AddHardDiskConnection",
            _DIRECT,
            "",
            "DefineXML + disk; checks: exists, absolute, <260? (use PATH_MAX, keep 260 as "
            "'strict' option), VHD >127 GB on IDE → VM_E_INVALID_HD_FILE, same file twice → "
            "SHARING_VIOLATION.",
        ),
        Member("AddNetworkAdapter", _DIRECT, "", "DefineXML + interface; limit 4; starts unconnected."),
        Member("AttachedDriveTypes", _DIRECT, "", "Array [bus][device] of VMDriveType from XML."),
        Member(
            "AttachUSBDevice", _DIRECT, "", "AttachDeviceFlags hostdev usb (vendor/product + bus/device)."
        ),
        Member("BaseBoardSerialNumber", _DIRECT, "", "<sysinfo type='smbios'><baseBoard serial>."),
        Member(
            "BIOSGUID",
            _DIRECT,
            "",
            "Domain <uuid> / sysinfo system uuid – changing uuid means re-define; braces form.",
        ),
        Member("BIOSSerialNumber", _DIRECT, "", "Sysinfo <system serial>."),
        Member("ChassisAssetTag", _DIRECT, "", "Sysinfo chassis asset."),
        Member("ChassisSerialNumber", _DIRECT, "", "Sysinfo chassis serial."),
        Member("ConfigID", _DIRECT, "", "Domain UUID."),
        Member(
            "DetachUSBDevice",
            _DIRECT,
            "",
            "DetachDeviceFlags hostdev; completion = DEVICE_REMOVED event, DEVICE_REMOVAL_FAILED "
            "→ VM_E_USB_DETACH_FAILED.",
        ),
        Member("DiscardSavedState", _DIRECT, "", "ManagedSaveRemove."),
        Member(
            "DiscardUndoDisks",
            _EMULATED,
            "Machine.discard_undo_disks",
            "Unlink overlay, make empty overlay; only off and not saved; FORBIDDEN after a partial merge.",
        ),
        Member("Display", _EMULATED, "", "Object."),
        Member("DVDROMDrives", _EMULATED, "", "Collection."),
        Member("File", _NEAREST, "", "Path of domain XML / Innkeeper config file (.vmc import possible)."),
        Member("FloppyDrives", _EMULATED, "", "Collection."),
        Member(
            "GetActivationValue",
            _EMULATED,
            "",
            "Live XML copy (XMLDesc(0)) + activation overlay store, cleared at turn-off.",
        ),
        Member(
            "GetConfigurationValue",
            _EMULATED,
            "",
            "Innkeeper’s key tree, persisted in domain <metadata>; knInnkeeper’s keys map to XML "
            "(hardware/memory/ram_size …).",
        ),
        Member("GuestOS", _EMULATED, "", "Object."),
        Member("HardDiskConnections", _EMULATED, "", "Collection."),
        Member("Has3DNow", _NEAREST, "", "Guest CPU model feature from domain capabilities/baseline."),
        Member("HasMMX", _NEAREST, "", "Same."),
        Member("HasSSE", _NEAREST, "", "Same."),
        Member("HasSSE2", _NEAREST, "", "Same."),
        Member("Keyboard", _EMULATED, "", "Object."),
        Member(
            "Memory",
            _DIRECT,
            "",
            "<memory>; min 4 MB kept, max = host-derived (3712 MB only in strict mode).",
        ),
        Member(
            "MergeUndoDisks",
            _EMULATED,
            "Machine.merge_undo_disks",
            "Off/saved: qemu-img commit (qcow2→base) + managedSaveDefineXML; running (extension): "
            "blockCommit ACTIVE + pivot.",
        ),
        Member("Mouse", _EMULATED, "", "Object."),
        Member(
            "Name",
            _DIRECT,
            "",
            "VirDomainRename (off, no snapshots/managed save); 80 chars; case-insensitive "
            "uniqueness is ours to enforce (libvirt is case-sensitive).",
        ),
        Member("NetworkAdapters", _EMULATED, "", "Collection."),
        Member("Notes", _DIRECT, "", "VirDomainSetMetadata(DESCRIPTION) – 65,536 chars."),
        Member("ParallelPorts", _EMULATED, "", "Collection."),
        Member("Pause", _DIRECT, "Machine.pause", "VirDomainSuspend (1 ms here); already paused → E_FAIL."),
        Member("ProcessorSpeed", _NEAREST, "", "Host MHz."),
        Member("RdpPipeName", _NEAREST, "", "Unix socket path of the display (VNC/SPICE/D-Bus)."),
        Member("RemoveActivationValue", _EMULATED, "", "Innkeeper’s store; VM must run."),
        Member("RemoveConfigurationValue", _EMULATED, "", "Innkeeper’s store."),
        Member("RemoveDVDROMDrive", _DIRECT, "", "DefineXML, off only."),
        Member("RemoveHardDiskConnection", _DIRECT, "", "DefineXML, off only."),
        Member("RemoveNetworkAdapter", _DIRECT, "", "DefineXML, off only."),
        Member(
            "Reset",
            _DIRECT,
            "Machine.reset",
            "VirDomainReset; completion = REBOOT event (two REBOOT events seen per reset here).",
        ),
        Member("Resume", _DIRECT, "Machine.resume", "VirDomainResume; not paused → E_FAIL."),
        Member(
            "Save",
            _DIRECT,
            "Machine.save",
            "VirDomainManagedSave in worker thread + jobStats poll + abortJob.",
        ),
        Member(
            "SavedStateFilePath",
            _DIRECT,
            "",
            "<root>/lib/qemu/save/NAME.save – must check header magic (partial!).",
        ),
        Member("SerialPorts", _EMULATED, "", "Collection."),
        Member("SetActivationValue", _EMULATED, "", "Innkeeper’s store; VM must run."),
        Member("SetConfigurationValue", _EMULATED, "", "Innkeeper’s store + mapped keys."),
        Member(
            "ShutdownActionOnQuit",
            _EMULATED,
            "",
            "Executed by service stop handler (systemd stop / host shutdInnkeeper’s inhibitor lock).",
        ),
        Member(
            "StartCommunicationChannel",
            _EMULATED,
            "Machine.start_communication_channel",
            "The pipe is a Unix socket; the guest's agent dials 127.0.0.1:port; all channels share the "
            "agent's virtio-serial port.",
        ),
        Member(
            "Startup",
            _DIRECT,
            "Machine.startup",
            "VirDomainCreate; restores managed save; progress of restore from /proc/QEMU/fdinfo "
            "pos of .save fd.",
        ),
        Member(
            "Startup2",
            _EMULATED,
            "",
            "Startup + option 1 = re-stamp parent timestamp in child header (Innkeeper’s VHD engine).",
        ),
        Member("State", _EMULATED, "Machine.state", "State machine."),
        Member(
            "TurnOff",
            _DIRECT,
            "Machine.turn_off",
            "VirDomainDestroyFlags(GRACEFUL?) then UndoAction; destroy took 1.2–2 s here.",
        ),
        Member("Undoable", _EMULATED, "", "Flag in metadata; off→ delete overlays."),
        Member("UndoAction", _EMULATED, "", "Flag in metadata."),
    ),
)
