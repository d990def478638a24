"""Find who stands on disk images: machines' disks, and images that no definition names."""

from __future__ import annotations

import contextlib
import dataclasses
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


#: What a file is known by, whatever it is called: its device and number, or else its name.
_Key = tuple[int, int] | str


class ImageUsers:
    """One look at a host: who stands on which image. Each definition and each header is read once."""

    def __init__(self, connect: libvirt.virConnect, images: Images, storages: Storages) -> None:
        self._connect = connect
        self._images = images
        self._storages = storages
        self._keys: dict[str, set[_Key]] = {}
        self._folders: dict[Path, list[tuple[str, str]]] = {}
        self._raw = {key for path in _raw_disks(connect) for key in self._keys_of(path)}
        self._by_machine = [*self._of_machines()]
        self._pools = images.pool_folders(connect)

    def of(self, path: str) -> list[ImageUser]:
        """Every disk that is this image or stands on it, then images that no definition names.

        Both by name: libvirt lists machines in no order.
        """
        keys = self._keys_of(path)
        found = {
            dataclasses.replace(user, format=image_format)
            for user, stands_on in self._by_machine
            for image, image_format in stands_on
            if keys & self._keys_of(image)
        }
        by_machine = sorted(found, key=lambda user: (user.machine, user.target, user.image, user.format))
        named = {user.image for user in by_machine}
        beside = [
            image
            for image in self._beside(path, keys)
            if image not in named and not self._raw & self._keys_of(image)
        ]
        return [*by_machine, *(ImageUser(image=image) for image in beside[:_MOST_IMAGES])]

    def _of_machines(self) -> Iterator[tuple[ImageUser, list[tuple[str, str]]]]:
        """Each disk, and the images that it stands on with their formats, itself first."""
        for domain in self._connect.listAllDomains():
            for definition in _definitions(domain):
                for disk in definition.disks():
                    name = domain.name()
                    own = _resolved(self._connect, self._storages, disk, name)
                    if not own:
                        continue
                    chain = [(own, disk.format)]
                    if disk.kind is DiskKind.FILE:
                        chain = _chain(self._connect, self._images, own, disk.format)
                    chain += [
                        (_resolved(self._connect, self._storages, each, name), each.format)
                        for each in disk.images_below()
                    ]
                    yield ImageUser(image=own, machine=name, target=disk.target), chain

    def _beside(self, path: str, keys: set[_Key]) -> list[str]:
        """Images whose headers name it: beside it, beside the file behind a link, and in pools."""
        if not path.startswith("/") or path.startswith("/dev/"):
            return []
        if not self._images.is_local:
            return self._images.volumes_over(self._connect, path)
        folders = {Path(path).parent, Path(path).resolve().parent, *self._pools}
        for folder in folders - self._folders.keys():
            self._folders[folder] = self._images.bases_in(folder)
        return sorted(
            {
                image
                for folder in folders
                for image, base in self._folders[folder]
                if keys & self._keys_of(base)
            }
        )

    def _keys_of(self, path: str) -> set[_Key]:
        if path not in self._keys:
            self._keys[path] = {path, *self._numbers(path)}
        return self._keys[path]

    def _numbers(self, path: str) -> Iterator[_Key]:
        """The file's device and number, where it lies on this computer and may be looked at."""
        if self._images.is_local and path.startswith("/"):
            with contextlib.suppress(OSError):
                found = Path(path).stat()
                yield found.st_dev, found.st_ino


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


def _resolved(connect: libvirt.virConnect, storages: Storages, image: ImageElement, machine: str) -> str:
    """The image by its path, or by its address where it has none; as it is named where that is not known."""
    try:
        return storages.resolve(connect, image, machine)[1] or image.source()
    except (InnkeeperError, libvirt.libvirtError):
        return image.source()


def _chain(
    connect: libvirt.virConnect, images: Images, path: str, image_format: str
) -> list[tuple[str, str]]:
    """The image and what it stands on, with their formats; alone where it is gone or cannot be read."""
    try:
        return images.chain_of(connect, path, image_format)
    except (DiskError, libvirt.libvirtError):
        return [(path, image_format)]


def is_same_file(one: str, other: str) -> bool:
    """Whether two paths lead to one file, by links too."""
    if one == other:
        return True
    try:
        return Path(one).samefile(other)
    except OSError:
        return Path(one) == Path(other)
