"""Find what a guest can write to past its disks, which no undo disk covers: by libvirt's domain XML."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Final

from lxml import etree

from innkeeper.hypervisor.domain.fields import Attribute, Element, Present
from innkeeper.hypervisor.libvirt.disk_elements import DiskElement

#: Where definitions carry arguments that libvirt hands to QEMU unread.
_ARGUMENTS: Final = "{http://libvirt.org/schemas/domain/qemu/1.0}commandline/*"
#: QEMU's options that give a guest storage of its host: the next argument says which.
_STORAGE_OPTIONS: Final = frozenset(
    f"{dashes}{option}"
    for dashes in ("-", "--")
    for option in (
        *("drive", "blockdev", "hda", "hdb", "hdc", "hdd", "fda", "fdb", "sd", "pflash", "mtdblock"),
        *("fsdev", "virtfs", "object"),
    )
)
#: What of an object is storage; it has others for secrets, throttling and much else.
_STORAGE_OBJECT: Final = "memory-backend-file"
_READ_ONLY: Final = ("readonly=on", "read-only=on", '"read-only":true', '"readonly":true', "snapshot=on")
#: The parts of a SCSI device's address.
_SCSI_ADDRESS: Final = ("bus", "target", "unit")


class HostDeviceElement(Element):
    """``<hostdev>``: a device of the host given to the guest."""

    type = Attribute(".", "type")
    bus = Attribute("source/address", "bus")
    domain = Attribute("source/address", "domain", "0x0000")
    slot = Attribute("source/address", "slot")
    function = Attribute("source/address", "function")
    vendor = Attribute("source/vendor", "id")
    product = Attribute("source/product", "id")

    def name(self) -> str:
        """Return a disk's name for a person."""
        if self.vendor:
            return f"{self.type} {self.vendor}:{self.product}"
        kind = self.type if self.node.tag == "hostdev" else "pci"
        address = ":".join(part.removeprefix("0x") for part in (self.domain, self.bus, self.slot) if part)
        return f"{kind} {address}.{self.function.removeprefix('0x')}"


class SharedDirectoryElement(Element):
    """``<filesystem>``: a directory of the host given to the guest."""

    driver = Attribute("driver", "type")
    tag = Attribute("target", "dir")
    directory = Attribute("source", "dir")
    read_only = Present("readonly")


def host_storage(domain: etree._Element) -> Iterator[str]:
    """Storage of the host that the guest can write to past what undo disks cover, for a person."""
    for directory in map(SharedDirectoryElement, domain.iterfind("devices/filesystem")):
        if not directory.read_only:
            yield f"the folder {directory.directory or directory.tag}"
    for disk in map(DiskElement, domain.iterfind("devices/disk[@device='floppy']")):
        if disk.source() and not disk.read_only:
            yield f"the floppy {disk.source()} (its drive {disk.target})"
    for node in domain.iterfind("devices/hostdev"):
        yield from _device(node)
    yield from _files(domain)
    yield from _of_arguments([node.get("value", "") for node in domain.iterfind(_ARGUMENTS)])


def _files(domain: etree._Element) -> Iterator[str]:
    """Files of the host that are memory or firmware to the guest, and take its writes."""
    for node in domain.iterfind("devices/memory"):
        path = node.findtext("source/path", "")
        if path and node.get("access") != "private" and node.find("target/readonly") is None:
            yield f"the memory in the file {path} ({node.get('model')})"
    for node in domain.iterfind("os/loader[@type='pflash']"):
        if node.get("readonly") == "no":
            yield f"its firmware {(node.text or '').strip()}"
    for node in domain.iterfind("devices/pstore/path"):
        yield f"the file {(node.text or '').strip()} (its pstore)"


def _device(node: etree._Element) -> Iterator[str]:
    """A device of the host, whatever it is: nobody can tell a disk from another by its address."""
    if node.get("type") != "scsi":
        yield f"the device {HostDeviceElement(node).name().strip('. ')}"
    elif node.find("readonly") is None:
        address = node.find("source/address")
        numbers = [] if address is None else [address.get(each, "0") for each in _SCSI_ADDRESS]
        yield f"the SCSI device {':'.join(numbers)}".rstrip()


def _of_arguments(arguments: list[str]) -> Iterator[str]:
    for option, what in itertools.pairwise(arguments):
        if option not in _STORAGE_OPTIONS or any(each in what.replace(" ", "") for each in _READ_ONLY):
            continue
        if not option.endswith("-object") or _STORAGE_OBJECT in what:
            yield f"what {option} {what} names (in <qemu:commandline>)"
