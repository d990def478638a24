"""Declare: the virtual machine."""

from virtual_pc.member import Carriage, Interface, Member

_DIRECT = Carriage.DIRECT
_EMULATED = Carriage.EMULATED
_NEAREST = Carriage.NEAREST

VIRTUAL_MACHINE = Interface(
    "IVMVirtualMachine",
    (
        Member("Accountant", _EMULATED, "Machine.accountant", "An object."),
        Member(
            "AddDVDROMDrive",
            _DIRECT,
            "Machine.add_dvd_rom_drive",
            "libvirt defines a drive on SATA (q35, UEFI) or IDE. Off only.",
        ),
        Member(
            "AddHardDiskConnection",
            _DIRECT,
            "Machine.add_hard_disk_connection",
            "libvirt defines a disk, on virtio where the machine has no other yet. Off only; one image "
            "is one machine’s.",
        ),
        Member(
            "AddNetworkAdapter",
            _DIRECT,
            "Machine.add_network_adapter",
            "libvirt defines an adapter, unplugged where no network is named. Off only; up to 8.",
        ),
        Member(
            "AttachedDriveTypes",
            _DIRECT,
            "Machine.attached_drive_types",
            "Read from the definition: a row for each bus, two devices in it.",
        ),
        Member(
            "AttachUSBDevice",
            _DIRECT,
            "Machine.attach_usb_device",
            "libvirt gives the running machine the host’s device, by bus and number.",
        ),
        Member(
            "BaseBoardSerialNumber",
            _DIRECT,
            "Machine.base_board_serial_number",
            "SMBIOS, from the definition. Off only.",
        ),
        Member(
            "BIOSGUID",
            _DIRECT,
            "Machine.bios_guid",
            "The domain’s own UUID, in braces. libvirt never changes it: setting it is refused as not "
            "supported.",
        ),
        Member(
            "BIOSSerialNumber",
            _DIRECT,
            "Machine.bios_serial_number",
            "SMBIOS, from the definition. Off only.",
        ),
        Member(
            "ChassisAssetTag",
            _DIRECT,
            "Machine.chassis_asset_tag",
            "SMBIOS, from the definition. Off only.",
        ),
        Member(
            "ChassisSerialNumber",
            _DIRECT,
            "Machine.chassis_serial_number",
            "SMBIOS, from the definition. Off only.",
        ),
        Member(
            "ConfigID",
            _DIRECT,
            "Machine.config_id",
            "The domain’s UUID.",
        ),
        Member(
            "DetachUSBDevice",
            _DIRECT,
            "Machine.detach_usb_device",
            "libvirt takes the device from the running machine and gives it back to the host.",
        ),
        Member(
            "DiscardSavedState",
            _DIRECT,
            "Machine.discard_saved_state",
            "libvirt removes its managed save. A task, which is over at once.",
        ),
        Member(
            "DiscardUndoDisks",
            _EMULATED,
            "Machine.discard_undo_disks",
            "The overlays are deleted and the definition names the disks again. A task. Refused after a "
            "merge has begun.",
        ),
        Member("Display", _EMULATED, "Machine.display", "An object."),
        Member(
            "DVDROMDrives",
            _EMULATED,
            "Machine.dvd_rom_drives",
            "A sequence, as it is when asked for.",
        ),
        Member(
            "File",
            _NEAREST,
            "Machine.file",
            "The file in which libvirt keeps the definition, in place of a .vmc file; to be read, never "
            "to be edited.",
        ),
        Member(
            "FloppyDrives",
            _EMULATED,
            "Machine.floppy_drives",
            "A sequence. A machine has none until one is added.",
        ),
        Member(
            "GetActivationValue",
            _EMULATED,
            "Machine.get_activation_value",
            "The values of the running definition’s metadata: a copy made at the start.",
        ),
        Member(
            "GetConfigurationValue",
            _EMULATED,
            "Machine.get_configuration_value",
            "The values of the definition’s metadata; documented keys have their documented defaults.",
        ),
        Member("GuestOS", _EMULATED, "Machine.guest_os", "An object."),
        Member(
            "HardDiskConnections",
            _EMULATED,
            "Machine.hard_disk_connections",
            "A sequence, as it is when asked for.",
        ),
        Member(
            "Has3DNow",
            _NEAREST,
            "Machine.has_3dnow",
            "False: no processor model that QEMU offers by default has it. The guest is not asked.",
        ),
        Member(
            "HasMMX",
            _NEAREST,
            "Machine.has_mmx",
            "True: every x86-64 processor has it. The guest is not asked.",
        ),
        Member(
            "HasSSE",
            _NEAREST,
            "Machine.has_sse",
            "True: every x86-64 processor has it. The guest is not asked.",
        ),
        Member(
            "HasSSE2",
            _NEAREST,
            "Machine.has_sse2",
            "True: every x86-64 processor has it. The guest is not asked.",
        ),
        Member("Keyboard", _EMULATED, "Machine.keyboard", "An object."),
        Member(
            "Memory",
            _DIRECT,
            "Machine.memory",
            "From 4 MiB to what the host has, in place of 3,712 MB. Off only.",
        ),
        Member(
            "MergeUndoDisks",
            _EMULATED,
            "Machine.merge_undo_disks",
            "QEMU merges the overlays into the disks, also of a saved machine, which goes on with the "
            "merged disks, and of one that runs on meanwhile, which the document refuses.",
        ),
        Member("Mouse", _EMULATED, "Machine.mouse", "An object."),
        Member(
            "Name",
            _DIRECT,
            "Machine.name",
            "libvirt renames the domain. Off only; booked updates stay with it.",
        ),
        Member(
            "NetworkAdapters",
            _EMULATED,
            "Machine.network_adapters",
            "A sequence, as it is when asked for.",
        ),
        Member(
            "Notes",
            _DIRECT,
            "Machine.notes",
            "The domain’s description. In every state.",
        ),
        Member(
            "ParallelPorts",
            _EMULATED,
            "Machine.parallel_ports",
            "A sequence, as it is when asked for.",
        ),
        Member(
            "Pause",
            _DIRECT,
            "Machine.pause",
            "libvirt suspends it. A task, which is over in milliseconds.",
        ),
        Member(
            "ProcessorSpeed",
            _NEAREST,
            "Machine.processor_speed",
            "The host’s, in MHz: the guest’s processor has no speed of its own.",
        ),
        Member(
            "RdpPipeName",
            _NEAREST,
            "Display.address",
            "Where the display server (VNC) listens on the host: there is no RDP.",
        ),
        Member(
            "RemoveActivationValue",
            _EMULATED,
            "Machine.remove_activation_value",
            "From the running definition’s metadata.",
        ),
        Member(
            "RemoveConfigurationValue",
            _EMULATED,
            "Machine.remove_configuration_value",
            "From the definition’s metadata.",
        ),
        Member(
            "RemoveDVDROMDrive",
            _DIRECT,
            "Machine.remove_dvd_rom_drive",
            "libvirt defines the machine without it. Off only.",
        ),
        Member(
            "RemoveHardDiskConnection",
            _DIRECT,
            "Machine.remove_hard_disk_connection",
            "libvirt defines the machine without it; the image stays. Off only.",
        ),
        Member(
            "RemoveNetworkAdapter",
            _DIRECT,
            "Machine.remove_network_adapter",
            "libvirt defines the machine without it. Off only.",
        ),
        Member(
            "Reset",
            _DIRECT,
            "Machine.reset",
            "libvirt resets it.",
        ),
        Member(
            "Resume",
            _DIRECT,
            "Machine.resume",
            "libvirt resumes it. A task, which is over in milliseconds.",
        ),
        Member(
            "Save",
            _DIRECT,
            "Machine.save",
            "libvirt’s managed save, followed by its job’s figures; a cancel lets the machine run on.",
        ),
        Member(
            "SavedStateFilePath",
            _DIRECT,
            "Machine.saved_state_file_path",
            "Where libvirt keeps the managed save. One that a crash cut short is none.",
        ),
        Member(
            "SerialPorts",
            _EMULATED,
            "Machine.serial_ports",
            "A sequence, as it is when asked for.",
        ),
        Member(
            "SetActivationValue",
            _EMULATED,
            "Machine.set_activation_value",
            "In the running definition’s metadata: gone when the machine is off.",
        ),
        Member(
            "SetConfigurationValue",
            _EMULATED,
            "Machine.set_configuration_value",
            "In the definition’s metadata. hardware/memory/ram_size and "
            "settings/undo_drives/default_action are the machine’s own.",
        ),
        Member(
            "ShutdownActionOnQuit",
            _EMULATED,
            "Machine.shutdown_action_on_quit",
            "Kept in metadata; the service acts on it when it ends orderly, where its setting "
            "shutdown_actions says so.",
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
            "libvirt creates the domain, or restores its managed save; how far a restore has come is "
            "read from QEMU’s open file.",
        ),
        Member(
            "Startup2",
            _EMULATED,
            "Machine.startup2",
            "As Startup; the option takes changed parents for what they are now.",
        ),
        Member(
            "State",
            _EMULATED,
            "Machine.state",
            "What libvirt says, and what the task that holds the machine is doing.",
        ),
        Member(
            "TurnOff",
            _DIRECT,
            "Machine.turn_off",
            "libvirt destroys the domain; the undo action follows in the same task.",
        ),
        Member(
            "Undoable",
            _EMULATED,
            "Machine.undoable",
            "Kept in metadata; qcow2 overlays are put over the disks at the next start. False deletes "
            "those that there are.",
        ),
        Member(
            "UndoAction",
            _EMULATED,
            "Machine.undo_action",
            "Kept in metadata; applied when the machine is turned off, shut down, or powers off by itself.",
        ),
    ),
)
