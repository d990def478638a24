"""Find who stands on a disk image: machines' disks, and images in the same folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import libvirt

from innkeeper.errors import DiskError, InnkeeperError
from innkeeper.hypervisor.libvirt.definition import Definition
from innkeeper.hypervisor.libvirt.disk_elements import ImageElement
from innkeeper.hypervisor.libvirt.domains import current, persistent
from innkeeper.hypervisor.libvirt.images import Images
from innkeeper.hypervisor.libvirt.storages import Storages
from innkeeper.machines.machine import DiskKind
from innkeeper.machines.ports.disks import ImageUser

#: More images in one folder than anybody keeps.
_MOST_IMAGES = 10_000


def image_users(
    connect: libvirt.virConnect, images: Images, storages: Storages, path: str
) -> list[ImageUser]:
    """Every disk that is this image or stands on it, then images of its folder that no definition names.

    Both by name: libvirt lists machines in no order.
    """
    by_machine = sorted(
        set(_machines_over(connect, images, storages, path)),
        key=lambda user: (user.machine, user.target, user.image),
    )
    named = {user.image for user in by_machine} | _raw_disks(connect)
    beside = images.over(connect, path)[:_MOST_IMAGES] if _lies_in_a_folder(path) else []
    return [*by_machine, *(ImageUser(image=image) for image in beside if image not in named)]


def _raw_disks(connect: libvirt.virConnect) -> set[str]:
    """The images that definitions declare as raw alone: a header in one of them is its guest's own writing.

    Believed, it would let a guest keep other machines from being maintained.
    """
    formats: dict[str, set[str]] = {}
    for domain in connect.listAllDomains():
        for definition in _definitions(domain):
            for disk in definition.disks():
                formats.setdefault(disk.file, set()).add(disk.format)
    return {path for path, declared in formats.items() if declared == {"raw"}}


def _definitions(domain: libvirt.virDomain) -> Iterator[Definition]:
    """All definitions of a machine: one that runs, or is saved, may stand on other images."""
    yield persistent(domain)
    yield current(domain)
    with contextlib.suppress(libvirt.libvirtError):
        if domain.hasManagedSaveImage():
            yield Definition.parse(domain.managedSaveGetXMLDesc(0))


def _machines_over(
    connect: libvirt.virConnect, images: Images, storages: Storages, path: str
) -> Iterator[ImageUser]:
    for domain in connect.listAllDomains():
        for definition in _definitions(domain):
            for disk in definition.disks():
                own = _resolved(connect, storages, disk, domain.name())
                chain = _chain(connect, images, own, disk.format) if disk.kind is DiskKind.FILE else [own]
                chain += [_resolved(connect, storages, each, domain.name()) for each in disk.images_below()]
                if own and any(is_same_file(path, each) for each in chain):
                    yield ImageUser(image=own, machine=domain.name(), target=disk.target)


def _resolved(connect: libvirt.virConnect, storages: Storages, image: ImageElement, machine: str) -> str:
    """The image by its path, or by its address where it has none; as it is named where that is not known."""
    try:
        return storages.resolve(connect, image, machine)[1] or image.source()
    except (InnkeeperError, libvirt.libvirtError):
        return image.source()


def _lies_in_a_folder(path: str) -> bool:
    """Whether other images may lie beside it: not beside a device, and not beside an address."""
    return path.startswith("/") and not path.startswith("/dev/")


def _chain(connect: libvirt.virConnect, images: Images, path: str, image_format: str) -> list[str]:
    """The image and what it stands on; alone where it is gone or cannot be read."""
    try:
        return [each for each, _ in images.chain_of(connect, path, image_format)]
    except (DiskError, libvirt.libvirtError):
        return [path]


def is_same_file(one: str, other: str) -> bool:
    """Whether two paths lead to one file, by links too."""
    if one == other:
        return True
    try:
        return Path(one).samefile(other)
    except OSError:
        return Path(one) == Path(other)
