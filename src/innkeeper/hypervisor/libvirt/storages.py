"""Find where disks' content is: files, devices and addresses, with volumes of pools resolved."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

import libvirt

from innkeeper.disks.look import opened_to_look
from innkeeper.errors import DiskError, ErrorCode, MachineUnfit, NotSupported
from innkeeper.hypervisor.domain.undo_note import read_note
from innkeeper.hypervisor.libvirt.disk_elements import DiskElement, ImageElement
from innkeeper.hypervisor.libvirt.domains import current
from innkeeper.hypervisor.libvirt.images import Images
from innkeeper.hypervisor.libvirt.uris import HostUri
from innkeeper.machines.machine import DiskKind
from innkeeper.machines.ports.disks import DiskStorage

_VOLUME_KINDS: Mapping[int, DiskKind] = {
    libvirt.VIR_STORAGE_VOL_FILE: DiskKind.FILE,
    libvirt.VIR_STORAGE_VOL_BLOCK: DiskKind.BLOCK,
    libvirt.VIR_STORAGE_VOL_NETWORK: DiskKind.NETWORK,
}
_QCOW2_MAGIC = b"QFI\xfb"
#: Where a qcow2 header keeps the size that the guest sees.
_QCOW2_SIZE = slice(24, 32)


class Storages:
    """The storages of one host's disks."""

    def __init__(self, uri: HostUri, images: Images) -> None:
        self._uri = uri
        self._images = images

    def storage(self, connect: libvirt.virConnect, name: str, target: str) -> DiskStorage:
        """Where the content of a machine's disk is."""
        domain = connect.lookupByName(name)
        definition = current(domain)
        disk = definition.disk(target)
        noted = read_note(definition.node).get(target)
        if noted is not None and noted.overlay == disk.file:
            disk = DiskElement(noted.node)
        kind, path = self.resolve(connect, disk, name)
        return DiskStorage(
            source=disk.source(),
            kind=kind,
            path=path,
            format=disk.format,
            size_bytes=self._size(domain, disk, path),
            chain=self._chain(connect, disk, kind, path),
        )

    def resolve(self, connect: libvirt.virConnect, image: ImageElement, machine: str) -> tuple[DiskKind, str]:
        """What an image is, and the file or device of the host; empty where it is on the network."""
        if image.type != "volume":
            kind = image.kind
            return kind, "" if kind in (DiskKind.NETWORK, DiskKind.OTHER) else image.source()
        if self._uri.root is not None:
            # Opening the storage driver of an embedded libvirt would end this process.
            raise NotSupported(
                f"{machine} has the volume {image.source()} of a storage pool, and the libvirt inside this "
                "service has no pools.",
                advice="Name the volume's file in the definition, or let the system's libvirt run it.",
            )
        pool = connect.storagePoolLookupByName(image.pool)
        if not pool.isActive():
            raise MachineUnfit(
                f"{machine} has a volume of the storage pool {image.pool}, which is not active.",
                machine=machine,
                advice=f"Start the pool: virsh pool-start {image.pool}",
            )
        volume = pool.storageVolLookupByName(image.volume)
        kind = _VOLUME_KINDS.get(volume.info()[0], DiskKind.OTHER)
        return kind, "" if kind in (DiskKind.NETWORK, DiskKind.OTHER) else str(volume.path())

    def _chain(
        self, connect: libvirt.virConnect, disk: DiskElement, kind: DiskKind, path: str
    ) -> tuple[str, ...]:
        below = [image.source() for image in disk.images_below()]
        if kind is DiskKind.FILE and path:
            return tuple(each for each, _ in self._images.chain_of(connect, path, disk.format))
        return (path, *below) if path else ()

    def _size(self, domain: libvirt.virDomain, disk: DiskElement, path: str) -> int:
        if path and self._uri.is_local and not disk.is_exported:
            if _waits(path):
                return 0
            if _is_readable(path):
                size = virtual_size(path, disk.format)
                if size is not None:
                    return size
        try:
            return int(domain.blockInfo(disk.target)[0])
        except libvirt.libvirtError:
            # A machine that is off: libvirt looks at local images alone.
            return 0


def _waits(path: str) -> bool:
    """Return whether opening it would wait for another program, as libvirt would too."""
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)  # noqa: PTH116 - a path of any kind
    except OSError:
        return False


def _is_readable(path: str) -> bool:
    """Return whether a file may be opened, and is nothing that waits for somebody who writes to it."""
    is_image = Path(path).is_file() or Path(path).is_block_device()
    return is_image and os.access(path, os.R_OK)


def virtual_size(path: str, image_format: str) -> int | None:
    """The bytes that a guest sees of a file or device; ``None`` where only QEMU can tell.

    Raises ``DiskError`` where it is not of the format that its definition says.
    """
    if image_format not in ("raw", "qcow2"):
        return None
    with opened_to_look(path) as image:
        if image_format == "raw":
            return image.seek(0, os.SEEK_END)
        header = image.read(_QCOW2_SIZE.stop)
    if not header.startswith(_QCOW2_MAGIC):
        raise DiskError(
            f"{path} is no qcow2 image, as its definition says it is.",
            path=path,
            code=ErrorCode.VM_E_INVALID_HD_FILE,
            advice="See which format it has (qemu-img info), and correct the definition.",
        )
    return int.from_bytes(header[_QCOW2_SIZE], "big")
