"""Routes of machines' configuration: settings, values, labels and devices."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query

from innkeeper.errors import InvalidArgument
from innkeeper.identity.caller import Caller
from innkeeper.identity.roles import Role
from innkeeper.machines.configuration import (
    Adapter,
    Drive,
    Location,
    ParallelPort,
    SerialPort,
    UsbAddress,
    Value,
)
from innkeeper.machines.description import MachineDescription
from innkeeper.machines.undo.fitness import is_undo_disk
from innkeeper.server.house import House
from innkeeper.server.identity.needs import needs
from innkeeper.server.identity.subjects import machine_in_path
from innkeeper.server.messages import task_message
from innkeeper.server.routes.asking import TheCaller, TheHouse, TheUser
from innkeeper.wire import configuration as wire
from innkeeper.wire.messages import Accepted
from innkeeper.wire.virtual_pc import Attachment

router = APIRouter(prefix="/machines/{name}", tags=["configuration"])

_LOOK = needs(Role.VIEWER, machine_in_path("name"))
_TOUCH = needs(Role.OPERATOR, machine_in_path("name"))
_MAKE = needs(Role.ADMINISTRATOR, machine_in_path("name"))


@router.get("/configuration", operation_id="get_configuration", dependencies=_LOOK)
async def get_configuration(name: str, house: TheHouse, running: bool = False) -> wire.ConfigurationMessage:
    """The machine's configuration: as it starts, or with ``running`` as it runs."""
    return _message(await house.equipment.settings.read(name, running=running))


@router.patch("", operation_id="change_machine", dependencies=_MAKE)
async def change_machine(
    name: str, request: wire.ChangeRequest, house: TheHouse
) -> wire.ConfigurationMessage:
    """Change all that is asked for, or nothing. Updates stay booked for a machine under another name."""
    machine = await house.equipment.settings.change(name, request.root)
    return _message(await house.equipment.settings.read(machine.key))


@router.post("/startup2", status_code=202, operation_id="startup2", dependencies=_TOUCH)
async def startup2(name: str, request: wire.StartupRequest, house: TheHouse, user: TheUser) -> Accepted:
    """Start the machine with an option."""
    task = await house.machines.startup2(name, request.option, owner=user)
    return Accepted(task=task_message(task, house.clock.now()))


# Labels


@router.post("/labels", operation_id="add_labels", dependencies=_MAKE)
async def add_labels(name: str, request: wire.LabelsRequest, house: TheHouse) -> wire.LabelsMessage:
    """Add labels to the machine."""
    return wire.LabelsMessage(labels=await house.equipment.settings.add_labels(name, list(request.labels)))


@router.delete("/labels/{label}", operation_id="remove_label", dependencies=_MAKE)
async def remove_label(name: str, label: str, house: TheHouse) -> wire.LabelsMessage:
    """Remove a label from the machine."""
    return wire.LabelsMessage(labels=await house.equipment.settings.remove_labels(name, [label]))


# What is no fault


@router.get("/ignored", operation_id="get_ignored", dependencies=_LOOK)
async def get_ignored(name: str, house: TheHouse) -> wire.IgnoredMessage:
    """What counts against no update of the machine."""
    return wire.IgnoredMessage(ignored=await house.equipment.settings.ignored(name))


@router.post("/ignored", operation_id="ignore_findings", dependencies=_MAKE)
async def ignore_findings(name: str, request: wire.IgnoredRequest, house: TheHouse) -> wire.IgnoredMessage:
    """Count findings against no update of the machine any more."""
    return wire.IgnoredMessage(ignored=await house.equipment.settings.ignore(name, request.subjects))


# A subject may hold slashes: the whole rest of the path is one.
@router.delete("/ignored/{subject:path}", operation_id="stop_ignoring", dependencies=_MAKE)
async def stop_ignoring(name: str, subject: str, house: TheHouse) -> wire.IgnoredMessage:
    """Count a finding again."""
    return wire.IgnoredMessage(ignored=await house.equipment.settings.stop_ignoring(name, subject))


# Values


@router.get("/values", operation_id="list_values", dependencies=_LOOK)
async def list_values(name: str, house: TheHouse, activation: bool = False) -> wire.ValueList:
    """All configuration values of the machine, or all activation values."""
    values = await house.equipment.values.all(name, activation=activation)
    return wire.ValueList(values=tuple(wire.value_message(key, value) for key, value in values.items()))


