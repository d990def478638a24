"""Declare: the host object, what it says of its computer, its networks and USB devices."""

from virtual_pc.member import Carriage, Interface, Member

_DIRECT = Carriage.DIRECT
_EMULATED = Carriage.EMULATED
_NEAREST = Carriage.NEAREST

VIRTUAL_PC = Interface(
    "IVMVirtualPC",
    (
        Member(
            "CreateDifferencingVirtualHardDisk",
            _EMULATED,
            "HardDiskCollection.create_differencing",
            "Innkeeper’s VHD engine; QEMU has none.",
        ),
        Member(
            "CreateDynamicVirtualHardDisk",
            _DIRECT,
            "HardDiskCollection.create_dynamic",
            "Innkeeper’s VHD engine.",
        ),
        Member(
            "CreateFixedVirtualHardDisk",
            _DIRECT,
            "HardDiskCollection.create_fixed",
            "Innkeeper’s VHD engine; the room is really taken.",
        ),
        Member(
            "CreateFloppyDiskImage",
            _DIRECT,
            "VirtualPC.create_floppy_disk_image",
            "A file of 737,280 or 1,474,560 bytes, formatted with FAT12.",
        ),
        Member(
            "CreateVirtualMachine",
            _DIRECT,
            "VirtualPC.create_virtual_machine",
            "A task: q35, virtio devices, ports for both agents; with a disk of its own, or from a "
            "cloud image with a first-boot seed.",
        ),
        Member(
            "DefaultVMConfigurationPath",
            _EMULATED,
            "VirtualPC.default_vm_configuration_path",
            "An option; machines in the service’s state directory at first.",
        ),
        Member(
            "DeleteVirtualMachine",
            _DIRECT,
            "Machine.delete",
            "libvirt forgets the domain with its saved state and NVRAM; undo disks are deleted, disks "
            "only where asked for. A task.",
        ),
        Member(
            "FindVirtualMachine",
            _DIRECT,
            "MachineCollection.__getitem__",
            "Whatever the case; MachineNotFound in place of S_FALSE.",
        ),
        Member(
            "FindVirtualNetwork",
            _DIRECT,
            "VirtualPC.find_virtual_network",
            "Whatever the case; None in place of S_FALSE.",
        ),
        Member(
            "GetConfigurationValue",
            _EMULATED,
            "VirtualPC.get_configuration_value",
            "From the service’s options.",
        ),
        Member(
            "GetDVDFiles",
            _EMULATED,
            "VirtualPC.get_dvd_files",
            "Files ending in .iso, in the search paths and the folders below them.",
        ),
        Member(
            "GetFloppyDiskFiles",
            _EMULATED,
            "VirtualPC.get_floppy_disk_files",
            "Files ending in .vfd, .flp or .img that are small enough, in the search paths.",
        ),
        Member(
            "GetFloppyDiskImageType",
            _EMULATED,
            "VirtualPC.get_floppy_disk_image_type",
            "By the file’s size.",
        ),
        Member(
            "GetHardDisk",
            _EMULATED,
            "VirtualPC.get_hard_disk",
            "The image is opened, and its header read.",
        ),
        Member(
            "GetHardDiskFiles",
            _EMULATED,
            "VirtualPC.get_hard_disk_files",
            "Files ending in .vhd, .vhdx, .qcow2, .raw, .img or .vmdk, in the search paths.",
        ),
        Member(
            "GetVirtualMachineFiles",
            _EMULATED,
            "VirtualPC.get_virtual_machine_files",
            "Definitions ending in .xml or .vmc, in the search paths and where new machines keep their "
            "files.",
        ),
        Member(
            "HostInfo",
            _EMULATED,
            "VirtualPC.host_info",
            "The first host; hosts gives all.",
        ),
        Member(
            "MaximumFloppyDrivesPerVM",
            _EMULATED,
            "VirtualPC.maximum_floppy_drives_per_vm",
            "2.",
        ),
        Member(
            "MaximumMemoryPerVM",
            _DIRECT,
            "VirtualPC.maximum_memory_per_vm",
            "What the first host has.",
        ),
        Member(
            "MaximumNetworkAdaptersPerVM",
            _EMULATED,
            "VirtualPC.maximum_network_adapters_per_vm",
            "8, in place of 4.",
        ),
        Member(
            "MaximumNumberOfIDEBuses",
            _EMULATED,
            "VirtualPC.maximum_number_of_ide_buses",
            "2. Locations beyond them, up to bus 12, are on virtio, SCSI or SATA.",
        ),
        Member(
            "MaximumParallelPortsPerVM",
            _EMULATED,
            "VirtualPC.maximum_parallel_ports_per_vm",
            "3, as QEMU has it.",
        ),
        Member(
            "MaximumSerialPortsPerVM",
            _EMULATED,
            "VirtualPC.maximum_serial_ports_per_vm",
            "4, as QEMU has it.",
        ),
        Member(
            "MinimumMemoryPerVM",
            _EMULATED,
            "VirtualPC.minimum_memory_per_vm",
            "4 MiB.",
        ),
        Member(
            "Name",
            _EMULATED,
            "VirtualPC.name",
            "“Innkeeper”.",
        ),
        Member(
            "RegisterVirtualMachine",
            _EMULATED,
            "VirtualPC.register_virtual_machine",
            "A libvirt definition is defined; the saved state beside it goes with it. A .vmc file is "
            "not read.",
        ),
        Member(
            "RemoveConfigurationValue",
            _EMULATED,
            "VirtualPC.remove_configuration_value",
            "From the service’s options.",
        ),
        Member(
            "SearchPaths",
            _EMULATED,
            "VirtualPC.search_paths",
            "An option: absolute folders that are there.",
        ),
        Member(
            "SetConfigurationValue",
            _EMULATED,
            "VirtualPC.set_configuration_value",
            "In the service’s options. idle_timeout is kept, and without effect: the service does not end "
            "by itself.",
        ),
        Member(
            "SuggestedMaximumMemoryPerVM",
            _EMULATED,
            "VirtualPC.suggested_maximum_memory_per_vm",
            "What the first host can give now, less 512 MiB.",
        ),
        Member(
            "Tasks",
            _EMULATED,
            "Inn.tasks",
            "The history too.",
        ),
        Member(
            "UnconnectedNetworkAdapters",
            _EMULATED,
            "VirtualPC.unconnected_network_adapters",
            "The adapters of all machines whose link is down.",
        ),
        Member(
            "UnregisterVirtualMachine",
            _DIRECT,
            "Machine.unregister",
            "The definition is written to a file and libvirt forgets the domain; its saved state is "
            "moved beside the file, all else stays.",
        ),
        Member(
            "UpTime",
            _EMULATED,
            "VirtualPC.up_time",
            "The service’s.",
        ),
        Member(
            "USBDeviceCollection",
            _DIRECT,
            "VirtualPC.usb_device_collection",
            "Read from /sys, without the root hubs; any number.",
        ),
        Member(
            "Version",
            _EMULATED,
            "VirtualPC.version",
            "The service’s version, in Python’s form.",
        ),
        Member(
            "VirtualMachines",
            _DIRECT,
            "Inn.machines",
            "All machines of all hosts.",
        ),
        Member(
            "VirtualNetworks",
            _DIRECT,
            "VirtualPC.virtual_networks",
            "libvirt’s networks, and “user”: QEMU’s own translation, which every host has.",
        ),
    ),
)

