"""Change a machine's definition as one change asks."""

from __future__ import annotations

import dataclasses
import functools

from lxml import etree

from innkeeper.errors import ErrorCode, MachineError
from innkeeper.hypervisor.domain.elements import (
    BUS_WORDS,
    AdapterElement,
    Domain,
    DriveElement,
    SerialElement,
)
from innkeeper.hypervisor.domain.extras import read_extras, write_extras
from innkeeper.hypervisor.domain.fields import child, parse, remove, written
from innkeeper.hypervisor.domain.reading import BRIDGE, DIRECT, USER_NETWORK
from innkeeper.machines import change as changes
from innkeeper.machines.change import Change
from innkeeper.machines.configuration import Drive
from innkeeper.wire.virtual_pc import Attachment, SerialPortType

#: Where libvirt writes what belongs to one start, and to no definition.
_OF_A_START = ("alias", "address", "backingStore")
_PORT_WORDS = {
    SerialPortType.HOST_PORT: "dev",
    SerialPortType.TEXT_FILE: "file",
    SerialPortType.NAMED_PIPE: "unix",
    SerialPortType.NULL: "null",
}


def edited(definition: str, change: Change) -> str:
    """The definition with the change made. Raises ``MachineError`` where what it names is not there."""
    domain = Domain(parse(definition, "domain"))
    edit(change, domain)
    return written(domain.node)


def device_of(definition: str, change: Change) -> str:
    """The device that a change is about, as the definition has it: for a host that changes it live."""
    domain = Domain(parse(definition, "domain"))
    match change:
        case changes.MediumChanged():
            return written(_drive(domain, change.target).node)
        case changes.AdapterAttached():
            return written(_adapter(domain, change.mac).node)
    raise TypeError(f"{type(change).__name__} is not about a device that changes live")


@functools.singledispatch
def edit(change: object, domain: Domain) -> None:
    """Make one change."""
    raise TypeError(f"no definition takes up a {type(change).__name__}")


@edit.register
def _(change: changes.SettingsChanged, domain: Domain) -> None:
    for key, value in change.values.items():
        setattr(domain, key, value)


@edit.register
def _(change: changes.MetadataChanged, domain: Domain) -> None:
    extras = dataclasses.replace(read_extras(domain.node), **change.extras)  # type: ignore[arg-type]  # by name
    write_extras(domain.node, extras)


@edit.register
def _(change: changes.ValueSet, domain: Domain) -> None:
    extras = read_extras(domain.node)
    values = {key: value for key, value in extras.values.items() if key != change.key}
    if change.value is not None:
        values[change.key] = change.value
    write_extras(domain.node, dataclasses.replace(extras, values=values))


@edit.register
def _(change: changes.DriveAdded, domain: Domain) -> None:
    node = etree.SubElement(domain.devices, "disk", device=change.drive.device)
    element = DriveElement(node)
    etree.SubElement(node, "driver", name="qemu", type=change.drive.format)
    _put_in(element, change.drive)
    etree.SubElement(node, "target", dev=change.drive.target, bus=BUS_WORDS[change.drive.bus])
    if change.drive.device == "cdrom":
        etree.SubElement(node, "readonly")


def _put_in(element: DriveElement, drive: Drive) -> None:
    _set_medium(element, drive.attachment, drive.path)


@edit.register
def _(change: changes.DriveRemoved, domain: Domain) -> None:
    domain.devices.remove(_drive(domain, change.target).node)


@edit.register
def _(change: changes.DriveMoved, domain: Domain) -> None:
    drive = _drive(domain, change.target)
    drive.target = change.new_target
    # libvirt finds an address anew, by the name.
    remove(drive.node, "address", "alias")


@edit.register
def _(change: changes.MediumChanged, domain: Domain) -> None:
    _set_medium(_drive(domain, change.target), change.attachment, change.path)


def _set_medium(element: DriveElement, attachment: Attachment, path: str) -> None:
    remove(element.node, "source", "backingStore")
    element.type = "block" if attachment is Attachment.HOST_DRIVE else "file"
    if attachment is Attachment.HOST_DRIVE:
        element.block = path
    elif attachment is Attachment.IMAGE:
        element.file = path


