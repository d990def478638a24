"""Disk images of a libvirt host."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import libvirt

from innkeeper.hypervisor.libvirt.connection import Connection
from innkeeper.hypervisor.libvirt.domains import persistent
from innkeeper.hypervisor.libvirt.exported_disks import ExportedDisks
from innkeeper.hypervisor.libvirt.image_users import ImageUsers
from innkeeper.hypervisor.libvirt.images import Images
from innkeeper.hypervisor.libvirt.storages import Storages
from innkeeper.hypervisor.libvirt.uris import HostUri
from innkeeper.machines.machine import Disk
from innkeeper.machines.ports.disks import DiskStorage, ImageUser


class LibvirtDisks:
    """The disk images of one host (``machines.ports.disks.Disks``)."""

    def __init__(
        self,
        uri: HostUri,
        connection: Connection,
        images: Images,
        storages: Storages,
        exported: ExportedDisks,
    ) -> None:
        self._uri = uri
        self._storages = storages
        self._connection = connection
        self._images = images
        self._exported = exported

    async def backing_chain(self, path: str) -> Sequence[str]:
        """The image file and the images it stands on, top first."""
        return [*await self.chain_formats(path)]

    async def chain_formats(self, path: str) -> Mapping[str, str]:
        """The images of the chain with their formats, as definitions and overlays' headers say them."""
        return dict(
            await self._connection.ask(lambda c: self._images.chain(c, path), f"read the chain of {path}")
        )

    async def users(self, path: str) -> Sequence[ImageUser]:
        """Who stands on an image."""
        return (await self.users_of([path]))[path]

    async def users_of(self, paths: Sequence[str]) -> Mapping[str, Sequence[ImageUser]]:
        """Who stands on each of these images, by one look at the host."""

        def look(connect: libvirt.virConnect) -> Mapping[str, Sequence[ImageUser]]:
            found = ImageUsers(connect, self._images, self._storages)
            return {path: found.of(path) for path in paths}

        return await self._connection.ask(look, f"see who stands on {', '.join(paths[:3])}")

    async def free_bytes(self, directory: str) -> int:
        """Room left in a directory of the host."""
        return await self._connection.ask(
            lambda c: self._images.free_bytes(c, directory), f"see the room left in {directory}"
        )

    async def delete(self, path: str) -> None:
        """Delete an image file of this host. Does nothing where it is gone."""
        await self._connection.command(lambda c: self._images.delete(c, path), f"delete {path}")

    async def storage(self, name: str, target: str) -> DiskStorage:
        """Where the content of a machine's disk is."""
        return await self._connection.ask(
            lambda c: self._storages.storage(c, name, target), f"find the disk {target} of", name
        )

    async def at_next_start(self, name: str) -> Sequence[Disk] | None:
        """The drives of the persistent definition."""

        def look(connect: libvirt.virConnect) -> Sequence[Disk] | None:
            domain = connect.lookupByName(name)
            if not domain.isPersistent():
                return None
            return [disk.value() for disk in persistent(domain).disks()]

        return await self._connection.ask(look, "read the next start's disks of", name)

    async def delete_undo_disk(self, path: str, base: str) -> None:
        """Delete an undo disk over ``base``, or the beginning of one, and nothing else."""
        await self._connection.command(
            lambda c: self._images.delete_undo_disk(c, path, base), f"delete {path}"
        )

    async def undo_directory(self) -> str:
        """The host's folder for undo disks, made where it is the service's own."""
        directory = self._uri.undo_directory
        if directory is not None and self._uri.is_local and not self._uri.is_system:
            await asyncio.to_thread(directory.mkdir, mode=0o700, parents=True, exist_ok=True)
        return str(directory or "")

    async def use_exports(self, name: str) -> Sequence[str]:
        """Make the definition of a machine that is off use an export for each VHD."""
        return await self._exported.connect(name)
