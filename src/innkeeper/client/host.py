"""Use what belongs to no single machine (``IVMVirtualPC``, ``IVMHostInfo`` and theirs)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TypeVar, Unpack

from pydantic import BaseModel

from innkeeper.client.calls import machine_parts as calls
from innkeeper.client.configuration import Value
from innkeeper.client.devices import NetworkAdapter
from innkeeper.client.disks import HardDisk
from innkeeper.client.tasks import Task
from innkeeper.client.transport import Page, Transport
from innkeeper.errors import ErrorCode, InvalidArgument
from innkeeper.wire import host as wire
from innkeeper.wire.configuration import ValueList, ValueMessage, ValueRequest, value_message
from innkeeper.wire.messages import Accepted, MachineMessage, Nothing, checked
from innkeeper.wire.states import Accelerator
from innkeeper.wire.virtual_pc import FloppyDiskImageType, UsbDeviceClass

Said = TypeVar("Said", bound=BaseModel)

#: Linux's word for each documented feature of a processor.
_FEATURES: Mapping[str, str] = {
    "MMX": "mmx",
    "SSE": "sse",
    "SSE2": "sse2",
    "SSE3": "pni",
    "3DNow": "3dnow",
    "x86-64": "lm",
    "Intel VT": "vmx",
    "AMD-V": "svm",
    "TXTE": "smx",
}


class HostInfo:
    """One host, as it was when it was asked for (``IVMHostInfo``)."""

    def __init__(self, message: wire.HostInfoMessage) -> None:
        self._said = message

    def __repr__(self) -> str:
        return f"<HostInfo {self.name}>"

    @property
    def name(self) -> str:
        """The host's name in Innkeeper."""
        return self._said.name

    def read(self) -> wire.HostInfoMessage:
        """All of it."""
        return self._said

    @property
    def accelerator(self) -> Accelerator:
        """What runs the processors of the host's machines: KVM, or software emulation."""
        return self._said.accelerator

    @property
    def accelerator_reason(self) -> str:
        """The reason for KVM or software emulation, in a sentence."""
        return self._said.accelerator_reason

    @property
    def dvd_drives(self) -> Sequence[str]:
        """The host's DVD drives, as devices' paths (``DVDDrives``)."""
        return self._said.dvd_drives

    @property
    def floppy_drives(self) -> Sequence[str]:
        """The host's floppy drives, as devices' paths (``FloppyDrives``)."""
        return self._said.floppy_drives

    @property
    def logical_processor_count(self) -> int:
        """Number of the host's logical processors (``LogicalProcessorCount``)."""
        return self._said.logical_processors

    @property
    def physical_processor_count(self) -> int:
        """Number of the host's sockets (``PhysicalProcessorCount``)."""
        return self._said.physical_processors

    @property
    def memory(self) -> int:
        """The host's memory in MiB (``Memory``)."""
        return self._said.memory_mib

    @property
    def memory_avail(self) -> int:
        """Memory that programs can still get, in MiB (``MemoryAvail``)."""
        return self._said.memory_available_mib

    @property
    def memory_avail_string(self) -> str:
        """The same as text (``MemoryAvailString``)."""
        return str(self.memory_avail)

    @property
    def memory_total_string(self) -> str:
        """The host's memory as text (``MemoryTotalString``)."""
        return str(self.memory)

    @property
    def mmx(self) -> bool:
        """Whether its processor has MMX (``MMX``)."""
        return "mmx" in self._said.processor_flags

    @property
    def sse(self) -> bool:
        """Whether its processor has SSE (``SSE``)."""
        return "sse" in self._said.processor_flags

    @property
    def sse2(self) -> bool:
        """Whether its processor has SSE2 (``SSE2``)."""
        return "sse2" in self._said.processor_flags

    @property
    def three_d_now(self) -> bool:
        """Whether its processor has 3DNow! (``ThreeDNow``)."""
        return "3dnow" in self._said.processor_flags

    @property
    def network_adapters(self) -> Sequence[str]:
        """The host's physical network adapters (``NetworkAdapters``)."""
        return self._said.network_adapters

    @property
    def network_addresses(self) -> Sequence[str]:
        """The host's addresses (``NetworkAddresses``)."""
        return self._said.network_addresses

    @property
    def operating_system(self) -> str:
        """The host's operating system (``OperatingSystem``)."""
        return self._said.operating_system

    @property
    def os_major_version(self) -> int:
        """The first number of its kernel's release (``OSMajorVersion``)."""
        return self._version_part(0)

    @property
    def os_minor_version(self) -> int:
        """The second number of its kernel's release (``OSMinorVersion``)."""
        return self._version_part(1)

    @property
    def os_service_pack_string(self) -> str:
        """The distribution's version (``OSServicePackString``)."""
        return self._said.os_service_pack

    @property
    def os_version_string(self) -> str:
        """The kernel's release (``OSVersionString``)."""
        return self._said.os_version

    @property
    def parallel_port(self) -> str:
        """The host's first parallel port; empty for none (``ParallelPort``)."""
        return next(iter(self._said.parallel_ports), "")

    @property
    def serial_ports(self) -> str:
        """The host's serial ports, separated by semicolons (``SerialPorts``)."""
        return ";".join(self._said.serial_ports)

    @property
    def processor_features_string(self) -> str:
        """The processor's features, separated by commas (``ProcessorFeaturesString``)."""
        flags = self._said.processor_flags
        return ",".join(name for name, flag in _FEATURES.items() if flag in flags)

    @property
    def processor_manufacturer_string(self) -> str:
        """The processor's manufacturer (``ProcessorManufacturerString``)."""
        return self._said.processor_manufacturer

    @property
    def processor_speed(self) -> int:
        """The processor's speed in MHz (``ProcessorSpeed``)."""
        return self._said.processor_mhz

    @property
    def processor_speed_string(self) -> str:
        """The same as text (``ProcessorSpeedString``)."""
        return f"{self.processor_speed} MHz"

    @property
    def processor_version_string(self) -> str:
        """The processor's name (``ProcessorVersionString``)."""
        return self._said.processor_version

    @property
    def utc_time(self) -> dt.datetime:
        """The service's time (``UTCTime``)."""
        return self._said.utc_time

    def _version_part(self, number: int) -> int:
        parts = self._said.os_version.split(".")
        digits = parts[number] if number < len(parts) else "0"
        return int(digits) if digits.isdigit() else 0


