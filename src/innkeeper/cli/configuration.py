"""Change how machines are made: settings, devices, labels and values."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Annotated

import typer
from rich.text import Text

from innkeeper.cli.machine_settings import set_command
from innkeeper.cli.machine_words import describe, show_devices
from innkeeper.cli.many import AllowEmpty, DryRun, is_selector, print_lines
from innkeeper.cli.terminal import Json, MachineName, Session, facts, session_of, table
from innkeeper.client import Machine
from innkeeper.client.configuration import Value
from innkeeper.errors import InvalidArgument
from innkeeper.wire.configuration import (
    ConfigurationMessage,
    LabelsMessage,
    ValueList,
    value_message,
)
from innkeeper.wire.virtual_pc import Attachment, SerialPortType


class DeviceWord(enum.StrEnum):
    """What can be attached to a machine."""

    DISK = "disk"
    DVD = "dvd"
    FLOPPY = "floppy"
    NETWORK = "network"
    SERIAL = "serial"
    PARALLEL = "parallel"
    USB = "usb"


class LabelWord(enum.StrEnum):
    """What to do with labels."""

    ADD = "add"
    REMOVE = "remove"
    LIST = "list"


def add_to(app: typer.Typer) -> None:
    """Give the machine's commands these too."""
    app.command("set")(set_command(answer))
    for command in (label, values, attach, detach):
        app.command()(command)


def label(
    context: typer.Context,
    name: MachineName,
    what: Annotated[
        LabelWord, typer.Argument(metavar="[add|remove|list]", help="What to do.")
    ] = LabelWord.LIST,
    labels: Annotated[list[str] | None, typer.Argument(metavar="[LABEL]...", help="The labels.")] = None,
    dry_run: DryRun = False,
    allow_empty: AllowEmpty = False,
    json: Json = False,
) -> None:
    """Give labels to a machine or to those of a selector, take them away, or list them."""
    session = session_of(context)
    if what is not LabelWord.LIST and not labels:
        raise InvalidArgument("No label is named.", advice=f"innkeeper machine label {name} {what} LABEL")
    if what is not LabelWord.LIST and is_selector(name):
        given = tuple(labels or ())
        add, remove = (given, ()) if what is LabelWord.ADD else ((), given)
        selection = session.inn.machines.select(name)
        print_lines(session, selection.label(*add, remove=remove, dry_run=dry_run, allow_empty=allow_empty))
    machine = session.inn.machines[name]
    if what is LabelWord.ADD:
        machine.add_labels(*(labels or ()))
    elif what is LabelWord.REMOVE:
        for each in labels or ():
            machine.remove_label(each)
    has = machine.labels
    if session.json:
        session.answer(LabelsMessage(labels=has))
    elif has:
        session.out.print(Text(" ".join(has)))
    else:
        session.note(f"{name} has no label. Give it one: innkeeper machine label {name} add LABEL")


