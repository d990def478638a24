"""Events for changes of machines: documented keys with their new values."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping

from innkeeper.machines import change as changes
from innkeeper.machines.change import Change
from innkeeper.wire.events import EventKind, Json
from innkeeper.wire.machine_settings import SETTINGS, plain
from innkeeper.wire.setting import SettingValue
from innkeeper.wire.virtual_pc import Attachment

#: An event's kind and its data.
ChangeEvent = tuple[EventKind, Mapping[str, Json]]

#: The client's collections of drives, by the device.
_DRIVES: Mapping[str, str] = {"cdrom": "dvd_rom_drives", "floppy": "floppy_drives"}
#: What the fields of ``Extras`` belong to that are no settings.
_NOTED: Mapping[str, str] = {
    "parents": "undo_disks",
    "undo_pending": "undo_disks",
    "merging": "undo_disks",
    "static_macs": "network_adapters",
    "immediate_ports": "serial_ports",
}


def change_events(change: Change) -> Iterator[ChangeEvent]:
    """The events of one change: of several settings, one each."""
    yield from _events(change)


def setting_changed(key: str, value: SettingValue) -> ChangeEvent:
    """The event of a setting, by its name in JSON: its documented property, and the new value."""
    return _changed(SETTINGS[key].member, plain(value))


def medium(target: str) -> Mapping[str, Json]:
    """Which drive of a machine an event is about: a floppy's name begins with ``fd``."""
    return {"drive": target, "device": "floppy" if target.startswith("fd") else "dvd"}


def _changed(key: str, value: Json, **which: Json) -> ChangeEvent:
    return EventKind.MACHINE_CONFIGURATION_CHANGED, {"config_key": key, "config_data": value, **which}


@functools.singledispatch
def _events(change: object) -> Iterator[ChangeEvent]:
    raise TypeError(f"no event tells of a {type(change).__name__}")


@_events.register
def _(change: changes.SettingsChanged) -> Iterator[ChangeEvent]:
    for key, value in change.values.items():
        yield setting_changed(key, value)


@_events.register
def _(change: changes.MetadataChanged) -> Iterator[ChangeEvent]:
    for field, value in change.extras.items():
        if field in SETTINGS and isinstance(value, str | int):
            yield setting_changed(field, value)
        elif field in ("labels", "ignored") and isinstance(value, tuple):
            yield _changed(field, [str(each) for each in value])
    for key in sorted({_NOTED[field] for field in change.extras if field in _NOTED}):
        yield _changed(key, None)


@_events.register
def _(change: changes.ValueSet) -> Iterator[ChangeEvent]:
    # A user's value may have a setting's name.
    value = change.value if isinstance(change.value, str | int) else None
    yield _changed(change.key, value, configuration_value=True)


@_events.register
def _(change: changes.MediumChanged) -> Iterator[ChangeEvent]:
    inserted = change.attachment is not Attachment.NONE
    kind = EventKind.MACHINE_MEDIUM_INSERTED if inserted else EventKind.MACHINE_MEDIUM_EJECTED
    yield kind, {**medium(change.target), "media_path": change.path}


@_events.register
def _(change: changes.DriveAdded) -> Iterator[ChangeEvent]:
    target = change.drive.target
    yield _changed(_drives(change.drive.device), target, drive=target)


@_events.register
def _(change: changes.DriveRemoved) -> Iterator[ChangeEvent]:
    yield _changed(_drives(change.device), None, drive=change.target)


@_events.register
def _(change: changes.DriveMoved) -> Iterator[ChangeEvent]:
    yield _changed(_drives(change.device), change.new_target, drive=change.target)


def _drives(device: str) -> str:
    return _DRIVES.get(device, "hard_disk_connections")


@_events.register
def _(change: changes.AdapterAdded) -> Iterator[ChangeEvent]:
    yield _changed("network_adapters", change.mac, adapter=change.mac)


@_events.register
def _(change: changes.AdapterRemoved) -> Iterator[ChangeEvent]:
    yield _changed("network_adapters", None, adapter=change.mac)


@_events.register
def _(change: changes.AdapterAttached) -> Iterator[ChangeEvent]:
    yield _changed("virtual_network", change.network, adapter=change.mac)


@_events.register
def _(change: changes.AdapterAddressed) -> Iterator[ChangeEvent]:
    yield _changed("ethernet_address", change.new_mac, adapter=change.mac)


@_events.register
def _(change: changes.SerialPortConfigured) -> Iterator[ChangeEvent]:
    yield _changed("serial_ports", change.name, port=change.id)


@_events.register
def _(change: changes.SerialPortRemoved) -> Iterator[ChangeEvent]:
    yield _changed("serial_ports", None, port=change.id)


@_events.register
def _(change: changes.ParallelPortNamed) -> Iterator[ChangeEvent]:
    yield _changed("parallel_ports", change.name or None, port=change.id)


@_events.register
def _(change: changes.UsbAttached) -> Iterator[ChangeEvent]:
    address = f"{change.address.bus}:{change.address.device}"
    yield _changed("usb_devices", address, usb=address)


@_events.register
def _(change: changes.UsbDetached) -> Iterator[ChangeEvent]:
    yield _changed("usb_devices", None, usb=f"{change.address.bus}:{change.address.device}")