class VirtualNetwork:
    """One virtual network, as it was when it was asked for (``IVMVirtualNetwork``)."""

    def __init__(self, transport: Transport, message: wire.NetworkMessage) -> None:
        self._transport = transport
        self._said = message

    def __repr__(self) -> str:
        return f"<VirtualNetwork {self.name}>"

    @property
    def id(self) -> str:
        """The network's identifier (``_ID``): 0101…01 for the one that QEMU itself translates."""
        return self._said.id

    @property
    def name(self) -> str:
        """The network's name (``Name``)."""
        return self._said.name

    @property
    def host(self) -> str:
        """The host that has it."""
        return self._said.host

    @property
    def host_adapter(self) -> str:
        """The host's adapter behind it; empty for none (``HostAdapter``)."""
        return self._said.host_adapter

    @property
    def network_adapters(self) -> Sequence[NetworkAdapter]:
        """The adapters that are attached to it (``NetworkAdapters``)."""
        return [NetworkAdapter(self._transport, each.machine, each.id) for each in self._said.adapters]


class USBDevice:
    """One USB device of a host, as it was when it was asked for (``IVMUSBDevice``)."""

    def __init__(self, message: wire.UsbDeviceMessage) -> None:
        self._said = message

    def __repr__(self) -> str:
        return f"<USBDevice {self.bus}:{self.device} {self.device_string}>"

    @property
    def bus(self) -> int:
        """The bus's number, as ``Machine.attach_usb_device`` takes it."""
        return self._said.bus

    @property
    def device(self) -> int:
        """The device's number on the bus, as ``Machine.attach_usb_device`` takes it."""
        return self._said.device

    @property
    def attached_to_vm(self) -> str | None:
        """The machine that has it (``AttachedToVM``); ``None`` where the host has it."""
        return self._said.machine or None

    @property
    def device_class(self) -> UsbDeviceClass:
        """The device's class (``DeviceClass``)."""
        return self._said.device_class

    @property
    def device_string(self) -> str:
        """The device's name (``DeviceString``)."""
        return self._said.name

    @property
    def hub_id(self) -> int:
        """The device's bus (``HubID``)."""
        return self._said.hub

    @property
    def manufacturer_string(self) -> str:
        """The device's manufacturer (``ManufacturerString``)."""
        return self._said.manufacturer

    @property
    def port(self) -> int:
        """The port that it is plugged into (``Port``)."""
        return self._said.port