@edit.register
def _(change: changes.AdapterAdded, domain: Domain) -> None:
    node = etree.SubElement(domain.devices, "interface")
    etree.SubElement(node, "mac", address=change.mac)
    element = AdapterElement(node)
    _plug(element, change.network)
    if change.model:
        element.model = change.model


@edit.register
def _(change: changes.AdapterRemoved, domain: Domain) -> None:
    domain.devices.remove(_adapter(domain, change.mac).node)


@edit.register
def _(change: changes.AdapterAttached, domain: Domain) -> None:
    _plug(_adapter(domain, change.mac), change.network)


@edit.register
def _(change: changes.AdapterAddressed, domain: Domain) -> None:
    _adapter(domain, change.mac).mac = change.new_mac


def _plug(element: AdapterElement, network: str) -> None:
    """Attach it; without a network its cable is out, and it keeps what it was attached to."""
    element.link = "up" if network else "down"
    if not network:
        element.type = element.node.get("type", "user")
        return
    remove(element.node, "source", "target")
    if network == USER_NETWORK:
        element.type = "user"
    elif network.startswith(BRIDGE):
        element.type, element.bridge = "bridge", network.removeprefix(BRIDGE)
    elif network.startswith(DIRECT):
        element.type, element.device = "direct", network.removeprefix(DIRECT)
    else:
        element.type, element.network = "network", network


@edit.register
def _(change: changes.SerialPortConfigured, domain: Domain) -> None:
    ports = domain.ports("serial")
    while len(ports) <= change.id:
        domain.devices.append(etree.Element("serial", type="null"))
        ports = domain.ports("serial")
    _join(ports[change.id], _PORT_WORDS[change.type], change.name)
    if change.id == 0:
        # The console is the first serial port by another name; libvirt writes it anew.
        remove(domain.node, "devices/console[@type]")


def _join(port: SerialElement, word: str, name: str) -> None:
    remove(port.node, "source", "protocol", "log", *_OF_A_START)
    port.type = word
    if name:
        port.path = name
        if word == "unix":
            port.mode = "bind"


@edit.register
def _(change: changes.SerialPortRemoved, domain: Domain) -> None:
    ports = domain.ports("serial")
    if change.id != len(ports) - 1:
        raise _absent(domain, f"serial port {change.id} as its last")
    domain.devices.remove(ports[change.id].node)
    if not change.id:
        remove(domain.node, "devices/console")


@edit.register
def _(change: changes.ParallelPortNamed, domain: Domain) -> None:
    ports = domain.ports("parallel")
    if not change.name:
        for port in ports[change.id :]:
            domain.devices.remove(port.node)
        return
    node = ports[change.id].node if change.id < len(ports) else etree.SubElement(domain.devices, "parallel")
    _join(SerialElement(node), "dev" if change.name.startswith("/dev/") else "file", change.name)


@edit.register
def _(change: changes.UsbAttached, domain: Domain) -> None:
    domain.devices.append(usb_element(change))


@edit.register
def _(change: changes.UsbDetached, domain: Domain) -> None:
    for element in domain.usb():
        if (element.bus, element.device) == (change.address.bus, change.address.device):
            domain.devices.remove(element.node)
            return
    raise _absent(domain, f"USB device {change.address.bus}:{change.address.device}")


def usb_element(change: changes.UsbAttached | changes.UsbDetached) -> etree._Element:
    """The host's USB device as a device of a machine."""
    node = etree.Element("hostdev", mode="subsystem", type="usb", managed="yes")
    address = child(node, "source/address")
    address.set("bus", str(change.address.bus))
    address.set("device", str(change.address.device))
    return node


def _drive(domain: Domain, target: str) -> DriveElement:
    for drive in domain.drives():
        if drive.target == target:
            return drive
    raise _absent(domain, f"drive {target}")


def _adapter(domain: Domain, mac: str) -> AdapterElement:
    for adapter in domain.adapters():
        if adapter.mac.lower() == mac.lower():
            return adapter
    raise _absent(domain, f"network adapter {mac}")


def _absent(domain: Domain, what: str) -> MachineError:
    return MachineError(
        f"{domain.name} has no {what}.",
        machine=domain.name,
        code=ErrorCode.VM_E_DRIVE_INVALID,
        advice=f"innkeeper machine show {domain.name} lists its devices.",
    )