@router.get("/value", operation_id="get_value", dependencies=_LOOK)
async def get_value(
    name: str, key: Annotated[str, Query()], house: TheHouse, activation: bool = False
) -> wire.ValueMessage:
    """One value."""
    return wire.value_message(key, await house.equipment.values.get(name, key, activation=activation))


@router.put("/value", operation_id="set_value", dependencies=_MAKE)
async def set_value(name: str, request: wire.ValueRequest, house: TheHouse) -> wire.ValueMessage:
    """Set one value."""
    value = sent_value(request)
    await house.equipment.values.set(name, request.key, value, activation=request.activation)
    got = await house.equipment.values.get(name, request.key, activation=request.activation)
    return wire.value_message(request.key, got)


@router.delete("/value", status_code=204, operation_id="remove_value", dependencies=_MAKE)
async def remove_value(
    name: str, key: Annotated[str, Query()], house: TheHouse, activation: bool = False
) -> None:
    """Remove one value."""
    await house.equipment.values.remove(name, key, activation=activation)


# Drives


@router.post("/hard-disks", status_code=201, operation_id="add_hard_disk", dependencies=_MAKE)
async def add_hard_disk(
    name: str, request: wire.HardDiskRequest, house: TheHouse, caller: TheCaller
) -> wire.DriveMessage:
    """Connect a hard disk. Only the server's administrators may name one outside its folders."""
    drive = await house.equipment.drives.add_hard_disk(
        name,
        _held(house, caller, request.path),
        _location(request.bus_number, request.device_number),
        image_format=request.format,
        bus=request.bus,
    )
    return await _drive(house, name, drive)


@router.post("/dvd-drives", status_code=201, operation_id="add_dvd_drive", dependencies=_MAKE)
async def add_dvd_drive(name: str, request: wire.DriveRequest, house: TheHouse) -> wire.DriveMessage:
    """Add an empty DVD drive."""
    location = _location(request.bus_number, request.device_number)
    drive = await house.equipment.drives.add_dvd_drive(name, location)
    return await _drive(house, name, drive)


@router.post("/floppy-drives", status_code=201, operation_id="add_floppy_drive", dependencies=_MAKE)
async def add_floppy_drive(name: str, house: TheHouse) -> wire.DriveMessage:
    """Add an empty floppy drive."""
    drive = await house.equipment.drives.add_floppy_drive(name)
    return await _drive(house, name, drive)


@router.delete("/hard-disks/{target}", status_code=204, operation_id="remove_hard_disk", dependencies=_MAKE)
async def remove_hard_disk(name: str, target: str, house: TheHouse) -> None:
    """Disconnect a hard disk; its image file stays."""
    await house.equipment.drives.remove_hard_disk(name, target)


@router.delete("/dvd-drives/{target}", status_code=204, operation_id="remove_dvd_drive", dependencies=_MAKE)
async def remove_dvd_drive(name: str, target: str, house: TheHouse) -> None:
    """Remove a DVD drive."""
    await house.equipment.drives.remove_dvd_drive(name, target)


@router.delete(
    "/floppy-drives/{target}", status_code=204, operation_id="remove_floppy_drive", dependencies=_MAKE
)
async def remove_floppy_drive(name: str, target: str, house: TheHouse) -> None:
    """Remove a floppy drive."""
    await house.equipment.drives.remove_floppy_drive(name, target)


@router.put("/drives/{target}/location", operation_id="move_drive", dependencies=_MAKE)
async def move_drive(
    name: str, target: str, request: wire.LocationRequest, house: TheHouse
) -> wire.DriveMessage:
    """Attach a drive at another location."""
    location = Location(bus=request.bus_number, device=request.device_number)
    drive = await house.equipment.drives.move_drive(name, target, location)
    return await _drive(house, name, drive)