def values(
    context: typer.Context,
    name: MachineName,
    key: Annotated[
        str | None, typer.Argument(metavar="[KEY]", help="One value's key; all where none is named.")
    ] = None,
    new: Annotated[
        str | None, typer.Option("--set", metavar="VALUE", help="Set it: true, false, a number or a text.")
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Remove it.")] = False,
    activation: Annotated[
        bool, typer.Option("--activation", help="The values that it runs with, gone when it is off.")
    ] = False,
    json: Json = False,
) -> None:
    """Show, set or remove configuration values of a machine."""
    session = session_of(context)
    machine = session.inn.machines[name]
    if key is None:
        if new is not None or remove:
            raise InvalidArgument(
                "No key is named.", advice=f"innkeeper machine values {name} KEY --set VALUE"
            )
        _show_values(session, machine.configuration_values(activation=activation))
        return
    if remove:
        (machine.remove_activation_value if activation else machine.remove_configuration_value)(key)
        session.note(f"{key} is removed.")
        return
    if new is not None:
        setter = machine.set_activation_value if activation else machine.set_configuration_value
        setter(key, _parsed(new))
    value = (machine.get_activation_value if activation else machine.get_configuration_value)(key)
    _show_values(session, {key: value})


def attach(
    context: typer.Context,
    name: MachineName,
    device: Annotated[
        DeviceWord,
        typer.Argument(metavar="DEVICE", help="disk, dvd, floppy, network, serial, parallel or usb."),
    ],
    what: Annotated[
        str,
        typer.Argument(
            metavar="[WHAT]", help="An image, a network, a file or device; a USB device as BUS:DEVICE."
        ),
    ] = "",
    at: Annotated[
        str | None, typer.Option(metavar="BUS:DEVICE", help="The drive's location; the first free one.")
    ] = None,
    drive: Annotated[str | None, typer.Option(help="The drive that an image is put into.")] = None,
    image_format: Annotated[
        str, typer.Option("--format", help="The image's format; detected if left out.")
    ] = "",
    port: Annotated[int, typer.Option(help="The number of the serial or parallel port.")] = 0,
    json: Json = False,
) -> None:
    """Attach a disk, a DVD or floppy drive or what goes into it, a network, a port or a USB device.

    An image goes into an empty drive where the machine has one, else into a new one.
    """
    session = session_of(context)
    machine = session.inn.machines[name]
    location = _location(at)
    match device:
        case DeviceWord.DISK:
            _need(what, "the disk's image")
            machine.add_hard_disk_connection(what, *location, image_format=image_format)
        case DeviceWord.DVD | DeviceWord.FLOPPY:
            _attach_medium(machine, device, what, drive, location)
        case DeviceWord.NETWORK:
            machine.add_network_adapter(what)
        case DeviceWord.SERIAL:
            _need(what, "a file, or a device below /dev, or a socket as socket:PATH")
            machine.serial_port(port).configure(*_serial(what))
        case DeviceWord.PARALLEL:
            _need(what, "a file or a device")
            machine.parallel_port(port).name = what
        case DeviceWord.USB:
            bus, number = _pair(what, "USB device")
            machine.attach_usb_device(bus, number)
    answer(session, machine.configuration(running=device is DeviceWord.USB))


def detach(
    context: typer.Context,
    name: MachineName,
    what: Annotated[
        str,
        typer.Argument(
            metavar="WHAT", help="A drive (vdb), network1, serial0, parallel0, or usb1:2: see `machine show`."
        ),
    ],
    take_out: Annotated[
        bool, typer.Option("--drive", help="Remove the drive itself, not the medium in it.")
    ] = False,
    json: Json = False,
) -> None:
    """Detach a device: empty a DVD or floppy drive, or take a disk, adapter, port or USB device out."""
    session = session_of(context)
    machine = session.inn.machines[name]
    for kind, take in _DETACH.items():
        if what.startswith(kind):
            take(machine, what.removeprefix(kind))
            break
    else:
        _detach_drive(machine, what, take_out)
    answer(session, machine.configuration())


def answer(session: Session, made: ConfigurationMessage) -> None:
    """Show how a machine is made now."""
    if session.json:
        session.answer(made)
        return
    told = {"Machine": made.name, "Memory": f"{made.memory_mib:,} MiB", "CPUs": str(made.vcpus)}
    session.out.print(facts({**told, **describe(made)}))
    session.out.print()
    show_devices(session, made)


def _show_values(session: Session, shown: Mapping[str, Value]) -> None:
    if session.json:
        session.answer(ValueList(values=tuple(value_message(key, value) for key, value in shown.items())))
        return
    made = table("KEY", "VALUE")
    for key, value in shown.items():
        message = value.hex(" ") if isinstance(value, bytes) else str(value)
        made.add_row(Text(key), Text(message.lower() if isinstance(value, bool) else message))
    session.out.print(made)


# Reading


def _parsed(text: str) -> Value:
    """``true``, ``false`` and numbers are what they look like; all else is text."""
    if text in ("true", "false"):
        return text == "true"
    return int(text) if text.removeprefix("-").isascii() and text.removeprefix("-").isdigit() else text


def _need(what: str, name: str) -> None:
    if not what:
        raise InvalidArgument(f"{name} is missing.", advice="See: innkeeper machine attach --help")


def _location(at: str | None) -> tuple[int, int] | tuple[None, None]:
    return (None, None) if at is None else _pair(at, "location")


def _pair(text: str, what: str) -> tuple[int, int]:
    first, _, second = text.partition(":")
    if not (first.isascii() and first.isdigit() and second.isascii() and second.isdigit()):
        raise InvalidArgument(f"“{text}” is no {what}.", advice="Write it as BUS:DEVICE, such as 1:0.")
    return int(first), int(second)


def _serial(what: str) -> tuple[SerialPortType, str]:
    if what == "none":
        return SerialPortType.NULL, ""
    if what.startswith("socket:"):
        return SerialPortType.NAMED_PIPE, what.removeprefix("socket:")
    return (SerialPortType.HOST_PORT if what.startswith("/dev/") else SerialPortType.TEXT_FILE), what


def _attach_medium(
    machine: Machine,
    device: DeviceWord,
    what: str,
    target: str | None,
    location: tuple[int, int] | tuple[None, None],
) -> None:
    is_dvd = device is DeviceWord.DVD
    drives = list(machine.dvd_rom_drives if is_dvd else machine.floppy_drives)
    chosen = next(
        (each for each in drives if each.target == target)
        if target
        else (each for each in drives if what and each.attachment is Attachment.NONE),
        None,
    )
    if target and chosen is None:
        raise InvalidArgument(
            f"{machine.name} has no {device} drive {target}.",
            advice=f"It has: {', '.join(each.target for each in drives) or 'none'}.",
        )
    if chosen is None:
        chosen = machine.add_dvd_rom_drive(*location) if is_dvd else machine.add_floppy_drive()
    if what.startswith("/dev/"):
        chosen.attach_host_drive(what)
    elif what:
        chosen.attach_image(what)


def _detach_drive(machine: Machine, target: str, take_out: bool) -> None:
    for dvd in machine.dvd_rom_drives:
        if dvd.target == target:
            if take_out or dvd.attachment is Attachment.NONE:
                machine.remove_dvd_rom_drive(dvd)
            else:
                _release(dvd.attachment, dvd.release_image, dvd.release_host_drive)
            return
    for floppy in machine.floppy_drives:
        if floppy.target == target:
            if take_out or floppy.attachment is Attachment.NONE:
                machine.remove_floppy_drive(floppy)
            else:
                _release(floppy.attachment, floppy.release_image, floppy.release_host_drive)
            return
    for disk in machine.hard_disk_connections:
        if disk.target == target:
            machine.remove_hard_disk_connection(disk)
            return
    raise InvalidArgument(
        f"{machine.name} has no device “{target}”.",
        advice=f"innkeeper machine show {machine.name} lists them.",
    )


def _release(attachment: Attachment, image: Callable[[], None], host_drive: Callable[[], None]) -> None:
    (image if attachment is Attachment.IMAGE else host_drive)()


def _detach_network(machine: Machine, number: str) -> None:
    for adapter in machine.network_adapters:
        if str(adapter.id) == number:
            machine.remove_network_adapter(adapter)
            return
    raise InvalidArgument(f"{machine.name} has no network adapter “{number}”.")


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise InvalidArgument(f"“{text}” is not a port's number.", advice="Such as serial0.")
    return int(text)


def _detach_parallel(machine: Machine, number: str) -> None:
    machine.parallel_port(_number(number)).name = ""


_DETACH: Mapping[str, Callable[[Machine, str], None]] = {
    "network": _detach_network,
    "serial": lambda machine, number: machine.serial_port(_number(number)).remove(),
    "parallel": _detach_parallel,
    "usb": lambda machine, address: machine.detach_usb_device(*_pair(address, "USB device")),
}