HOST_INFO = Interface(
    "IVMHostInfo",
    (
        Member(
            "DVDDrives",
            _NEAREST,
            "HostInfo.dvd_drives",
            "Devices’ paths, such as /dev/sr0, in place of letters.",
        ),
        Member(
            "FloppyDrives",
            _NEAREST,
            "HostInfo.floppy_drives",
            "Devices’ paths, such as /dev/fd0, in place of letters.",
        ),
        Member(
            "LogicalProcessorCount",
            _DIRECT,
            "HostInfo.logical_processor_count",
            "From /proc/cpuinfo; of another computer, from libvirt.",
        ),
        Member(
            "Memory",
            _DIRECT,
            "HostInfo.memory",
            "From /proc/meminfo; of another computer, from libvirt.",
        ),
        Member(
            "MemoryAvail",
            _DIRECT,
            "HostInfo.memory_avail",
            "MemAvailable: free, or held by caches that give way.",
        ),
        Member(
            "MemoryAvailString",
            _DIRECT,
            "HostInfo.memory_avail_string",
            "The same as text.",
        ),
        Member(
            "MemoryTotalString",
            _DIRECT,
            "HostInfo.memory_total_string",
            "The same as text.",
        ),
        Member(
            "MMX",
            _DIRECT,
            "HostInfo.mmx",
            "By the processor’s flags.",
        ),
        Member(
            "NetworkAdapters",
            _DIRECT,
            "HostInfo.network_adapters",
            "Those with a device behind them, from /sys.",
        ),
        Member(
            "NetworkAddresses",
            _DIRECT,
            "HostInfo.network_addresses",
            "IPv4 and IPv6, without the loopback.",
        ),
        Member(
            "OperatingSystem",
            _DIRECT,
            "HostInfo.operating_system",
            "PRETTY_NAME of /etc/os-release.",
        ),
        Member(
            "OSMajorVersion",
            _DIRECT,
            "HostInfo.os_major_version",
            "The first number of the kernel’s release.",
        ),
        Member(
            "OSMinorVersion",
            _DIRECT,
            "HostInfo.os_minor_version",
            "The second number of the kernel’s release.",
        ),
        Member(
            "OSServicePackString",
            _NEAREST,
            "HostInfo.os_service_pack_string",
            "VERSION of /etc/os-release: Linux has no service packs.",
        ),
        Member(
            "OSVersionString",
            _DIRECT,
            "HostInfo.os_version_string",
            "The kernel’s release.",
        ),
        Member(
            "ParallelPort",
            _DIRECT,
            "HostInfo.parallel_port",
            "The first /dev/parport.",
        ),
        Member(
            "PhysicalProcessorCount",
            _DIRECT,
            "HostInfo.physical_processor_count",
            "Sockets.",
        ),
        Member(
            "ProcessorFeaturesString",
            _DIRECT,
            "HostInfo.processor_features_string",
            "The documented features that the flags show.",
        ),
        Member(
            "ProcessorManufacturerString",
            _DIRECT,
            "HostInfo.processor_manufacturer_string",
            "As the processor calls it: GenuineIntel.",
        ),
        Member(
            "ProcessorSpeed",
            _DIRECT,
            "HostInfo.processor_speed",
            "In MHz, always.",
        ),
        Member(
            "ProcessorSpeedString",
            _DIRECT,
            "HostInfo.processor_speed_string",
            "The same as text.",
        ),
        Member(
            "ProcessorVersionString",
            _DIRECT,
            "HostInfo.processor_version_string",
            "The processor’s model name.",
        ),
        Member(
            "SerialPorts",
            _DIRECT,
            "HostInfo.serial_ports",
            "Devices’ paths, parted by semicolons: those with a port behind them.",
        ),
        Member(
            "SSE",
            _DIRECT,
            "HostInfo.sse",
            "By the processor’s flags.",
        ),
        Member(
            "SSE2",
            _DIRECT,
            "HostInfo.sse2",
            "By the processor’s flags.",
        ),
        Member(
            "ThreeDNow",
            _DIRECT,
            "HostInfo.three_d_now",
            "By the processor’s flags.",
        ),
        Member(
            "UTCTime",
            _DIRECT,
            "HostInfo.utc_time",
            "The service’s clock.",
        ),
    ),
)

