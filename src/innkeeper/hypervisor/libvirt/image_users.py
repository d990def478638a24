"""Find who stands on disk images: machines' disks, and images that no definition names."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import libvirt

from innkeeper.disks.base_names import Base, address_keys
from innkeeper.disks.bases import bases_of, bases_of_device
from innkeeper.errors import DiskError, InnkeeperError
from innkeeper.hypervisor.domain.undo_note import read_note
from innkeeper.hypervisor.libvirt.definition import Definition
from innkeeper.hypervisor.libvirt.disk_elements import DiskElement, ImageElement, exported_file
from innkeeper.hypervisor.libvirt.domains import current, persistent
from innkeeper.hypervisor.libvirt.image_folders import NO_IMAGE, Folder, folders_in, look_in
from innkeeper.hypervisor.libvirt.images import Images
from innkeeper.hypervisor.libvirt.storages import Storages
from innkeeper.machines.machine import DiskKind
from innkeeper.machines.ports.disks import ImageUser

#: More images below one another than anybody has.
_DEEPEST = 256
#: In which an image names none that lies below it, or libvirt has said which.
_SAID = {"raw", "qcow2"}
#: How raw disks are called. The guest that had one may have written anything into it, headers too.
_RAW_ENDINGS = {".raw", ".img", ".dd"}
_MAY_BE_RAW = "its header says so, and it is named as a raw disk, whose guest may have written that"

#: What an image is known by, whatever it is called: a file's device and number, each place of an address, or
#: else its name.
_Key = tuple[int, int] | tuple[str, str, str] | str


class ImageUsers:
    """One look at a host: who stands on which image. Each definition and each header is read once."""

    def __init__(self, connect: libvirt.virConnect, images: Images, storages: Storages) -> None:
        self._connect = connect
        self._images = images
        self._storages = storages
        self._keys: dict[str, set[_Key]] = {}
        self._folders: dict[Path, Folder] = {}
        #: Machines' disks of which it is not known what they stand on, each with the reason.
        self._unseen: dict[str, str] = {}
        self._raw = {key for path in _raw_disks(connect) for key in self._keys_of(path)}
        self._by_machine = [*self._of_machines()]
        self._known_folders = {*images.pool_folders(connect), *self._folders_of_machines()}

    def of(self, path: str) -> list[ImageUser]:
        """Every disk that is this image or stands on it, then images that no definition names, by name.

        Last come the images and folders that could not be looked at: libvirt lists machines in no order.
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
        beside, unseen = self._beside(path, keys)
        unseen |= self._unseen
        return [
            *by_machine,
            *(
                ImageUser(image=image, unseen=_MAY_BE_RAW if _is_called_raw(image) else "")
                for image in beside
                if image not in named and not self._is_raw(image)
            ),
            *(
                ImageUser(image=image, unseen=why)
                for image, why in sorted(unseen.items())
                if not self._is_raw(image) and not keys & self._keys_of(image)
            ),
        ]

    def _of_machines(self) -> Iterator[tuple[ImageUser, list[tuple[str, str]]]]:
        """Each disk, and the images that it stands on with their formats, itself first."""
        for domain in self._connect.listAllDomains():
            for definition in _definitions(domain):
                for disk in definition.disks():
                    name = domain.name()
                    kind, own = _resolved(self._connect, self._storages, disk, name)
                    if not own:
                        continue
                    chain = self._chain(kind, own, disk.format)
                    chain += [
                        (_resolved(self._connect, self._storages, each, name)[1], each.format)
                        for each in disk.images_below()
                    ]
                    yield ImageUser(image=own, machine=name, target=disk.target), chain

    def _chain(self, kind: DiskKind, path: str, image_format: str) -> list[tuple[str, str]]:
        """The image and what it stands on, with their formats; alone where it is gone or cannot be read."""
        chain = [(path, image_format)]
        if kind is DiskKind.FILE:
            try:
                chain = self._images.chain_of(self._connect, path, image_format)
            except (DiskError, libvirt.libvirtError) as error:
                self._note_unseen(path, image_format, error)
        return [*chain, *self._below(*chain[-1])]

    def _below(self, path: str, image_format: str) -> list[tuple[str, str]]:
        """What lies below the last image of a chain by the headers of all formats."""
        below: dict[str, str] = {}
        waiting = [(path, image_format)]
        while waiting and len(below) < _DEEPEST:
            for base in self._named_by(*waiting.pop()):
                if base.source not in below:
                    below[base.source] = base.format
                    waiting.append((base.source, base.format))
        return [*below.items()]

    def _named_by(self, path: str, image_format: str) -> list[Base]:
        if not self._images.is_local or not path.startswith("/") or image_format == "raw":
            return []
        try:
            if Path(path).is_block_device():
                return bases_of_device(Path(path)) if image_format == "qcow2" else []
            return bases_of(Path(path))
        except (DiskError, OSError) as error:
            if image_format not in _SAID or Path(path).is_block_device():
                self._note_unseen(path, image_format, error)
            return []

    def _note_unseen(self, path: str, image_format: str, error: Exception) -> None:
        is_gone = isinstance(error, DiskError) and error.code in NO_IMAGE
        if self._images.is_local and image_format != "raw" and not is_gone:
            self._unseen[path] = error.sentence if isinstance(error, InnkeeperError) else str(error)

    def _folders_of_machines(self) -> Iterator[Path]:
        """Where images of this computer lie that may stand on devices and addresses, or on any image."""
        if self._images.is_local:
            yield from {
                Path(user.image).parent
                for user, _ in self._by_machine
                if user.image.startswith("/") and not user.image.startswith("/dev/")
            }
            if (folder := self._images.undo_folder()) is not None:
                yield folder

    def _beside(self, path: str, keys: set[_Key]) -> tuple[list[str], dict[str, str]]:
        """Images whose headers name it, and those that could not be looked at, with the reasons.

        Looked at are its folder and those right below it, also of the file behind a link, the pools, and the
        folders of all machines' images.
        """
        if not self._images.is_local:
            is_file = path.startswith("/") and not path.startswith("/dev/")
            return self._images.volumes_over(self._connect, path) if is_file else [], {}
        folders = set(self._known_folders)
        if path.startswith("/") and not path.startswith("/dev/"):
            own = {Path(path).parent, Path(path).resolve().parent}
            folders |= own | {below for each in own for below in folders_in(each)}
        for folder in folders - self._folders.keys():
            self._folders[folder] = look_in(self._connect, self._images, folder)
        looked = [self._folders[folder] for folder in folders]
        beside = {image for each in looked for image, base in each.bases if keys & self._keys_of(base)}
        return sorted(beside), dict(pair for each in looked for pair in each.unseen)

    def _is_raw(self, image: str) -> bool:
        return bool(self._raw & self._keys_of(image))

    def _keys_of(self, path: str) -> set[_Key]:
        if path not in self._keys:
            addresses = address_keys(path)
            files = {path, *(exported_file(protocol, name) for protocol, _, name in addresses)} - {""}
            self._keys[path] = {*addresses, *files, *(key for file in files for key in self._numbers(file))}
        return self._keys[path]

    def _numbers(self, path: str) -> Iterator[_Key]:
        """The file's device and number, where it lies on this computer and may be looked at."""
        if self._images.is_local and path.startswith("/"):
            with contextlib.suppress(OSError):
                found = Path(path).stat()
                yield found.st_dev, found.st_ino


