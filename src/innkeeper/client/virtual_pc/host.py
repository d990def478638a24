"""Declare: the host object, what it says of its computer, its networks and USB devices."""

from innkeeper.client.virtual_pc.member import Carriage, Interface, Member

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
            "CreateFloppyDiskImage", _DIRECT, "", "Truncate 737280 / 1474560 + FAT12 format; types 1,2 only."
        ),
        Member("CreateVirtualMachine", _DIRECT, "", "VirDomainDefineXML + metadata."),
        Member(
            "DefaultVMConfigurationPath",
            _EMULATED,
            "",
            "Setting; default ~/.local/share/innkeeper/machines or /var/lib/innkeeper.",
        ),
        Member(
            "DeleteVirtualMachine",
            _DIRECT,
            "",
            "UndefineFlags(MANAGED_SAVE|SNAPSHOTS_METADATA|NVRAM) + delete overlays.",
        ),
        Member(
            "FindVirtualMachine",
            _DIRECT,
            "MachineCollection.__getitem__",
            "Lookup casefolded name; none → S_FALSE/None.",
        ),
        Member("FindVirtualNetwork", _DIRECT, "", "Same for networks."),
        Member("GetConfigurationValue", _EMULATED, "", "SQLite/TOML options."),
        Member("GetDVDFiles", _EMULATED, "", "Scan *.iso in SearchPaths + given."),
        Member("GetFloppyDiskFiles", _EMULATED, "", "Scan *.vfd,*.img."),
        Member(
            "GetFloppyDiskImageType",
            _EMULATED,
            "",
            "By size: 737280→1, 1474560→2, 1720320 DMF→3, 368640/184320→4, 1228800→5, XDF→6.",
        ),
        Member(
            "GetHardDisk",
            _EMULATED,
            "HardDiskCollection.__getitem__",
            "Opened and checked, in the folders of the service.",
        ),
        Member(
            "GetHardDiskFiles",
            _EMULATED,
            "HardDiskCollection.__iter__",
            "The disks in the folders of the service, by their names.",
        ),
        Member("GetVirtualMachineFiles", _EMULATED, "", "Scan *.vmc/*.vmcx + Innkeeper files."),
        Member("HostInfo", _EMULATED, "", "Object."),
        Member("MaximumFloppyDrivesPerVM", _EMULATED, "", "Constant (2 on pc)."),
        Member("MaximumMemoryPerVM", _DIRECT, "", "VirConnectGetMaxMemory analogue: host RAM."),
        Member("MaximumNetworkAdaptersPerVM", _EMULATED, "", "4 (kept) – more as extension."),
        Member("MaximumNumberOfIDEBuses", _EMULATED, "", "2."),
        Member("MaximumParallelPortsPerVM", _EMULATED, "", "1 (QEMU up to 3)."),
        Member("MaximumSerialPortsPerVM", _EMULATED, "", "2 (QEMU 4)."),
        Member("MinimumMemoryPerVM", _EMULATED, "", "4 MB."),
        Member("Name", _EMULATED, "", "'Innkeeper'."),
        Member("RegisterVirtualMachine", _EMULATED, "", "Parse .vmc (XML) or Innkeeper’s file → define."),
        Member("RemoveConfigurationValue", _EMULATED, "", "Options store."),
        Member("SearchPaths", _EMULATED, "", "List setting, each absolute and existing."),
        Member("SetConfigurationValue", _EMULATED, "", "Options store ('idle_timeout' default 30 s)."),
        Member("SuggestedMaximumMemoryPerVM", _EMULATED, "", "MemAvailable − reserve."),
        Member("Tasks", _EMULATED, "Inn.tasks", "Task table."),
        Member("UnconnectedNetworkAdapters", _EMULATED, "", "Scan."),
        Member(
            "UnregisterVirtualMachine",
            _DIRECT,
            "",
            "UndefineFlags(KEEP_NVRAM) while keeping save image + overlays: libvirt refuses "
            "undefine with managed save → move image aside and record path.",
        ),
        Member("UpTime", _EMULATED, "", "Service monotonic clock."),
        Member(
            "USBDeviceCollection",
            _DIRECT,
            "",
            "Sysfs /sys/bus/usb (virNodeListDevices not in embed); limit 16 only strict.",
        ),
        Member("Version", _EMULATED, "", "Innkeeper’s v.s.bbb.tee form."),
        Member("VirtualMachines", _DIRECT, "Inn.machines", "ListAllDomains."),
        Member("VirtualNetworks", _DIRECT, "", "ListAllNetworks (libvirtd) or own."),
    ),
)

