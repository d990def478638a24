"""The values in a machine's definition, among them the names of its files: read as XML, never as text.

A name stands there in more ways than one: libvirt writes quotes as entities, other programs leave them.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Sequence

from lxml import etree

from innkeeper.errors import DiskError, ErrorCode
from innkeeper.machines.ports.host import Host

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


async def refuse_outside(
    host: Host, path: str, image_format: str, folders: Sequence[str] | None, known: Collection[str] = ()
) -> None:
    """Refuse an image that leads to a file of the host outside the folders: it may come from anywhere.

    ``None`` for the folders: nothing is confined. Raises ``DiskError`` (ERROR_BAD_PATHNAME).
    """
    if folders is None:
        return
    outside = await host.files.outside(path, image_format, folders, tuple(known))
    if outside:
        raise DiskError(
            f"{path}: it leads to {outside}, out of the folders in which the service works on disks.",
            path=path,
            code=ErrorCode.ERROR_BAD_PATHNAME,
            advice=f"They are: {', '.join(folders)} (setting disk_roots). If you trust the image and all "
            "that it names, move that into one of them, or make the image whole: "
            f"qemu-img convert -f {image_format} -O qcow2 {shlex.quote(path)} WHOLE.qcow2",
        )


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