@router.put("/drives/{target}/medium", operation_id="attach_medium", dependencies=_MAKE)
async def attach_medium(
    name: str, target: str, request: wire.MediumRequest, house: TheHouse, caller: TheCaller
) -> wire.DriveMessage:
    """Put an image, or the host's own drive, into a DVD or floppy drive."""
    drives = house.equipment.drives
    if request.attachment is Attachment.IMAGE:
        drive = await drives.attach_image(name, target, _held(house, caller, request.path))
    elif request.attachment is Attachment.HOST_DRIVE:
        drive = await drives.attach_host_drive(name, target, request.path)
    else:
        raise InvalidArgument(
            "A medium cannot be set to nothing.", advice="Use DELETE to take the medium out."
        )
    return await _drive(house, name, drive)


@router.delete("/drives/{target}/medium", operation_id="release_medium", dependencies=_TOUCH)
async def release_medium(
    name: str, target: str, house: TheHouse, attachment: wire.AttachmentName | None = None
) -> wire.DriveMessage:
    """Eject what is in a DVD or floppy drive."""
    drive = await house.equipment.drives.release(name, target, attachment)
    return await _drive(house, name, drive)


# Network adapters


@router.post("/adapters", status_code=201, operation_id="add_adapter", dependencies=_MAKE)
async def add_adapter(name: str, request: wire.AdapterRequest, house: TheHouse) -> wire.AdapterMessage:
    """Add a network adapter."""
    return _adapter(
        await house.equipment.adapters.add_adapter(
            name, request.network, mac=request.mac, model=request.model
        )
    )


@router.patch("/adapters/{adapter_id}", operation_id="change_adapter", dependencies=_MAKE)
async def change_adapter(
    name: str, adapter_id: int, request: wire.AdapterChange, house: TheHouse
) -> wire.AdapterMessage:
    """Attach an adapter to another network, unplug its cable, or change its address."""
    adapters = house.equipment.adapters
    changed: Adapter | None = None
    if request.dynamic is not None:
        changed = await adapters.set_dynamic(name, adapter_id, request.dynamic)
    if request.mac is not None:
        changed = await adapters.set_mac(name, adapter_id, request.mac)
    if request.network is not None:
        changed = await (
            adapters.attach_adapter(name, adapter_id, request.network)
            if request.network
            else adapters.detach_adapter(name, adapter_id)
        )
    if changed is None:
        raise InvalidArgument(
            "The request changes nothing.", advice="Give a network, an address, or dynamic."
        )
    return _adapter(changed)


@router.delete("/adapters/{adapter_id}", status_code=204, operation_id="remove_adapter", dependencies=_MAKE)
async def remove_adapter(name: str, adapter_id: int, house: TheHouse) -> None:
    """Remove a network adapter."""
    await house.equipment.adapters.remove_adapter(name, adapter_id)


# Ports


@router.put("/serial-ports/{port}", operation_id="configure_serial_port", dependencies=_MAKE)
async def configure_serial_port(
    name: str, port: int, request: wire.SerialPortRequest, house: TheHouse, caller: TheCaller
) -> wire.SerialPortMessage:
    """Connect a serial port, from the next start on."""
    path = _held(house, caller, request.name) if request.name else ""
    return _serial(
        await house.equipment.ports.configure_serial(
            name, port, request.type, path, immediately=request.connect_immediately
        )
    )


@router.delete("/serial-ports/{port}", status_code=204, operation_id="remove_serial_port", dependencies=_MAKE)
async def remove_serial_port(name: str, port: int, house: TheHouse) -> None:
    """Remove the last serial port."""
    await house.equipment.ports.remove_serial(name, port)


@router.put("/parallel-ports/{port}", operation_id="name_parallel_port", dependencies=_MAKE)
async def name_parallel_port(
    name: str, port: int, request: wire.ParallelPortRequest, house: TheHouse, caller: TheCaller
) -> wire.ParallelPortMessage:
    """Connect a parallel port to a device or file, or disconnect it."""
    path = _held(house, caller, request.name) if request.name else ""
    return _parallel(await house.equipment.ports.name_parallel(name, port, path) or ParallelPort(id=port))


# USB


@router.post("/usb", status_code=204, operation_id="attach_usb", dependencies=_MAKE)
async def attach_usb(name: str, request: wire.UsbRequest, house: TheHouse) -> None:
    """Attach a USB device of the host to the machine."""
    await house.equipment.usb.attach_usb(name, UsbAddress(bus=request.bus, device=request.device))


