"""Describe the images of a disk to the end, from its definition and, where that ends, from their headers."""

from __future__ import annotations

from collections.abc import Iterator

import libvirt
from lxml import etree

from innkeeper.disks.export_files import MARK
from innkeeper.errors import DiskError, MachineUnfit, NotSupported
from innkeeper.hypervisor.domain.fields import Attribute, Element
from innkeeper.hypervisor.libvirt.disk_elements import EXPORTED, BackingElement, DiskElement, ImageElement
from innkeeper.hypervisor.libvirt.exported_disks import ExportedDisks
from innkeeper.hypervisor.libvirt.image_chain import (
    ALONE,
    OVERLAYS,
    ImageChain,
    ImageNode,
    LocalImage,
    NbdExport,
)
from innkeeper.hypervisor.libvirt.image_users import is_same_file
from innkeeper.hypervisor.libvirt.images import Images
from innkeeper.hypervisor.libvirt.storages import Storages
from innkeeper.hypervisor.libvirt.uris import HostUri

#: Cache modes of libvirt's that pass by the host's cache.
_DIRECT = frozenset({"none", "directsync"})


class DescribedChains:
    """The chains of one host's disks, as the service itself may open them."""

    def __init__(self, uri: HostUri, images: Images, storages: Storages, exported: ExportedDisks) -> None:
        self._uri = uri
        self._images = images
        self._storages = storages
        self._exported = exported

    def image(self, connect: libvirt.virConnect, disk: DiskElement) -> ImageNode | None:
        """The image that takes a disk's writes; ``None`` where the service may not open it, as in ``of``."""
        if not self._uri.is_local:
            return None
        try:
            return self._node(connect, disk)
        except _NotForUs:
            return None

    def of(self, connect: libvirt.virConnect, disk: DiskElement, base: str) -> ImageChain | None:
        """The images of a disk that stands on ``base``; ``None`` where the service may not open all of them.

        That is so on another computer, without the rights, for a passphrase that libvirt keeps to itself, and
        for a kind of storage or an option that only libvirt knows how to use.
        """
        if not self._uri.is_local:
            return None
        try:
            nodes = tuple(self._nodes(connect, disk))
        except _NotForUs:
            return None
        if len(nodes) < 2 or not isinstance(nodes[0].storage, LocalImage) or not _is(disk, nodes[1], base):
            return None
        options = _OptionsElement(disk.node)
        chain = ImageChain(nodes=nodes, discard=options.discard == "unmap", direct=options.cache in _DIRECT)
        return chain if chain.is_open_to_us else None

    def _nodes(self, connect: libvirt.virConnect, disk: DiskElement) -> Iterator[ImageNode]:
        level: DiskElement | BackingElement | None = disk
        node = None
        while level is not None:
            last, level = level, level.below()
            node = self._node(connect, last)
            yield node
        if last.node.find("backingStore") is None and node is not None:
            yield from self._below(connect, node)

    def _below(self, connect: libvirt.virConnect, node: ImageNode) -> Iterator[ImageNode]:
        """What an image stands on by its own header, where the definition says nothing of it."""
        if node.format not in OVERLAYS or not isinstance(node.storage, LocalImage):
            return
        try:
            chain = self._images.chain_of(connect, node.storage.path, node.format)
        except DiskError:
            # No file whose header we can read: if it names a base, the daemon finds out.
            return
        for path, image_format in chain[1:]:
            if image_format == EXPORTED:
                yield self._export(path)
            elif path.startswith("/"):
                yield ImageNode(storage=LocalImage(path=path), format=_known(image_format))
            else:
                raise _NotForUs

    def _node(self, connect: libvirt.virConnect, image: DiskElement | BackingElement) -> ImageNode:
        if image.is_exported:
            return self._export(image.file)
        found = _SourceElement(image.node)
        if found.sliced or found.tls or found.query:
            raise _NotForUs
        secret = _secret(connect, image.node)
        kind = _known(image.format)
        return ImageNode(
            storage=self._storage(connect, image, found),
            format="luks" if secret is not None and kind == "raw" else kind,
            secret=secret,
        )

    def _storage(
        self, connect: libvirt.virConnect, image: ImageElement, source: _SourceElement
    ) -> LocalImage | NbdExport:
        try:
            _, path = self._storages.resolve(connect, image, "The machine")
        except (libvirt.libvirtError, MachineUnfit, NotSupported) as error:
            raise _NotForUs from error
        if path:
            return LocalImage(path=path)
        if image.protocol == "nbd" and source.transport == "unix":
            return NbdExport(export=image.network_name, socket=source.socket)
        if image.protocol == "nbd" and source.transport == "tcp" and source.port.isdecimal():
            return NbdExport(export=image.network_name, host=source.host, port=int(source.port))
        raise _NotForUs

    def _export(self, path: str) -> ImageNode:
        return ImageNode(
            storage=NbdExport(export=f"{MARK}{path}", socket=self._exported.socket_of(path)), format="raw"
        )


class _NotForUs(Exception):
    """Only libvirt knows how to open an image."""


class _SourceElement(Element):
    """What a ``<source>`` says beyond where the content is."""

    sliced = Attribute("source/slices/slice", "type")
    tls = Attribute("source", "tls")
    query = Attribute("source", "query")
    host = Attribute("source/host", "name")
    port = Attribute("source/host", "port", "10809")
    transport = Attribute("source/host", "transport", "tcp")
    socket = Attribute("source/host", "socket")


class _OptionsElement(Element):
    """How a disk's images are opened."""

    discard = Attribute("driver", "discard")
    cache = Attribute("driver", "cache")


def _is(disk: DiskElement, node: ImageNode, base: str) -> bool:
    """Whether the image right below a disk is the one that is meant."""
    named = disk.below()
    if named is not None and named.source() == base:
        return True
    if isinstance(node.storage, NbdExport):
        return node.storage.export == f"{MARK}{base}"
    return is_same_file(node.storage.path, base)


def _known(image_format: str) -> str:
    if image_format not in OVERLAYS | ALONE:
        raise _NotForUs
    return image_format


def _secret(connect: libvirt.virConnect, image: etree._Element) -> bytes | None:
    """The passphrase of an image; ``None`` where it is not encrypted."""
    encryption = image.find("source/encryption")
    encryption = image.find("encryption") if encryption is None else encryption
    if encryption is None:
        return None
    found = _EncryptionElement(encryption)
    if found.format != "luks" or found.engine not in ("", "qemu"):
        raise _NotForUs
    try:
        if found.uuid:
            return bytes(connect.secretLookupByUUIDString(found.uuid).value())
        return bytes(connect.secretLookupByUsage(libvirt.VIR_SECRET_USAGE_TYPE_VOLUME, found.usage).value())
    except libvirt.libvirtError as error:
        # It is private, or kept where this connection does not see it.
        raise _NotForUs from error


class _EncryptionElement(Element):
    """``<encryption>``: how an image is encrypted."""

    format = Attribute(".", "format")
    engine = Attribute(".", "engine")
    uuid = Attribute("secret", "uuid")
    usage = Attribute("secret", "usage")
