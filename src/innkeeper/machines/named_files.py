"""The values in a machine's definition, among them the names of its files: read as XML, never as text.

A name stands there in more ways than one: libvirt writes quotes as entities, other programs leave them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from lxml import etree

#: A definition keeps the disks from before an undo point as texts, which are XML again.
_DEEPEST = 3


def values_in(definition: str) -> frozenset[str]:
    """All values of a definition (libvirt XML), and of the disks that its note of undo disks keeps.

    A text that is no XML is its own only value.
    """
    return frozenset(_values(definition, _DEEPEST))


def images_in(definition: str) -> list[tuple[str, str]]:
    """The disk images of a definition, each with its format; none where it is no XML."""
    try:
        root = etree.fromstring(definition.encode(), _parser())
    except etree.XMLSyntaxError:
        return []
    found = []
    for disk in root.iterfind("devices/disk"):
        driver, source = disk.find("driver"), disk.find("source")
        path = "" if source is None else source.get("file") or source.get("dev") or ""
        if path:
            found.append((str(path), "raw" if driver is None else str(driver.get("type") or "raw")))
    return found


def _parser() -> etree.XMLParser:
    return etree.XMLParser(resolve_entities=False, no_network=True)


def names(values: Collection[str], path: str) -> bool:
    """Whether one of the values is the path, or is no path itself and has it in it, as addresses have."""
    return any(value == path or (path in value and not value.startswith("/")) for value in values)


def _values(text: str, depth: int) -> Iterator[str]:
    try:
        root = etree.fromstring(text.encode(), _parser())
    except etree.XMLSyntaxError:
        yield text
        return
    for node in root.iter(etree.Element):
        yield from map(str, node.attrib.values())
        own = (node.text or "").strip()
        if own.startswith("<") and depth:
            yield from _values(own, depth - 1)
        elif own:
            yield own
