"""The image files of another computer, as far as its libvirt shows them by its storage pools.

What the kernel there would say of rights and marks is not to be had: it is told by QEMU, when it opens them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import TypeVar

import libvirt

from innkeeper.errors import NotSupported
from innkeeper.hypervisor.libvirt.connection import Connection
from innkeeper.hypervisor.libvirt.images import Images, RemoteFile, network_pool_of
from innkeeper.hypervisor.libvirt.uris import HostUri
from innkeeper.machines.ports.image_files import FileIdentity, Hindrance
from innkeeper.machines.ports.progress import OnProgress

T = TypeVar("T")

#: The longest file name that Linux takes, in bytes.
_LONGEST_NAME = 255
#: libvirt reads the same header of these as QEMU does.
_KNOWN_BY_HEADER = ("qcow2",)


class FarFiles:
    """The image files of a host that is not this computer (``machines.ports.image_files.ImageFiles``)."""

    def __init__(self, uri: HostUri, connection: Connection, images: Images) -> None:
        self._uri = uri
        self.computer = uri.host
        self._connection = connection
        self._images = images

    async def identity(self, path: str) -> FileIdentity | None:
        """Size and time of the file; a volume has no inode."""
        found = await self._look(path)
        if found is None:
            return None
        return FileIdentity(size_bytes=found.size_bytes, mtime_ns=found.mtime_ns, inode=0)

    async def image_hindrance(
        self, path: str, image_format: str, *, is_device: bool, is_idle: bool
    ) -> Hindrance | None:
        """What libvirt sees of it: whether it is there, and of which kind and format."""
        found = await self._look(path)
        if found is None:
            return Hindrance.MISSING
        if found.kind == libvirt.VIR_STORAGE_VOL_DIR:
            return Hindrance.FOLDER
        if is_device != (found.kind == libvirt.VIR_STORAGE_VOL_BLOCK):
            return Hindrance.NO_DEVICE if is_device else Hindrance.BLOCK_DEVICE
        if image_format in _KNOWN_BY_HEADER and found.format != image_format:
            return Hindrance.OTHER_FORMAT
        return None

    async def folder_hindrance(self, directory: str, name: str) -> Hindrance | None:
        """Whether libvirt finds the folder, and any file can have the name."""
        if len(name.encode()) > _LONGEST_NAME:
            return Hindrance.LONG_NAME
        is_there = await self._ask(lambda c: self._images.has_folder(c, directory), directory)
        return None if is_there else Hindrance.MISSING

    async def virtual_size(self, path: str, image_format: str) -> int:
        """The capacity by its header where it is of that format, else the file's size."""
        found = await self._look(path)
        if found is None:
            raise self._refusal(path, "is not there")
        return found.capacity_bytes if found.format == image_format else found.size_bytes

    async def checksum(self, path: str, on_progress: OnProgress | None = None) -> str:
        """The SHA-256 of the file, whose bytes come over the wire; holes cost nothing."""
        found = await self._look(path)
        total = 0 if found is None else found.size_bytes

        def read(connect: libvirt.virConnect) -> str:
            digest = hashlib.sha256()
            self._images.download(connect, path, digest.update)
            return f"sha256:{digest.hexdigest()}"

        read_all = await self._connection.command(read, f"read {path}")
        if on_progress is not None:
            on_progress(total, total)
        return read_all

    async def find(self, directory: str, part: str) -> Sequence[str]:
        """The paths of the directory's files with ``part`` in their names, sorted."""
        return await self._ask(lambda c: self._images.find(c, directory, part), directory)

    async def format(self, path: str) -> str:
        """The format that its name says, for a guest may have written what its header says."""
        endings = {".qcow2": "qcow2", ".vhd": "vpc", ".vhdx": "vhdx", ".vmdk": "vmdk"}
        return endings.get(PurePosixPath(path).suffix.lower(), "raw")

    async def outside(
        self, path: str, image_format: str, folders: Sequence[str], known: Sequence[str] = ()
    ) -> str:
        """The first image below that lies in none of the folders, as libvirt sees it; empty for none."""
        below = await self._ask(lambda c: self._images.chain_of(c, path, image_format)[1:], path)
        for base, _ in below:
            inside = any(PurePosixPath(base).is_relative_to(folder) for folder in folders)
            if base not in known and not inside:
                return base
        return ""

    async def network_storage(self, path: str) -> str:
        """The server and folder of a pool that libvirt there mounts by network; other mounts are not seen."""
        return await self._ask(lambda c: network_pool_of(c, path), path)

    async def is_qcow2_named_as_raw(self, path: str) -> bool:
        """Refused: only whoever reads it could tell."""
        raise self._refusal(path, "cannot be looked into from here")

    async def _look(self, path: str) -> RemoteFile | None:
        return await self._ask(lambda c: self._images.remote_file(c, path), path)

    async def _ask(self, question: Callable[[libvirt.virConnect], T], what: str) -> T:
        return await self._connection.ask(question, f"look at {what}")

    def _refusal(self, path: str, why: str) -> NotSupported:
        return NotSupported(
            f"{path} {why}: it is on the host at {self._uri.text}.",
            advice="Run Innkeeper on that host.",
        )