def _raw_disks(connect: libvirt.virConnect) -> set[str]:
    """The images that definitions declare as raw alone: a header in one of them is its guest's own writing.

    Below undo disks too, and in the notes of what disks were like before them.
    Believed, it would let a guest keep other machines from being maintained.
    """
    formats: dict[str, set[str]] = {}
    for domain in connect.listAllDomains():
        for definition in _definitions(domain):
            noted = [DiskElement(each.node) for each in read_note(definition.node).values()]
            for disk in [*definition.disks(), *noted]:
                for path, image_format in ((disk.file, disk.format), *disk.backing()):
                    formats.setdefault(path, set()).add(image_format)
    return {path for path, declared in formats.items() if declared == {"raw"}}


def _is_called_raw(image: str) -> bool:
    """Whether a file has a name of raw disks: where no machine has it, a header in it proves nothing."""
    return Path(image).suffix.lower() in _RAW_ENDINGS


def _definitions(domain: libvirt.virDomain) -> Iterator[Definition]:
    """All definitions of a machine: one that runs, or is saved, may stand on other images."""
    yield persistent(domain)
    yield current(domain)
    with contextlib.suppress(libvirt.libvirtError):
        if domain.hasManagedSaveImage():
            yield Definition.parse(domain.managedSaveGetXMLDesc(0))


def _resolved(
    connect: libvirt.virConnect, storages: Storages, image: ImageElement, machine: str
) -> tuple[DiskKind, str]:
    """The image by its path, or by its address where it has none; as it is named where that is not known."""
    try:
        kind, path = storages.resolve(connect, image, machine)
    except (InnkeeperError, libvirt.libvirtError):
        return image.kind, image.source()
    return kind, path or image.source()


def is_same_file(one: str, other: str) -> bool:
    """Whether two paths lead to one file, by links too."""
    if one == other:
        return True
    try:
        return Path(one).samefile(other)
    except OSError:
        return Path(one) == Path(other)
