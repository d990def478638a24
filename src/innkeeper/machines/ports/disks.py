"""Port for the disk images of a host, as the hypervisor sees them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Protocol

from innkeeper.machines.machine import Disk, DiskKind


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ImageUser:
    """Who stands on an image: a machine's disk, or another image."""

    #: The image that is the one asked for, or stands on it.
    image: str
    #: The machine whose disk it is, and that disk's name; empty where no definition names the image.
    machine: str = ""
    target: str = ""
    #: As what it reads the image that was asked for, by definitions and by headers above it; empty where
    #: nothing tells.
    format: str = ""
    #: Why it is not known whether this image, or one in this folder, stands on it; empty where it does.
    unseen: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DiskStorage:
    """Where the content of one disk of a machine is: below its undo disk, where one is noted."""

    #: As the definition has it: a file, a device, ``pool/volume`` or an address.
    source: str
    #: What it is, volumes of pools resolved: a file, a block device, or something on the network.
    kind: DiskKind
    #: The file or device of the host; empty where it is on the network.
    path: str
    #: ``raw``, ``qcow2`` …
    format: str
    #: The size that the guest sees; 0 where only a running machine could tell.
    size_bytes: int
    #: The path and what it stands on, top first; empty where it is on the network.
    chain: tuple[str, ...]


class Disks(Protocol):
    """The disk images of one host, as its hypervisor sees them."""

    async def backing_chain(self, path: str) -> Sequence[str]:
        """The image file and the images it stands on, top first."""

    async def users(self, path: str) -> Sequence[ImageUser]:
        """Every disk of a machine that is this image or stands on it, and images in folders that do.

        Looked at are its folder and those right below, the host's pools and the folders of machines' images.
        Also images and folders that cannot be looked at, as such.
        """

    async def users_of(self, paths: Sequence[str]) -> Mapping[str, Sequence[ImageUser]]:
        """The same of several images, by one look at the host."""

    async def chain_formats(self, path: str) -> Mapping[str, str]:
        """The images of the chain with their formats, as definitions and overlays' headers say them."""

    async def free_bytes(self, directory: str) -> int:
        """Room left in a directory of disk images."""

    async def delete(self, path: str) -> None:
        """Delete an image file. Does nothing where it is gone."""

    async def storage(self, name: str, target: str) -> DiskStorage:
        """Where the content of a machine's disk is, on whatever storage.

        Raises ``MachineUnfit`` where its pool is not active, ``NotSupported`` where the host has no pools.
        """

    async def at_next_start(self, name: str) -> Sequence[Disk] | None:
        """The drives of a machine's next start, by its persistent definition; ``None`` where it has none."""

    async def delete_undo_disk(self, path: str, base: str) -> None:
        """Delete an undo disk over ``base``, whole or only begun. Does nothing where it is gone.

        Raises ``DiskError`` (ERROR_ALREADY_EXISTS), and deletes nothing, where the file is anything else.
        """

    async def undo_directory(self) -> str:
        """The host's folder for undo disks of disks that lie in no folder; empty where none is known."""

    async def use_exports(self, name: str) -> Sequence[str]:
        """Make the definition of a machine that is off use an export for each VHD, which QEMU misreads.

        Returns the targets of those that were changed. Raises ``NotSupported`` where the host cannot reach
        an export, and ``DiskError`` for a chain that cannot be opened.
        """
