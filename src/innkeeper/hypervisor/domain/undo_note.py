"""Keep in a definition what its disks were like before undo disks were put over them.

The note is an element of the metadata: it goes where the definition goes, and libvirt writes it as safely.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Collection, Mapping

from lxml import etree

from innkeeper.hypervisor.domain.fields import child, parse, remove, written

#: The namespace of the note, and the prefix it is written with. libvirt allows one element of a namespace.
NAMESPACE = "urn:innkeeper:undo:1"
PREFIX = "innkeeper-undo"
_TAG = f"{{{NAMESPACE}}}disks"
_DISK_TAG = f"{{{NAMESPACE}}}disk"
#: The parts of a disk that say where its content is; the others are left as they are.
_PLACE = ("auth", "source", "backingStore", "encryption")
#: Those that belong to the image, and may stand beside its source or in it.
_OF_THE_IMAGE = ("auth", "encryption")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class NotedDisk:
    """One disk before an undo disk was put over it."""

    #: The undo disk.
    overlay: str
    #: The ``<disk>`` as it was, with what libvirt calls secure.
    definition: str

    @property
    def node(self) -> etree._Element:
        """The ``<disk>`` as it was."""
        return parse(self.definition, "disk")


def read_note(domain: etree._Element) -> Mapping[str, NotedDisk]:
    """What a definition's disks were like, by target; nothing where no undo disk is noted."""
    found = domain.iterfind(f"metadata/{_TAG}/{_DISK_TAG}")
    return {
        each.get("target", ""): NotedDisk(overlay=each.get("overlay", ""), definition=each.text or "")
        for each in found
    }


def noted_disks(domain: etree._Element, overlays: Mapping[str, str]) -> Mapping[str, NotedDisk]:
    """What these disks (target → overlay) are like, or were like where they stand on the overlay already."""
    known = read_note(domain)
    found = {
        target: _noted(domain, target, overlay, known.get(target)) for target, overlay in overlays.items()
    }
    return {target: noted for target, noted in found.items() if noted is not None}


def note_text(disks: Mapping[str, NotedDisk]) -> str:
    """The note, for libvirt's call that sets it: libvirt itself puts the namespace on."""
    note = etree.Element("disks")
    for target, noted in disks.items():
        # As a text: libvirt would put its names into the namespace too.
        etree.SubElement(note, "disk", target=target, overlay=noted.overlay).text = noted.definition
    return written(note)


def forget_note(domain: etree._Element, targets: Collection[str]) -> None:
    """Take the note of these disks out of a definition."""
    for note in domain.findall(f"metadata/{_TAG}"):
        for each in [*note]:
            if each.get("target") in targets:
                note.remove(each)
        if len(note) == 0:
            remove(domain, f"metadata/{_TAG}")
    metadata = domain.find("metadata")
    if metadata is not None and len(metadata) == 0:
        domain.remove(metadata)


def stand_on_overlay(disk: etree._Element, noted: NotedDisk) -> None:
    """Point a disk to its overlay, with its former image as the backing store."""
    put_back(disk, noted)
    below = _as_backing(noted.node)
    place = disk.index(disk.find("source"))  # type: ignore[arg-type]  # a noted disk has one
    remove(disk, "driver/metadata_cache", *_PLACE)
    disk.set("type", "file")
    child(disk, "driver").set("type", "qcow2")
    source = etree.Element("source", file=noted.overlay)
    source.extend(overlay_encryption(noted.node))
    place = min(place, len(disk))
    disk.insert(place, source)
    disk.insert(place + 1, below)


def put_back(disk: etree._Element, noted: NotedDisk) -> None:
    """Restore what a disk said of its content before; other changes since then stay."""
    before = noted.node
    disk.set("type", before.get("type", "file"))
    _put_back_driver(disk, before)
    remove(disk, *_PLACE)
    for part in [each for each in before if each.tag in _PLACE]:
        disk.insert(before.index(part), copy.deepcopy(part))


def overlay_encryption(disk: etree._Element) -> list[etree._Element]:
    """Encryption of an overlay over a disk: the same secret; empty for a disk in the clear.

    By QEMU itself and in LUKS: no file can have what RBD does for its own images, in more ways.
    """
    found = [*disk.iterfind("source/encryption"), *disk.iterfind("encryption")][:1]
    same = [copy.deepcopy(each) for each in found]
    for each in same:
        if each.attrib.pop("engine", "") == "librbd":
            each.set("format", "luks")
            for further in each.findall("secret")[1:]:
                each.remove(further)
    return same


def _noted(domain: etree._Element, target: str, overlay: str, known: NotedDisk | None) -> NotedDisk | None:
    disk = _disk(domain, target)
    source = None if disk is None else disk.find("source")
    if disk is None or source is None:
        return None
    return known if source.get("file") == overlay else NotedDisk(overlay=overlay, definition=written(disk))


def _disk(domain: etree._Element, target: str) -> etree._Element | None:
    disks = domain.iterfind("devices/disk")
    return next((disk for disk in disks if disk.find(f"target[@dev='{target}']") is not None), None)


def _put_back_driver(disk: etree._Element, before: etree._Element) -> None:
    was = before.find("driver")
    if was is None:
        remove(disk, "driver")
        return
    now = child(disk, "driver")
    remove(now, "metadata_cache")
    now.attrib.pop("type", "")
    if "type" in was.attrib:
        now.set("type", was.get("type", ""))
    for cache in was.findall("metadata_cache"):
        now.insert(was.index(cache), copy.deepcopy(cache))


def _as_backing(before: etree._Element) -> etree._Element:
    """A disk's image as the one below another."""
    backing = etree.Element("backingStore", type=before.get("type", "file"))
    image_format = etree.SubElement(backing, "format", type=_format(before))
    image_format.extend(copy.deepcopy(each) for each in before.findall("driver/metadata_cache"))
    for part in [each for each in before if each.tag in ("source", "backingStore")]:
        backing.append(copy.deepcopy(part))
    for source in backing.findall("source"):
        # It is about starting without the disk.
        source.attrib.pop("startupPolicy", "")
        source.extend(copy.deepcopy(each) for each in before if each.tag in _OF_THE_IMAGE)
    return backing


def _format(before: etree._Element) -> str:
    driver = before.find("driver")
    return "raw" if driver is None else driver.get("type", "raw")
