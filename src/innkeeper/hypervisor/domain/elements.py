"""Declare the devices of a domain as libvirt's XML has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lxml import etree

from innkeeper.disks.export_files import MARK
from innkeeper.hypervisor.domain.fields import Attribute, Element, Present, Text, child
from innkeeper.machines.configuration import Location
from innkeeper.wire.virtual_pc import BiosField, DriveBus

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
        """What it is attached to."""
        by_name = _BUS_BY_PREFIX.get(self.target[:2], DriveBus.INVALID)
        return _BUS_BY_WORD.get(self.bus_word, by_name)

    @property
    def location(self) -> Location:
        """Where it is attached, by its name."""
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

    bus = Attribute("source/address", "bus", "0")
    device = Attribute("source/address", "device", "0")


class FirmwareString(Element):
    """``<entry name=…>`` of a table of the firmware's strings."""

    name = Attribute(".", "name")


#: Table and entry of each of the firmware's strings; its GUID is the domain's own UUID.
_BIOS_ENTRIES: Mapping[BiosField, tuple[str, str]] = {
    BiosField.SERIAL_NUMBER: ("system", "serial"),
    BiosField.BASE_BOARD_SERIAL_NUMBER: ("baseBoard", "serial"),
    BiosField.CHASSIS_SERIAL_NUMBER: ("chassis", "serial"),
    BiosField.CHASSIS_ASSET_TAG: ("chassis", "asset"),
}


class Domain(Element):
    """A whole machine."""

    name = Text("name")
    uuid = Text("uuid")
    description = Text("description")
    memory = Text("memory")
    memory_unit = Attribute("memory", "unit", "KiB")
    current_memory = Text("currentMemory")
    current_memory_unit = Attribute("currentMemory", "unit", "KiB")
    vcpus = Text("vcpu")
    vcpus_now = Attribute("vcpu", "current")
    chipset = Attribute("os/type", "machine")
    firmware = Attribute("os", "firmware")
    loader = Text("os/loader")
    smbios_mode = Attribute("os/smbios", "mode")
    sysinfo_type = Attribute("sysinfo", "type")

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

    def bios_string(self, field: BiosField) -> str:
        """One of the firmware's strings; empty where it was never set."""
        if field is BiosField.GUID:
            return f"{{{self.uuid.upper()}}}" if self.uuid else ""
        table, entry = _BIOS_ENTRIES[field]
        return (self.node.findtext(f"sysinfo/{table}/entry[@name='{entry}']") or "").strip()

    def set_bios_string(self, field: BiosField, value: str) -> None:
        """Set one of the firmware's strings."""
        if field is BiosField.GUID:
            raise ValueError("the GUID of a machine is not a string of its firmware's tables")
        table, entry = _BIOS_ENTRIES[field]
        self.sysinfo_type = "smbios"
        self.smbios_mode = "sysinfo"
        node = child(self.node, f"sysinfo/{table}")
        found = node.find(f"entry[@name='{entry}']")
        if found is None:
            found = etree.SubElement(node, "entry", name=entry)
        found.text = value
