"""Make up what a simulated host is and has around its machines."""

from __future__ import annotations

from innkeeper.machines.host_facts import HostFacts, UsbDevice, VirtualNetwork
from innkeeper.wire.virtual_pc import UsbDeviceClass

NETWORKS = (
    VirtualNetwork(name="user", id="01" * 16),
    VirtualNetwork(name="default", id="5e1f" * 8),
    VirtualNetwork(name="Lab", id="1ab0" * 8, host_adapter="eth0"),
)

USB_DEVICES = (
    UsbDevice(
        bus=1,
        device=2,
        hub=1,
        port=1,
        device_class=UsbDeviceClass.MASS_STORAGE,
        vendor_id=0x0951,
        product_id=0x1666,
        name="DataTraveler",
        manufacturer="Kingston",
    ),
    UsbDevice(
        bus=1,
        device=3,
        hub=1,
        port=2,
        device_class=UsbDeviceClass.SMART_CARD,
        vendor_id=0x1050,
        product_id=0x0407,
        name="Security Key",
        manufacturer="Yubico",
    ),
)


def simulated_facts(name: str, memory_mib: int, available_mib: int) -> HostFacts:
    """A host with one processor of eight cores, a DVD drive and a floppy drive."""
    return HostFacts(
        name=name,
        memory_mib=memory_mib,
        memory_available_mib=available_mib,
        logical_processors=8,
        physical_processors=1,
        processor_mhz=2_400,
        processor_manufacturer="GenuineInnkeeper",
        processor_version="Simulated processor",
        processor_flags=frozenset({"mmx", "sse", "sse2", "lm"}),
        operating_system="Simulated Linux",
        os_version="6.1.0",
        network_adapters=("eth0",),
        network_addresses=("192.0.2.1",),
        dvd_drives=("/dev/sr0",),
        floppy_drives=("/dev/fd0",),
        serial_ports=("/dev/ttyS0",),
        parallel_ports=("/dev/parport0",),
    )
