"""Describe the HTTP messages about how machines are made."""

from __future__ import annotations

import base64
import enum
from typing import Annotated

from pydantic import ConfigDict, Field, RootModel, StrictBool, StrictInt, StrictStr, model_validator

from innkeeper.wire.disks import MAX_PATH_CHARS
from innkeeper.wire.machine_settings import MachineChanges, SettingsInJson
from innkeeper.wire.messages import Message, Request, named
from innkeeper.wire.text import OneLine
from innkeeper.wire.virtual_pc import (
    Attachment,
    DriveBus,
    SerialPortType,
    StartupOption,
)

DriveBusName = Annotated[DriveBus, *named(DriveBus)]
AttachmentName = Annotated[Attachment, *named(Attachment)]
SerialPortTypeName = Annotated[SerialPortType, *named(SerialPortType)]
StartupOptionName = Annotated[StartupOption, *named(StartupOption)]

_Path = Annotated[str, Field(max_length=MAX_PATH_CHARS)]


class DriveMessage(Message):
    """One drive of a machine: a hard disk, a DVD drive or a floppy drive."""

    target: str
    #: ``disk``, ``cdrom``, ``floppy`` or ``lun``.
    device: str
    bus: DriveBusName
    bus_number: int
    device_number: int
    #: The image or host device behind it: of a disk, what takes the writes.
    path: str
    format: str
    attachment: AttachmentName
    read_only: bool
    #: The disk itself, below its undo disk.
    hard_disk: str
    #: The undo disk over it; empty for none.
    undo_disk: str


class AdapterMessage(Message):
    """One network adapter."""

    id: int
    mac: str
    dynamic: bool
    #: Empty where its cable is out.
    network: str
    model: str


class SerialPortMessage(Message):
    """One serial port."""

    id: int
    type: SerialPortTypeName
    name: str
    connect_immediately: bool


class ParallelPortMessage(Message):
    """One parallel port."""

    id: int
    name: str


class UsbAddressMessage(Message):
    """One USB device of the host, by bus and number."""

    bus: int
    device: int


class ConfigurationMessage(SettingsInJson, Message):
    """How a machine is made."""

    uuid: str
    host: str
    #: The host's.
    processor_mhz: int
    chipset: str
    firmware: str
    drives: tuple[DriveMessage, ...]
    adapters: tuple[AdapterMessage, ...]
    serial_ports: tuple[SerialPortMessage, ...]
    parallel_ports: tuple[ParallelPortMessage, ...]
    usb: tuple[UsbAddressMessage, ...]
    labels: tuple[str, ...]
    #: Where its saved state lies; empty where it has none, or lies on another computer.
    saved_state_path: str
    #: The file of its definition; empty where that lies on another computer.
    file: str = ""
    #: Images that its disks stand on.
    parents: tuple[str, ...]


class ChangeRequest(RootModel[MachineChanges]):
    """Change a machine; what is left out, or null, stays."""

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: object) -> object:
        return (
            {key: value for key, value in given.items() if value is not None}
            if isinstance(given, dict)
            else given
        )


class StartupRequest(Request):
    """Start a machine with an option (``Startup2``)."""

    option: StartupOptionName = StartupOption.NORMAL


class LabelsMessage(Message):
    """The labels of a machine."""

    labels: tuple[str, ...]


class LabelsRequest(Request):
    """Labels to give to a machine."""

    labels: tuple[OneLine, ...] = Field(min_length=1, max_length=64)


class IgnoredMessage(Message):
    """What is no fault of a machine's: subjects of findings, or patterns of them."""

    ignored: tuple[str, ...]


class IgnoredRequest(Request):
    """Findings that count against no update of a machine: ``unit:shop.service``, ``mount:/media/*``."""

    subjects: tuple[OneLine, ...] = Field(min_length=1, max_length=64)


class ValueKind(enum.StrEnum):
    """The kind of the value (``VARIANT``)."""

    STRING = "string"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    #: Raw bytes, which travel as base64.
    BYTES = "bytes"


class ValueMessage(Message):
    """One configuration or activation value."""

    key: str
    kind: ValueKind
    value: StrictBool | StrictInt | StrictStr

    @property
    def message(self) -> bytes | str | int | bool:
        """The value itself."""
        return base64.b64decode(str(self.value)) if self.kind is ValueKind.BYTES else self.value


class ValueList(Message):
    """All values, by key."""

    values: tuple[ValueMessage, ...]


class ValueRequest(Request):
    """Set one value."""

    key: str
    kind: ValueKind
    value: StrictBool | StrictInt | StrictStr
    #: An activation value: it lasts until the machine is off.
    activation: bool = False


class LocationRequest(Request):
    """Where to attach a drive."""

    bus_number: int
    device_number: int


class HardDiskRequest(Request):
    """Connect a hard disk; at the first free location where none is named."""

    path: _Path
    bus_number: int | None = None
    device_number: int | None = None
    #: Found out where it is left out.
    format: str = ""
    bus: DriveBusName | None = None


class DriveRequest(Request):
    """Add an empty drive; at the first free location where none is named."""

    bus_number: int | None = None
    device_number: int | None = None


class MediumRequest(Request):
    """Put an image, or the host's own drive, into a drive."""

    attachment: AttachmentName = Attachment.IMAGE
    path: _Path


class AdapterRequest(Request):
    """Add a network adapter."""

    #: Unplugged where none is named.
    network: OneLine = Field(default="", max_length=255)
    mac: OneLine = ""
    model: str = Field(default="virtio", pattern=r"^[a-z0-9_-]{1,32}$")


class AdapterChange(Request):
    """Change a network adapter; what is left out stays."""

    #: Empty takes its cable out.
    network: OneLine | None = Field(default=None, max_length=255)
    mac: OneLine | None = None
    dynamic: bool | None = None


class SerialPortRequest(Request):
    """Join a serial port to something."""

    type: SerialPortTypeName
    name: _Path = ""
    connect_immediately: bool = False


class ParallelPortRequest(Request):
    """Join a parallel port to a device or file; an empty name takes it out."""

    name: _Path = ""


class UsbRequest(Request):
    """A USB device of the host."""

    bus: int = Field(ge=0, le=999)
    device: int = Field(ge=0, le=999)


class DeleteMessage(Message):
    """What a machine's deletion takes with it."""

    machine: str
    #: The files that go.
    deleted: tuple[str, ...]
    #: The files that stay.
    kept: tuple[str, ...]


def value_message(key: str, value: bytes | str | int | bool) -> ValueMessage:
    """A value as it travels."""
    if isinstance(value, bool):
        return ValueMessage(key=key, kind=ValueKind.BOOLEAN, value=value)
    if isinstance(value, int):
        return ValueMessage(key=key, kind=ValueKind.INTEGER, value=value)
    if isinstance(value, bytes):
        return ValueMessage(key=key, kind=ValueKind.BYTES, value=base64.b64encode(value).decode())
    return ValueMessage(key=key, kind=ValueKind.STRING, value=value)
