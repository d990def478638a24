"""Join serial and parallel ports of machines to something of the host, and give machines its USB devices."""

from __future__ import annotations

from typing import Final

from innkeeper.errors import ErrorCode, InvalidArgument, MachineError
from innkeeper.machines import change as changes
from innkeeper.machines.change import Scope
from innkeeper.machines.configuration import ParallelPort, SerialPort, UsbAddress
from innkeeper.machines.devices import Devices
from innkeeper.machines.naming import checked_path
from innkeeper.wire.virtual_pc import SerialPortType

MAX_SERIAL_PORTS: Final = 4
MAX_PARALLEL_PORTS: Final = 3


class GuestPorts(Devices):
    """The serial and parallel ports of all machines."""

    async def configure_serial(
        self, name: str, port: int, port_type: SerialPortType, path: str = "", *, immediately: bool = False
    ) -> SerialPort:
        """Join a serial port to something (``Configure``); it takes effect when the machine is started."""
        _refuse_port(port, MAX_SERIAL_PORTS, "serial")
        path = "" if port_type is SerialPortType.NULL else checked_path(path, what="serial port")
        machine, host, made = await self.not_busy(name)
        configured = changes.SerialPortConfigured(id=port, type=port_type, name=path)
        await host.configurations.change(machine.name, configured)
        ports = made.extras.immediate_ports - {port} | ({port} if immediately else set())
        if ports != made.extras.immediate_ports:
            await host.configurations.change(
                machine.name, changes.MetadataChanged(extras={"immediate_ports": ports}), Scope.BOTH
            )
        return (await host.configurations.read(machine.name)).serial_ports[port]

    async def remove_serial(self, name: str, port: int) -> None:
        """Take the last serial port out."""
        machine, host, _ = await self.off(name, "lose a serial port")
        await host.configurations.change(machine.name, changes.SerialPortRemoved(id=port))

    async def name_parallel(self, name: str, port: int, path: str) -> ParallelPort | None:
        """Join a parallel port to a device or file of the host (``Name``); an empty path takes it out."""
        _refuse_port(port, MAX_PARALLEL_PORTS, "parallel")
        if path:
            path = checked_path(path, what="parallel port")
        machine, host, made = await self.off(name, "change a parallel port")
        if port > len(made.parallel_ports):
            raise InvalidArgument(
                f"{machine.title} has {len(made.parallel_ports)} parallel ports: the next is "
                f"{len(made.parallel_ports)}.",
                advice="Ports are added one after the other.",
            )
        await host.configurations.change(machine.name, changes.ParallelPortNamed(id=port, name=path))
        ports = (await host.configurations.read(machine.name)).parallel_ports
        return ports[port] if port < len(ports) else None


class GuestUsb(Devices):
    """The USB devices that machines have from their hosts."""

    async def attach_usb(self, name: str, address: UsbAddress) -> None:
        """Attach a USB device of the host to a running machine (``AttachUSBDevice``)."""
        machine, host = await self.up(name, "take a USB device")
        device = next(
            (
                each
                for each in await host.information.usb_devices()
                if (each.bus, each.device) == (address.bus, address.device)
            ),
            None,
        )
        if device is None:
            raise InvalidArgument(
                f"The host has no USB device {address.bus}:{address.device}.",
                code=ErrorCode.VM_E_USB_ATTACH_FAILED,
                advice="innkeeper host usb lists what it has.",
            )
        if device.machine:
            raise MachineError(
                f"{device.machine} has the USB device {address.bus}:{address.device}.",
                machine=device.machine,
                code=ErrorCode.VM_E_USB_ATTACH_FAILED_ALREADY_ASSIGNED,
                advice="Detach it there first.",
            )
        await host.configurations.change(machine.name, changes.UsbAttached(address=address), Scope.RUNNING)

    async def detach_usb(self, name: str, address: UsbAddress) -> None:
        """Return a USB device to the host (``DetachUSBDevice``)."""
        machine, host = await self.up(name, "give a USB device back")
        if address not in (await host.configurations.read(machine.name, running=True)).usb:
            raise MachineError(
                f"{machine.title} has no USB device {address.bus}:{address.device}.",
                machine=machine.title,
                code=ErrorCode.VM_E_USB_DETACH_FAILED,
                advice="innkeeper host usb lists them, and who has them.",
            )
        await host.configurations.change(machine.name, changes.UsbDetached(address=address), Scope.RUNNING)


def _refuse_port(port: int, count: int, kind: str) -> None:
    if not 0 <= port < count:
        raise InvalidArgument(f"There is no {kind} port {port}.", advice=f"They are 0 to {count - 1}.")