@router.delete("/usb/{bus}/{device}", status_code=204, operation_id="detach_usb", dependencies=_MAKE)
async def detach_usb(name: str, bus: int, device: int, house: TheHouse) -> None:
    """Give a USB device back to the host."""
    await house.equipment.usb.detach_usb(name, UsbAddress(bus=bus, device=device))


# Machinery


def _held(house: House, caller: Caller, path: str) -> str:
    """Return a path that this caller may use: any, or without a role on the service one in the folders."""
    return path if caller.may(Role.ADMINISTRATOR) else str(house.disks.roots.resolve(path))


def _location(bus: int | None, device: int | None) -> Location | None:
    if (bus is None) != (device is None):
        raise InvalidArgument("A location is a bus and a device.", advice="Give both, or neither.")
    return None if bus is None or device is None else Location(bus=bus, device=device)


def sent_value(request: wire.ValueRequest) -> Value:
    """Return the value that a request carries. Raises ``InvalidArgument`` where it is not of its type."""
    kinds: dict[wire.ValueKind, type] = {
        wire.ValueKind.STRING: str,
        wire.ValueKind.INTEGER: int,
        wire.ValueKind.BOOLEAN: bool,
        wire.ValueKind.BYTES: str,
    }
    if type(request.value) is not kinds[request.kind]:
        raise InvalidArgument(f"{request.value!r} is no {request.kind} value.")
    if request.kind is not wire.ValueKind.BYTES:
        return request.value
    try:
        return base64.b64decode(str(request.value), validate=True)
    except ValueError as exc:
        raise InvalidArgument("The bytes are no base64.") from exc


def _message(described: MachineDescription) -> wire.ConfigurationMessage:
    machine, made = described.machine, described.configuration
    facts = {
        "uuid": made.uuid,
        "host": machine.host,
        "processor_mhz": described.processor_mhz,
        "chipset": made.chipset,
        "firmware": made.firmware,
        "drives": tuple(_drive_message(drive, described.chains.get(drive.path, ())) for drive in made.drives),
        "adapters": tuple(map(_adapter, made.adapters)),
        "serial_ports": tuple(map(_serial, made.serial_ports)),
        "parallel_ports": tuple(map(_parallel, made.parallel_ports)),
        "usb": tuple(wire.UsbAddressMessage.model_validate(each, from_attributes=True) for each in made.usb),
        "labels": made.extras.labels,
        "saved_state_path": described.saved_state_path,
        "file": described.definition_path,
        "parents": tuple(each.path for each in made.extras.parents),
    }
    apart = {"name": machine.name, "autostart": machine.autostart}
    return wire.ConfigurationMessage.model_validate({**made.settings, **apart, **facts})


async def _drive(house: House, machine: str, drive: Drive) -> wire.DriveMessage:
    """A drive as a message; its host is asked where it is an undo disk alone."""
    if not is_undo_disk(drive.path):
        return _drive_message(drive, ())
    host = await house.machines.hypervisor_of(machine)
    return _drive_message(drive, await host.disks.backing_chain(drive.path))


def _drive_message(drive: Drive, chain: Sequence[str]) -> wire.DriveMessage:
    """A drive as a message; ``chain`` is that of an undo disk."""
    has_undo = is_undo_disk(drive.path)
    base = drive.path if drive.device in ("disk", "lun") else ""
    if has_undo:
        base = next((path for path in chain if not is_undo_disk(path)), "")
    return wire.DriveMessage(
        target=drive.target,
        device=drive.device,
        bus=drive.bus,
        bus_number=drive.location.bus,
        device_number=drive.location.device,
        path=drive.path,
        format=drive.format,
        attachment=drive.attachment,
        read_only=drive.read_only,
        hard_disk=base,
        undo_disk=drive.path if has_undo else "",
    )


def _adapter(adapter: Adapter) -> wire.AdapterMessage:
    return wire.AdapterMessage.model_validate(adapter, from_attributes=True)


def _serial(port: SerialPort) -> wire.SerialPortMessage:
    return wire.SerialPortMessage.model_validate(port, from_attributes=True)


def _parallel(port: ParallelPort) -> wire.ParallelPortMessage:
    return wire.ParallelPortMessage.model_validate(port, from_attributes=True)