HOST_INFO = Interface(
    "IVMHostInfo",
    (
        Member("DVDDrives", _NEAREST, "", "/dev/sr* (sysfs) paths."),
        Member("FloppyDrives", _NEAREST, "", "/dev/fd*."),
        Member("LogicalProcessorCount", _DIRECT, "", "VirNodeGetInfo cpus / os.cpu_count."),
        Member("Memory", _DIRECT, "", "VirNodeGetMemoryStats total // MiB."),
        Member(
            "MemoryAvail",
            _DIRECT,
            "",
            "/proc/meminfo MemAvailable (virNodeGetFreeMemory excludes cache: 4.2 GB vs 22 GB "
            "free+cache here).",
        ),
        Member("MemoryAvailString", _DIRECT, "", "Same as text."),
        Member("MemoryTotalString", _DIRECT, "", "Same as text."),
        Member("MMX", _DIRECT, "", "/proc/cpuinfo flags."),
        Member("NetworkAdapters", _DIRECT, "", "/sys/class/net names (physical: has 'device')."),
        Member("NetworkAddresses", _DIRECT, "", "Getifaddrs / ip -j addr."),
        Member("OperatingSystem", _DIRECT, "", "/etc/os-release PRETTY_NAME."),
        Member("OSMajorVersion", _DIRECT, "", "Uname release part 1."),
        Member("OSMinorVersion", _DIRECT, "", "Uname release part 2."),
        Member("OSServicePackString", _NEAREST, "", "Os-release VERSION."),
        Member("OSVersionString", _DIRECT, "", "Uname -r / VERSION_ID."),
        Member("ParallelPort", _DIRECT, "", "/dev/parport0 if present."),
        Member("PhysicalProcessorCount", _DIRECT, "", "Capabilities topology sockets × nodes."),
        Member(
            "ProcessorFeaturesString",
            _DIRECT,
            "",
            "Map flags: vmx→'Intel VT', svm→'AMD-V', /dev/kvm usable→HAVE else HAVD, sse.., "
            "lm→x86-64, smx→TXTE.",
        ),
        Member("ProcessorManufacturerString", _DIRECT, "", "Cpuinfo vendor_id."),
        Member("ProcessorSpeed", _DIRECT, "", "VirNodeGetInfo mhz (MHz always)."),
        Member("ProcessorSpeedString", _DIRECT, "", "Same as text."),
        Member("ProcessorVersionString", _DIRECT, "", "Cpuinfo model name."),
        Member("SerialPorts", _DIRECT, "", "/dev/ttyS*, ttyUSB* joined by ';'."),
        Member("SSE", _DIRECT, "", "Cpuinfo flag."),
        Member("SSE2", _DIRECT, "", "Cpuinfo flag."),
        Member("ThreeDNow", _DIRECT, "", "Cpuinfo flag 3dnow."),
        Member("UTCTime", _DIRECT, "", "Datetime.now(UTC)."),
    ),
)

VIRTUAL_NETWORK = Interface(
    "IVMVirtualNetwork",
    (
        Member("_ID", _DIRECT, "", "Network UUID (NAT well-knInnkeeper’s id 0101…01)."),
        Member("HostAdapter", _DIRECT, "", "Forward dev / bridge master NIC; '' for internal/NAT."),
        Member(
            "Name",
            _DIRECT,
            "",
            "Libvirt network name (needs libvirtd network driver; embed has none) or Innkeeper’s "
            "bridge/passt registry.",
        ),
        Member("NetworkAdapters", _EMULATED, "", "Scan domains."),
    ),
)

USB_DEVICE = Interface(
    "IVMUSBDevice",
    (
        Member(
            "AttachedToVM", _DIRECT, "", "Search hostdev in running domains; name or S_FALSE when on host."
        ),
        Member("DeviceClass", _DIRECT, "", "Sysfs bDeviceClass."),
        Member("DeviceString", _DIRECT, "", "Sysfs product."),
        Member("HubID", _DIRECT, "", "Sysfs busnum (+ hub path)."),
        Member("ManufacturerString", _DIRECT, "", "Sysfs manufacturer."),
        Member("Port", _DIRECT, "", "Sysfs devpath last component."),
    ),
)
