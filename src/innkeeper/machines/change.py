"""Changes of a machine's configuration, as values that a host applies to a definition."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping

from innkeeper.machines.configuration import Drive, Location, UsbAddress, Value
from innkeeper.wire.setting import SettingValue
from innkeeper.wire.virtual_pc import Attachment, SerialPortType


class Scope(enum.Enum):
    """Which of a machine's definitions a change is for."""

    #: The one it starts with (``SetConfigurationValue``).
    PERSISTENT = enum.auto()
    #: The one it runs with, which is gone when it is off (``SetActivationValue``).
    RUNNING = enum.auto()
    #: The one it starts with, and the one it runs with where it runs.
    BOTH = enum.auto()


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SettingsChanged:
    """Settings that the definition holds, by their names in JSON (``wire.machine_settings``)."""

    values: Mapping[str, SettingValue]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MetadataChanged:
    """Change of Innkeeper's own metadata of a machine, beside its settings."""

    #: Fields of ``Extras`` that are replaced, by name.
    extras: Mapping[str, object]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ValueSet:
    """One configuration or activation value; ``None`` removes it."""

    key: str
    value: Value | None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DriveAdded:
    """A drive at a free location."""

    drive: Drive


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DriveRemoved:
    """A drive taken out; its image stays."""

    target: str
    #: What it is, as ``Drive.device`` has it.
    device: str = "disk"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DriveMoved:
    """A drive at another location, under the name that belongs there."""

    target: str
    new_target: str
    location: Location
    #: What it is, as ``Drive.device`` has it.
    device: str = "disk"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MediumChanged:
    """A medium put into a DVD or floppy drive, or taken out of it."""

    target: str
    attachment: Attachment
    path: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class AdapterAdded:
    """A network adapter, attached to a network or unplugged."""

    mac: str
    network: str = ""
    model: str = "virtio"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class AdapterRemoved:
    """The network adapter with this address taken out."""

    mac: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class AdapterAttached:
    """The adapter with this address attached to another network, or unplugged."""

    mac: str
    network: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class AdapterAddressed:
    """The adapter with this address under another one."""

    mac: str
    new_mac: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SerialPortConfigured:
    """A serial port joined to something; the ports below it are made where they are not there."""

    id: int
    type: SerialPortType
    name: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SerialPortRemoved:
    """The last serial port taken out."""

    id: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ParallelPortNamed:
    """A parallel port joined to a device or file of the host; an empty name takes it out."""

    id: int
    name: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class UsbAttached:
    """A USB device of the host given to the machine. Running only."""

    address: UsbAddress


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class UsbDetached:
    """A USB device given back to the host. Running only."""

    address: UsbAddress


Change = (
    SettingsChanged
    | MetadataChanged
    | ValueSet
    | DriveAdded
    | DriveRemoved
    | DriveMoved
    | MediumChanged
    | AdapterAdded
    | AdapterRemoved
    | AdapterAttached
    | AdapterAddressed
    | SerialPortConfigured
    | SerialPortRemoved
    | ParallelPortNamed
    | UsbAttached
    | UsbDetached
)
