"""Facts of a simulated host, all made up."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from innkeeper.hypervisor.domain.reading import configuration_of
from innkeeper.hypervisor.simulated import definition as fake_definition
from innkeeper.hypervisor.simulated.simulation import Simulation
from innkeeper.machines.host_facts import Acceleration, Accelerator, HostFacts, UsbDevice, VirtualNetwork
from innkeeper.wire.virtual_pc import UsbDeviceClass

NETWORKS = (
    VirtualNetwork(name="user", id="01" * 16),
    VirtualNetwork(name="default", id="5e1f" * 8),
    VirtualNetwork(name="Lab", id="1ab0" * 8, host_adapter="eth0"),
)

PROCESSOR_MHZ = 2_400

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


class SimulatedInformation:
    """Facts of a simulated host (``machines.ports.information.HostInformation``)."""

    def __init__(self, simulation: Simulation, memory_mib: int) -> None:
        self._simulation = simulation
        self._memory_mib = memory_mib

    async def facts(self) -> HostFacts:
        """The host's made-up hardware."""
        return _facts(self._simulation.host, self._memory_mib, await self.memory_free_mib())

    async def memory_free_mib(self) -> int:
        """The memory that machines which are on leave free."""
        await self._simulation.condition.reach()
        machines = self._simulation.machines.values()
        return self._memory_mib - sum(machine.memory_mib for machine in machines if machine.is_on)

    async def acceleration(self) -> Acceleration:
        """No acceleration: nothing runs."""
        await self._simulation.condition.reach()
        return Acceleration(accelerator=Accelerator.NONE, reason="Its machines are simulated.")

    async def networks(self) -> Sequence[VirtualNetwork]:
        """A few networks."""
        await self._simulation.condition.reach()
        return NETWORKS

    async def usb_devices(self) -> Sequence[UsbDevice]:
        """Two devices, each with the machine that has it."""
        await self._simulation.condition.reach()
        holders = {
            (address.bus, address.device): machine.name
            for machine in self._simulation.machines.values()
            if machine.is_on
            for address in configuration_of(fake_definition.write_live(machine)).usb
        }
        return [
            dataclasses.replace(each, machine=holders.get((each.bus, each.device), ""))
            for each in USB_DEVICES
        ]


def _facts(name: str, memory_mib: int, available_mib: int) -> HostFacts:
    """A host with one processor of eight cores, a DVD drive and a floppy drive."""
    return HostFacts(
        name=name,
        memory_mib=memory_mib,
        memory_available_mib=available_mib,
        logical_processors=8,
        physical_processors=1,
        processor_mhz=PROCESSOR_MHZ,
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
