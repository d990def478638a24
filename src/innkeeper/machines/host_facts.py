"""Describe a host: its processors, memory, drives, networks and USB devices."""

from __future__ import annotations

import dataclasses

from innkeeper.wire.states import Accelerator as Accelerator
from innkeeper.wire.virtual_pc import UsbDeviceClass


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Acceleration:
    """How a host runs its machines, and why so."""

    accelerator: Accelerator
    #: A sentence for a person.
    reason: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class HostFacts:
    """Hardware and software of one host (``IVMHostInfo``). What cannot be seen from here is empty or 0."""

    name: str
    memory_mib: int
    memory_available_mib: int
    logical_processors: int
    physical_processors: int
    processor_mhz: int
    #: ``GenuineIntel``.
    processor_manufacturer: str = ""
    #: ``Intel(R) Xeon(R) …``.
    processor_version: str = ""
    #: The processor's feature flags, as Linux names them.
    processor_flags: frozenset[str] = frozenset()
    #: ``Debian GNU/Linux 12 (bookworm)``.
    operating_system: str = ""
    #: ``6.1.0-13-amd64``.
    os_version: str = ""
    #: ``12 (bookworm)``.
    os_service_pack: str = ""
    network_adapters: tuple[str, ...] = ()
    network_addresses: tuple[str, ...] = ()
    dvd_drives: tuple[str, ...] = ()
    floppy_drives: tuple[str, ...] = ()
    serial_ports: tuple[str, ...] = ()
    parallel_ports: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class VirtualNetwork:
    """One network that adapters can be attached to (``IVMVirtualNetwork``)."""

    name: str
    #: Hexadecimal; ``01010101010101010101010101010101`` for the one that QEMU itself translates.
    id: str
    #: The host's adapter behind it; empty where there is none.
    host_adapter: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class UsbDevice:
    """One USB device of a host (``IVMUSBDevice``)."""

    bus: int
    device: int
    hub: int
    port: int
    device_class: UsbDeviceClass
    vendor_id: int
    product_id: int
    name: str = ""
    manufacturer: str = ""
    #: The machine that it is attached to; empty where the host has it.
    machine: str = ""