VIRTUAL_NETWORK = Interface(
    "IVMVirtualNetwork",
    (
        Member(
            "_ID",
            _DIRECT,
            "VirtualNetwork.id",
            "libvirt’s UUID without hyphens; 0101…01 for QEMU’s own translation.",
        ),
        Member(
            "HostAdapter",
            _DIRECT,
            "VirtualNetwork.host_adapter",
            "The device that libvirt forwards to; empty for none.",
        ),
        Member(
            "Name",
            _DIRECT,
            "VirtualNetwork.name",
            "libvirt’s name of it.",
        ),
        Member(
            "NetworkAdapters",
            _EMULATED,
            "VirtualNetwork.network_adapters",
            "The adapters of all machines that are attached to it.",
        ),
    ),
)

USB_DEVICE = Interface(
    "IVMUSBDevice",
    (
        Member(
            "AttachedToVM",
            _DIRECT,
            "USBDevice.attached_to_vm",
            "None in place of S_FALSE where the host has it.",
        ),
        Member(
            "DeviceClass",
            _DIRECT,
            "USBDevice.device_class",
            "bDeviceClass of /sys.",
        ),
        Member(
            "DeviceString",
            _DIRECT,
            "USBDevice.device_string",
            "As the device calls itself.",
        ),
        Member(
            "HubID",
            _DIRECT,
            "USBDevice.hub_id",
            "Its bus.",
        ),
        Member(
            "ManufacturerString",
            _DIRECT,
            "USBDevice.manufacturer_string",
            "As the device says.",
        ),
        Member(
            "Port",
            _DIRECT,
            "USBDevice.port",
            "The last part of its path in /sys.",
        ),
    ),
)
