"""Describe the HTTP messages about hosts, and about what belongs to no single machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypedDict

from pydantic import AwareDatetime, Field

from innkeeper.wire.disks import MAX_PATH_CHARS
from innkeeper.wire.messages import Message, OfServers, Paged, Request, named
from innkeeper.wire.states import Accelerator
from innkeeper.wire.text import OneLine
from innkeeper.wire.virtual_pc import FloppyDiskImageType, UsbDeviceClass

FloppyDiskImageTypeName = Annotated[FloppyDiskImageType, *named(FloppyDiskImageType)]
UsbDeviceClassName = Annotated[UsbDeviceClass, *named(UsbDeviceClass)]


class HostInfoMessage(Message):
    """What one host is (``IVMHostInfo``)."""

    name: str
    #: What it is called by programs, whatever its name and address are.
    id: str = ""
    #: The server that looks after it.
    server: str = ""
    uri: str
    utc_time: AwareDatetime
    memory_mib: int
    memory_available_mib: int
    logical_processors: int
    physical_processors: int
    processor_mhz: int
    accelerator: Accelerator
    #: Why it is that one, in a sentence.
    accelerator_reason: str
    processor_manufacturer: str
    processor_version: str
    processor_flags: tuple[str, ...]
    operating_system: str
    os_version: str
    os_service_pack: str
    network_adapters: tuple[str, ...]
    network_addresses: tuple[str, ...]
    dvd_drives: tuple[str, ...]
    floppy_drives: tuple[str, ...]
    serial_ports: tuple[str, ...]
    parallel_ports: tuple[str, ...]


class HostAway(Message):
    """One host that does not answer now."""

    name: str
    uri: str
    #: Why, in a sentence.
    reason: str
    #: The host's id, where it is known; empty for a second address of another host.
    id: str = ""
    #: The server that looks after it, or did last; empty where none does.
    server: str = ""
    #: When it answered last; nothing where that is not known.
    seen_at: AwareDatetime | None = None


class HostList(Paged):
    """The hosts of the service: those that answer, and those that do not."""

    entries_field = "hosts"

    hosts: tuple[HostInfoMessage, ...]
    away: tuple[HostAway, ...] = ()


class AdapterName(Message):
    """One network adapter, by its machine and its number."""

    machine: str
    id: int


class NetworkMessage(Message):
    """One virtual network (``IVMVirtualNetwork``)."""

    host: str
    name: str
    id: str
    host_adapter: str
    #: The adapters that are attached to it.
    adapters: tuple[AdapterName, ...]


class NetworkList(Paged, OfServers):
    """The virtual networks of all hosts."""

    entries_field = "networks"

    networks: tuple[NetworkMessage, ...]


class AdapterList(Paged, OfServers):
    """Network adapters."""

    entries_field = "adapters"

    adapters: tuple[AdapterName, ...]


class UsbDeviceMessage(Message):
    """One USB device of a host (``IVMUSBDevice``)."""

    host: str
    bus: int
    device: int
    hub: int
    port: int
    device_class: UsbDeviceClassName
    vendor_id: int
    product_id: int
    name: str
    manufacturer: str
    #: The machine that has it; empty where the host has it.
    machine: str


class UsbDeviceList(Paged, OfServers):
    """The USB devices of all hosts."""

    entries_field = "devices"

    devices: tuple[UsbDeviceMessage, ...]


class VirtualPCMessage(Message):
    """The service as the documented host object (``IVMVirtualPC``)."""

    name: str = "Innkeeper"
    version: str
    up_time_seconds: int
    default_vm_configuration_path: str
    search_paths: tuple[str, ...]
    minimum_memory_mib: int
    maximum_memory_mib: int
    suggested_maximum_memory_mib: int
    maximum_floppy_drives: int
    maximum_network_adapters: int
    maximum_ide_buses: int
    maximum_parallel_ports: int
    maximum_serial_ports: int


class PathsRequest(Request):
    """Set the folders; what is left out stays."""

    default_vm_configuration_path: str | None = Field(default=None, max_length=MAX_PATH_CHARS)
    search_paths: tuple[str, ...] | None = Field(default=None, max_length=100)


class FileList(Paged):
    """Files, by path."""

    entries_field = "files"

    files: tuple[str, ...]


class FloppyRequest(Request):
    """Make a floppy image."""

    path: str = Field(min_length=1, max_length=MAX_PATH_CHARS)
    type: FloppyDiskImageTypeName = FloppyDiskImageType.HIGH_DENSITY


class FloppyMessage(Message):
    """One floppy image."""

    path: str
    type: FloppyDiskImageTypeName


class FirstBootRequest(Request):
    """What a cloud image is told at its first boot."""

    hostname: OneLine = ""
    user: OneLine = ""
    ssh_keys: tuple[str, ...] = Field(default=(), max_length=100)
    #: Install Innkeeper's task agent.
    agent: bool = True


class FirstBootOptions(TypedDict, total=False):
    """The fields of ``FirstBootRequest``, each of which has a default."""

    hostname: str
    user: str
    ssh_keys: Sequence[str]
    agent: bool


class CreateMachineRequest(Request):
    """Create a machine."""

    name: str
    host: OneLine = ""
    memory_mib: int = 1024
    processors: int = 1
    #: An image that its disk comes from; an empty disk where none is named.
    image: str = Field(default="", max_length=MAX_PATH_CHARS)
    image_format: str = Field(default="", pattern=r"^[a-z0-9]{0,16}$")
    #: Put an overlay over the image instead of copying it: the image must stay as it is.
    overlay: bool = False
    #: The disk's size; 0 for the image's own, or for no disk.
    disk_bytes: int = Field(default=0, ge=0)
    disk_path: str = Field(default="", max_length=MAX_PATH_CHARS)
    #: A DVD image to boot from, such as an installer.
    dvd: str = Field(default="", max_length=MAX_PATH_CHARS)
    uefi: bool = False
    #: Empty for no network.
    network: OneLine = "user"
    notes: str = Field(default="", max_length=65_536)
    labels: tuple[OneLine, ...] = ()
    first_boot: FirstBootRequest | None = None


class NewMachineOptions(TypedDict, total=False):
    """The fields of ``CreateMachineRequest`` beside the name, each of which has a default."""

    host: str
    memory_mib: int
    processors: int
    image: str
    image_format: str
    overlay: bool
    disk_bytes: int
    disk_path: str
    dvd: str
    uefi: bool
    network: str
    notes: str
    labels: Sequence[str]
    first_boot: FirstBootRequest | FirstBootOptions | None


class RegisterRequest(Request):
    """Take in a machine by its definition's file."""

    path: str = Field(min_length=1, max_length=MAX_PATH_CHARS)
    #: Its own where none is given.
    name: str = ""
    host: str = ""


class UnregisteredMessage(Message):
    """A machine was forgotten; its files are kept."""

    machine: str
    #: Its definition: give it to ``register``.
    path: str
