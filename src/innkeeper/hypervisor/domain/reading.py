"""Read how a machine is made from its definition."""

from __future__ import annotations

from typing import cast

from innkeeper.hypervisor.domain.elements import AdapterElement, Domain, DriveElement, SerialElement
from innkeeper.hypervisor.domain.extras import read_extras
from innkeeper.hypervisor.domain.fields import parse
from innkeeper.machines.configuration import (
    Adapter,
    Configuration,
    Drive,
    Extras,
    ParallelPort,
    SerialPort,
    UsbAddress,
)
from innkeeper.wire.machine_settings import SETTINGS, MachineChanges
from innkeeper.wire.virtual_pc import Attachment, SerialPortType

#: The name of the network of QEMU's own user-mode networking, which every host has.
USER_NETWORK = "user"
#: How a bridge or an interface of the host is named as a network.
BRIDGE = "bridge:"
DIRECT = "direct:"

_PORT_TYPES = {
    "dev": SerialPortType.HOST_PORT,
    "pty": SerialPortType.HOST_PORT,
    "file": SerialPortType.TEXT_FILE,
    "unix": SerialPortType.NAMED_PIPE,
    "pipe": SerialPortType.NAMED_PIPE,
}


def configuration_of(definition: str) -> Configuration:
    """Return the configuration in a definition. Raises ``InvalidArgument`` where there is none."""
    domain = Domain(parse(definition, "domain"))
    extras = read_extras(domain.node)
    return Configuration(
        name=domain.name,
        uuid=domain.uuid,
        settings=settings_of(domain),
        chipset=domain.chipset,
        firmware="uefi" if domain.firmware == "efi" or domain.loader else "bios",
        drives=tuple(_drive(drive) for drive in domain.drives()),
        adapters=tuple(_adapter(number, each, extras) for number, each in enumerate(domain.adapters(), 1)),
        serial_ports=tuple(_serial(n, port, extras) for n, port in enumerate(domain.ports("serial"))),
        parallel_ports=tuple(ParallelPort(id=n, name=p.path) for n, p in enumerate(domain.ports("parallel"))),
        usb=tuple(UsbAddress(bus=each.bus, device=each.device) for each in domain.usb()),
        extras=extras,
    )


def settings_of(domain: Domain) -> MachineChanges:
    """The settings that a definition holds."""
    held = {key: getattr(domain, key) for key in SETTINGS if key in vars(Domain)}
    return cast("MachineChanges", held)


def _drive(element: DriveElement) -> Drive:
    path = element.file or element.block or element.exported
    return Drive(
        target=element.target,
        device=element.device,
        bus=element.bus,
        location=element.location,
        path=path,
        format=element.format,
        attachment=_attachment(element) if path else Attachment.NONE,
        read_only=element.read_only or element.device == "cdrom",
    )


def _attachment(element: DriveElement) -> Attachment:
    return Attachment.HOST_DRIVE if element.type == "block" else Attachment.IMAGE


def _adapter(number: int, element: AdapterElement, extras: Extras) -> Adapter:
    return Adapter(
        id=number,
        mac=element.mac.lower(),
        dynamic=element.mac.lower() not in extras.static_macs,
        network=network_of(element),
        model=element.model,
    )


def network_of(element: AdapterElement) -> str:
    """The name of the network that an adapter is attached to; empty where its cable is out."""
    if element.link == "down":
        return ""
    match element.type:
        case "network":
            return element.network
        case "bridge":
            return f"{BRIDGE}{element.bridge}"
        case "direct":
            return f"{DIRECT}{element.device}"
        case "user":
            return USER_NETWORK
    return element.type


def _serial(number: int, element: SerialElement, extras: Extras) -> SerialPort:
    return SerialPort(
        id=number,
        type=_PORT_TYPES.get(element.type, SerialPortType.NULL),
        name=element.path,
        connect_immediately=number in extras.immediate_ports,
    )