class VirtualPC:
    """The service as the documented host object (``IVMVirtualPC``)."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def read(self) -> wire.VirtualPCMessage:
        """Paths and limits."""
        return self._send("GET", "virtual-pc", wire.VirtualPCMessage)

    # Itself

    @property
    def name(self) -> str:
        """The product's name (``Name``)."""
        return self.read().name

    @property
    def version(self) -> str:
        """The service's version (``Version``)."""
        return self.read().version

    @property
    def up_time(self) -> int:
        """For how many seconds the service has been running (``UpTime``)."""
        return self.read().up_time_seconds

    # Limits

    @property
    def minimum_memory_per_vm(self) -> int:
        """The least memory of a machine, in MiB (``MinimumMemoryPerVM``)."""
        return self.read().minimum_memory_mib

    @property
    def maximum_memory_per_vm(self) -> int:
        """The most memory of a machine, in MiB: the first host's (``MaximumMemoryPerVM``)."""
        return self.read().maximum_memory_mib

    @property
    def suggested_maximum_memory_per_vm(self) -> int:
        """What the first host can give now, less a reserve (``SuggestedMaximumMemoryPerVM``)."""
        return self.read().suggested_maximum_memory_mib

    @property
    def maximum_floppy_drives_per_vm(self) -> int:
        """How many floppy drives a machine can have (``MaximumFloppyDrivesPerVM``)."""
        return self.read().maximum_floppy_drives

    @property
    def maximum_network_adapters_per_vm(self) -> int:
        """How many network adapters a machine can have (``MaximumNetworkAdaptersPerVM``)."""
        return self.read().maximum_network_adapters

    @property
    def maximum_number_of_ide_buses(self) -> int:
        """How many IDE buses a machine has (``MaximumNumberOfIDEBuses``); other buses have more room."""
        return self.read().maximum_ide_buses

    @property
    def maximum_parallel_ports_per_vm(self) -> int:
        """How many parallel ports a machine can have (``MaximumParallelPortsPerVM``)."""
        return self.read().maximum_parallel_ports

    @property
    def maximum_serial_ports_per_vm(self) -> int:
        """How many serial ports a machine can have (``MaximumSerialPortsPerVM``)."""
        return self.read().maximum_serial_ports

    # Paths and files

    @property
    def default_vm_configuration_path(self) -> str:
        """Where new machines keep their files (``DefaultVMConfigurationPath``)."""
        return self.read().default_vm_configuration_path

    @default_vm_configuration_path.setter
    def default_vm_configuration_path(self, path: str) -> None:
        request = wire.PathsRequest(default_vm_configuration_path=path)
        self._send("PATCH", "virtual-pc", wire.VirtualPCMessage, request)

    @property
    def search_paths(self) -> Sequence[str]:
        """Where files are looked for (``SearchPaths``): absolute folders that are there."""
        return self.read().search_paths

    @search_paths.setter
    def search_paths(self, paths: Sequence[str]) -> None:
        request = wire.PathsRequest(search_paths=tuple(paths))
        self._send("PATCH", "virtual-pc", wire.VirtualPCMessage, request)

    def get_hard_disk_files(self, *more: str) -> Sequence[str]:
        """The disk images in the search paths, and in ``more`` (``GetHardDiskFiles``)."""
        return self._list("virtual-pc/hard-disk-files", wire.FileList, more=more).files

    def get_dvd_files(self, *more: str) -> Sequence[str]:
        """The DVD images there (``GetDVDFiles``)."""
        return self._list("virtual-pc/dvd-files", wire.FileList, more=more).files

    def get_floppy_disk_files(self, *more: str) -> Sequence[str]:
        """The floppy images there (``GetFloppyDiskFiles``)."""
        return self._list("virtual-pc/floppy-disk-files", wire.FileList, more=more).files

    def get_virtual_machine_files(self, *more: str, without_registered: bool = False) -> Sequence[str]:
        """The machines' definitions there (``GetVirtualMachineFiles``)."""
        return self._list(
            "virtual-pc/machine-files",
            wire.FileList,
            more=more,
            without_registered=without_registered,
        ).files

    def create_floppy_disk_image(
        self, path: str, image_type: FloppyDiskImageType = FloppyDiskImageType.HIGH_DENSITY
    ) -> None:
        """Make a formatted floppy image (``CreateFloppyDiskImage``): of low or high density."""
        if image_type not in list(FloppyDiskImageType):
            raise InvalidArgument(f"There is no floppy of the type {image_type}.", advice="1 or 2 are made.")
        request = wire.FloppyRequest(path=path, type=FloppyDiskImageType(image_type))
        self._send("POST", "virtual-pc/floppies", wire.FloppyMessage, request)

    def get_floppy_disk_image_type(self, path: str) -> FloppyDiskImageType:
        """The type of a floppy image (``GetFloppyDiskImageType``)."""
        return self._send("GET", "virtual-pc/floppies", wire.FloppyMessage, path=path).type

    def get_hard_disk(self, path: str) -> HardDisk:
        """A disk by its image (``GetHardDisk``). Raises ``DiskError`` where it is none."""
        disk = HardDisk(self._transport, path)
        disk.read()
        return disk

    # Options

    def configuration_values(self) -> Mapping[str, Value]:
        """Every option."""
        return {each.key: each.message for each in self._send("GET", "virtual-pc/values", ValueList).values}

    def get_configuration_value(self, key: str) -> Value:
        """One option (``GetConfigurationValue``). Raises VM_E_PREF_NOT_FOUND."""
        return self._send("GET", "virtual-pc/value", ValueMessage, key=key).message

    def set_configuration_value(self, key: str, value: Value) -> None:
        """Set one option (``SetConfigurationValue``)."""
        message = value_message(key, value)
        request = ValueRequest(key=key, kind=message.kind, value=message.value)
        self._send("PUT", "virtual-pc/value", ValueMessage, request)

    def remove_configuration_value(self, key: str) -> None:
        """Remove one option (``RemoveConfigurationValue``)."""
        self._send("DELETE", "virtual-pc/value", Nothing, key=key)

    # What is around

    def read_hosts(self) -> wire.HostList:
        """The hosts, as they are sent: those that answer, and those that do not."""
        return self._list("hosts", wire.HostList)

    @property
    def hosts(self) -> Sequence[HostInfo]:
        """What the hosts are that answer."""
        return [HostInfo(each) for each in self.read_hosts().hosts]

    @property
    def host_info(self) -> HostInfo:
        """What the first host is (``HostInfo``)."""
        return self.hosts[0]

    def read_networks(self) -> wire.NetworkList:
        """The virtual networks, as they are sent."""
        return self._list("networks", wire.NetworkList)

    def read_usb_devices(self) -> wire.UsbDeviceList:
        """The USB devices, as they are sent."""
        return self._list("usb", wire.UsbDeviceList)

    @property
    def virtual_networks(self) -> Sequence[VirtualNetwork]:
        """The virtual networks (``VirtualNetworks``)."""
        return [VirtualNetwork(self._transport, each) for each in self.read_networks().networks]

    def find_virtual_network(self, name: str) -> VirtualNetwork | None:
        """The network of this name, whatever the case (``FindVirtualNetwork``); ``None`` for none."""
        if not name:
            raise InvalidArgument("A network has a name.", code=ErrorCode.E_INVALIDARG)
        wanted = name.casefold()
        return next((each for each in self.virtual_networks if each.name.casefold() == wanted), None)

    @property
    def unconnected_network_adapters(self) -> Sequence[NetworkAdapter]:
        """The adapters of all machines whose cable is out (``UnconnectedNetworkAdapters``)."""
        message = self._list("networks/unplugged", wire.AdapterList)
        return [NetworkAdapter(self._transport, each.machine, each.id) for each in message.adapters]

    @property
    def usb_device_collection(self) -> Sequence[USBDevice]:
        """The USB devices of the hosts (``USBDeviceCollection``)."""
        return [USBDevice(each) for each in self.read_usb_devices().devices]

    # Machines

    def create_virtual_machine(self, name: str, **options: Unpack[wire.NewMachineOptions]) -> Task:
        """Create a machine (``CreateVirtualMachine``). Options: as ``CreateMachineRequest`` has them."""
        with checked():
            request = wire.CreateMachineRequest.model_validate({"name": name, **options})
        return Task(self._transport, self._send("POST", "machines", Accepted, request).task)

    def register_virtual_machine(self, path: str, name: str = "") -> MachineMessage:
        """Take in a machine by its definition's file (``RegisterVirtualMachine``)."""
        request = wire.RegisterRequest(path=path, name=name)
        return self._send("POST", "machines/register", MachineMessage, request)

    def _list(self, what: str, answer: type[Page], **query: bool | tuple[str, ...]) -> Page:
        return self._transport.whole(calls.around("GET", what, answer, None, **query))

    def _send(
        self,
        method: str,
        what: str,
        answer: type[Said],
        body: BaseModel | None = None,
        **query: str | bool | tuple[str, ...],
    ) -> Said:
        return self._transport.send(calls.around(method, what, answer, body, **query))
