"""Declare the devices of a domain as libvirt's XML has them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

from lxml import etree

from innkeeper.disks.export_files import MARK
from innkeeper.hypervisor.domain.extras import read_extras, write_extras
from innkeeper.hypervisor.domain.fields import (
    Attribute,
    Element,
    Memory,
    Present,
    Prose,
    Text,
    Whole,
    child,
)
from innkeeper.machines.configuration import Location
from innkeeper.wire.virtual_pc import DriveBus, ShutdownAction, UndoAction, UndoPointKind

T = TypeVar("T")

#: libvirt's word for each bus.
BUS_WORDS: Mapping[DriveBus, str] = {
    DriveBus.IDE: "ide",
    DriveBus.SCSI: "scsi",
    DriveBus.VIRTIO: "virtio",
    DriveBus.SATA: "sata",
    DriveBus.USB: "usb",
    DriveBus.FLOPPY: "fdc",
}
_BUS_BY_WORD = {word: bus for bus, word in BUS_WORDS.items()}
_BUS_BY_PREFIX = {"hd": DriveBus.IDE, "sd": DriveBus.SCSI, "vd": DriveBus.VIRTIO, "fd": DriveBus.FLOPPY}
_LETTERS = 26


class DriveElement(Element):
    """``<disk>``: one drive."""

    type = Attribute(".", "type", "file")
    device = Attribute(".", "device", "disk")
    target = Attribute("target", "dev")
    bus_word = Attribute("target", "bus")
    format = Attribute("driver", "type", "raw")
    file = Attribute("source", "file")
    block = Attribute("source", "dev")
    protocol = Attribute("source", "protocol")
    network_name = Attribute("source", "name")
    read_only = Present("readonly")

    @property
    def exported(self) -> str:
        """The VHD that it reaches by an export of Innkeeper's; empty where it does not."""
        is_ours = self.protocol == "nbd" and self.network_name.startswith(f"{MARK}/")
        return self.network_name.removeprefix(MARK) if is_ours else ""

    @property
    def bus(self) -> DriveBus:
        """The bus that the disk is attached to."""
        by_name = _BUS_BY_PREFIX.get(self.target[:2], DriveBus.INVALID)
        return _BUS_BY_WORD.get(self.bus_word, by_name)

    @property
    def location(self) -> Location:
        """The disk's location, by its name."""
        return Location.at(index_of(self.target))


def index_of(target: str) -> int:
    """The place that a drive's name stands for: ``vda`` is 0, ``vdaa`` is 26."""
    index = 0
    for letter in target[2:]:
        if not "a" <= letter <= "z":
            return 0
        index = index * _LETTERS + ord(letter) - ord("a") + 1
    return max(index - 1, 0)


class AdapterElement(Element):
    """``<interface>``: one network adapter."""

    type = Attribute(".", "type", "user")
    mac = Attribute("mac", "address")
    model = Attribute("model", "type")
    network = Attribute("source", "network")
    bridge = Attribute("source", "bridge")
    device = Attribute("source", "dev")
    link = Attribute("link", "state", "up")


class SerialElement(Element):
    """``<serial>`` or ``<parallel>``: one port."""

    type = Attribute(".", "type", "null")
    path = Attribute("source", "path")
    mode = Attribute("source", "mode")
    port = Attribute("target", "port")


class UsbElement(Element):
    """``<hostdev type='usb'>``: a device of the host."""

    bus = Attribute("source/address", "bus", 0, Whole())
    device = Attribute("source/address", "device", 0, Whole())


class FirmwareString:
    """One of the strings of a machine's firmware; empty where it was never set."""

    def __init__(self, table: str, entry: str) -> None:
        self._table, self._entry = table, entry
        self.path = f"sysinfo/{table}/entry[@name='{entry}']"

    def __get__(self, owner: Element, _type: type[Element]) -> str:
        return (owner.node.findtext(self.path) or "").strip()

    def __set__(self, owner: Element, value: str) -> None:
        child(owner.node, "sysinfo").set("type", "smbios")
        child(owner.node, "os/smbios").set("mode", "sysinfo")
        found = owner.node.find(self.path)
        if found is None:
            table = child(owner.node, f"sysinfo/{self._table}")
            found = etree.SubElement(table, "entry", name=self._entry)
        found.text = value


