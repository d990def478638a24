"""A machine's configuration as text: devices and settings."""

from __future__ import annotations

from rich.text import Text

from innkeeper.cli.terminal import Session
from innkeeper.wire.configuration import ConfigurationMessage, DriveMessage
from innkeeper.wire.machine_settings import SETTINGS
from innkeeper.wire.virtual_pc import SerialPortType


def show_devices(session: Session, made: ConfigurationMessage) -> None:
    """Print the devices of a machine, one a line."""
    for drive in made.drives:
        # Not in a table: a path that can be copied is worth more than a column.
        session.out.print(_drive_line(drive), soft_wrap=True)
    for adapter in made.adapters:
        where = adapter.network or "unplugged"
        session.out.print(Text(f"network{adapter.id}  {where}  ({adapter.mac}, {adapter.model})"))
    for port in made.serial_ports:
        joined = port.name or ("nothing" if port.type is SerialPortType.NULL else "console")
        session.out.print(Text(f"serial{port.id}  {joined}"), soft_wrap=True)
    for parallel in made.parallel_ports:
        session.out.print(Text(f"parallel{parallel.id}  {parallel.name}"), soft_wrap=True)
    for usb in made.usb:
        session.out.print(Text(f"usb{usb.bus}:{usb.device}"))


def describe(made: ConfigurationMessage) -> dict[str, str]:
    """The configuration of a machine as names and values, without its devices."""
    settings = {
        declared.setting.label: declared.value_words(getattr(made, declared.key))
        for declared in SETTINGS.values()
        if declared.setting.label
    }
    return {
        "Labels": " ".join(made.labels),
        "Machine type": f"{made.chipset} {made.firmware}".strip(),
        **settings,
        "Saved state": made.saved_state_path,
    }


def _drive_line(drive: DriveMessage) -> Text:
    kinds = {"cdrom": "DVD", "floppy": "floppy", "lun": "LUN"}
    words = [kinds.get(drive.device, drive.format)]
    if drive.undo_disk:
        words.append(f"undo disk over {drive.hard_disk}")
    if drive.device != "floppy":
        words.append(f"at {drive.bus_number}:{drive.device_number}")
    if drive.read_only and drive.device == "disk":
        words.append("read-only")
    return Text(f"{drive.target}  {drive.path or 'empty'}  ({', '.join(words)})")