class ExtraField(Generic[T]):
    """A setting that Innkeeper keeps itself, in the definition's metadata: a field of ``Extras``."""

    def __init__(self, kind: type[T]) -> None:
        self._kind = kind

    def __set_name__(self, _owner: type[Element], name: str) -> None:
        self.name = name.replace("_", "-")
        self.path = "metadata/innkeeper:machine"
        self._field = name

    def __get__(self, owner: Element, _type: type[Element]) -> T:
        value = getattr(read_extras(owner.node), self._field)
        assert isinstance(value, self._kind)
        return value

    def __set__(self, owner: Element, value: T) -> None:
        noted: Any = {self._field: value}
        write_extras(owner.node, dataclasses.replace(read_extras(owner.node), **noted))


class MachineMemory(Memory):
    """The memory of a machine: at its start it has all of it."""

    def __set__(self, owner: Element, value: int) -> None:
        super().__set__(owner, value)
        Memory("currentMemory").__set__(owner, value)


class Processors(Text[int]):
    """The processors of a machine: at its start it has all of them."""

    def __set__(self, owner: Element, value: int) -> None:
        super().__set__(owner, value)
        child(owner.node, self.path).attrib.pop("current", "")


class LocalTime:
    """Whether a clock shows local time, as a form of its ``offset``."""

    def read(self, text: str) -> bool:
        """All that libvirt has beside ``localtime`` is no simple local time."""
        return text == "localtime"

    def write(self, value: bool) -> str:
        """``localtime`` or ``utc``."""
        return "localtime" if value else "utc"


class Clock(Attribute[bool]):
    """The hardware clock of a machine: what belongs to another offset goes when it is set."""

    def __set__(self, owner: Element, value: bool) -> None:
        super().__set__(owner, value)
        for stale in ("adjustment", "basis", "timezone", "start"):
            child(owner.node, self.path).attrib.pop(stale, "")


class Domain(Element):
    """A whole machine. The fields that are called as settings are (``wire.machine_settings``) carry those."""

    # Settings

    name = Text("name")
    notes = Prose("description")
    memory_mib = MachineMemory("memory")
    vcpus = Processors("vcpu", 1, Whole())
    bios_serial_number = FirmwareString("system", "serial")
    base_board_serial_number = FirmwareString("baseBoard", "serial")
    chassis_serial_number = FirmwareString("chassis", "serial")
    chassis_asset_tag = FirmwareString("chassis", "asset")
    undoable = ExtraField(bool)
    undo_action = ExtraField(UndoAction)
    undo_exclude = ExtraField(str)
    undo_point = ExtraField(UndoPointKind)
    shutdown_action = ExtraField(ShutdownAction)
    local_clock = Clock("clock", "offset", False, LocalTime())

    @property
    def bios_guid(self) -> str:
        """The firmware's GUID in braces, which is the domain's own UUID."""
        return f"{{{self.uuid.upper()}}}" if self.uuid else ""

    # Other fields

    uuid = Text("uuid")
    chipset = Attribute("os/type", "machine")
    firmware = Attribute("os", "firmware")
    loader = Text("os/loader")

    def drives(self) -> Iterator[DriveElement]:
        """Every drive, in order."""
        yield from map(DriveElement, self.node.iterfind("devices/disk"))

    def adapters(self) -> Iterator[AdapterElement]:
        """Every network adapter, in order."""
        yield from map(AdapterElement, self.node.iterfind("devices/interface"))

    def ports(self, kind: str) -> list[SerialElement]:
        """Every port of a kind (``serial``, ``parallel``), in order."""
        return [SerialElement(node) for node in self.node.iterfind(f"devices/{kind}")]

    def usb(self) -> Iterator[UsbElement]:
        """Every USB device of the host in it."""
        yield from map(UsbElement, self.node.iterfind("devices/hostdev[@type='usb']"))

    @property
    def devices(self) -> etree._Element:
        """The list of its devices."""
        return child(self.node, "devices")
