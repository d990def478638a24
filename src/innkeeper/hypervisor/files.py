"""Image files of this computer: identity, size, checksum, copies."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from innkeeper.disks.facts import peek
from innkeeper.disks.file import ImageFile
from innkeeper.disks.formats import format_of, is_qcow2_named_as_raw
from innkeeper.disks.look import opened_to_look
from innkeeper.disks.outside import first_outside
from innkeeper.errors import DiskError, ErrorCode
from innkeeper.hypervisor import hindrances
from innkeeper.hypervisor.network_storage import network_storage
from innkeeper.machines.ports.image_files import FileIdentity, Hindrance
from innkeeper.machines.ports.progress import OnProgress

T = TypeVar("T")

#: Large enough that hashing, not reading, sets the pace.
_BLOCK = 1 << 20
_ZEROS = memoryview(bytes(_BLOCK))
_QCOW2_MAGIC = b"QFI\xfb"
#: Where a qcow2 header keeps the size that the guest sees.
_QCOW2_SIZE = slice(24, 32)
#: A footer in any other file may be its guest's.
_VHD_SUFFIXES = (".vhd", ".avhd")


class LocalFiles:
    """The image files of this computer; blocking calls run in threads."""

    #: Hosts whose files are this computer's share them.
    computer: str = ""

    async def identity(self, path: str) -> FileIdentity | None:
        """``None`` where there is no such file."""
        return await self._blocking(path, lambda: _identity(Path(path)))

    #: Whether QEMU runs as this user, so that what this user may do is what it may do.
    is_qemus_user = True

    async def image_hindrance(
        self, path: str, image_format: str, *, is_device: bool, is_idle: bool
    ) -> Hindrance | None:
        """What keeps an image from carrying an undo disk, by the kernel's answers and its header."""
        return await self._blocking(
            path,
            lambda: hindrances.of_image(
                path, image_format, is_device=is_device, is_ours=self.is_qemus_user, is_idle=is_idle
            ),
        )

    async def folder_hindrance(self, directory: str, name: str) -> Hindrance | None:
        """What keeps an overlay from being made in a folder, by the kernel's answers."""
        return await self._blocking(
            directory, lambda: hindrances.of_folder(directory, name, is_ours=self.is_qemus_user)
        )

    async def virtual_size(self, path: str, image_format: str) -> int:
        """The bytes a guest sees of the image: by a qcow2's header or a VHD's footer, else the file's."""
        return await self._blocking(path, lambda: _virtual_size(Path(path), image_format))

    async def checksum(self, path: str, on_progress: OnProgress | None = None) -> str:
        """The SHA-256 of the whole file, as ``sha256sum`` gives it; holes are counted without being read."""
        report = None if on_progress is None else _on_loop(on_progress)
        return await self._blocking(path, lambda: _checksum(Path(path), report))

    async def find(self, directory: str, part: str) -> Sequence[str]:
        """The paths of the directory's files with ``part`` in their names, sorted."""
        return await self._blocking(directory, lambda: _find(Path(directory), part))

    async def format(self, path: str) -> str:
        """The image's format, by its name together with its marks."""
        return await self._blocking(path, lambda: _format(Path(path)))

    async def outside(
        self, path: str, image_format: str, folders: Sequence[str], known: Sequence[str] = ()
    ) -> str:
        """What an image leads to and lies in none of the folders; empty for nothing."""
        return await self._blocking(path, lambda: first_outside(path, image_format, folders, known))

    async def is_qcow2_named_as_raw(self, path: str) -> bool:
        """Whether the file is a qcow2 image that stands alone, although its name does not say qcow2."""
        return await self._blocking(path, lambda: _is_qcow2_named_as_raw(Path(path)))

    async def network_storage(self, path: str) -> str:
        """The storage of the file where other computers may have it too, by what is mounted here."""
        return await self._blocking(path, lambda: network_storage(path))

    async def _blocking(self, path: str, call: Callable[[], T]) -> T:
        try:
            return await self._run(call)
        except OSError as exc:
            reason = exc.strerror or str(exc)
            code = ErrorCode.E_ACCESSDENIED if isinstance(exc, PermissionError) else None
            raise DiskError(f"{path} cannot be read: {reason}.", path=path, code=code) from exc

    async def _run(self, call: Callable[[], T]) -> T:
        return await asyncio.to_thread(call)


def _on_loop(on_progress: OnProgress) -> OnProgress:
    """Report progress on this event loop, from whatever thread."""
    loop = asyncio.get_running_loop()

    def report(done: int, total: int) -> None:
        loop.call_soon_threadsafe(on_progress, done, total)

    return report


def _identity(path: Path) -> FileIdentity | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    if stat.S_ISBLK(found.st_mode):
        # Its number changes with each boot of the host, and its time with nothing that is written.
        return FileIdentity(size_bytes=_device_size(path), mtime_ns=0, inode=0)
    return FileIdentity(size_bytes=found.st_size, mtime_ns=found.st_mtime_ns, inode=found.st_ino)


def _device_size(path: Path) -> int:
    """The bytes of a block device; 0 where only libvirt may open it."""
    try:
        with opened_to_look(path) as device:
            return device.seek(0, os.SEEK_END)
    except PermissionError:
        return 0


def _virtual_size(path: Path, image_format: str) -> int:
    if not os.access(path, os.R_OK):
        # libvirt's own image, which only libvirt may read: the file's size is the best there is.
        return path.stat().st_size
    with opened_to_look(path) as image:
        header = image.read(_QCOW2_SIZE.stop)
        if image_format == "qcow2" and header.startswith(_QCOW2_MAGIC):
            return int.from_bytes(header[_QCOW2_SIZE], "big")
        length = image.seek(0, os.SEEK_END)
    return peek(path)[1] if path.name.lower().endswith(_VHD_SUFFIXES) else length


def _format(path: Path) -> str:
    """libvirt's name for the format; raises ``DiskError`` where a guest could have written what tells it."""
    if not os.access(path, os.R_OK) or not path.is_file():
        return "raw"
    with ImageFile.open(path, held=False) as image:
        kind = format_of(image, raw_if_nothing=True)
    return "vpc" if kind.is_vhd else kind.value


def _is_qcow2_named_as_raw(path: Path) -> bool:
    with ImageFile.open(path, held=False) as image:
        return is_qcow2_named_as_raw(image)


def _checksum(path: Path, on_progress: OnProgress | None) -> str:
    report = on_progress or (lambda _done, _total: None)
    digest = hashlib.sha256()
    with opened_to_look(path) as image:
        size = image.seek(0, os.SEEK_END)
        is_device = stat.S_ISBLK(os.fstat(image.fileno()).st_mode)
        # A device has no holes to ask for, and the kernel's answer would be that it is one.
        extents = iter([(0, size, True)]) if is_device else _extents(image.fileno(), size)
        for start, end, is_data in extents:
            for offset in range(start, end, _BLOCK):
                length = min(_BLOCK, end - offset)
                digest.update(os.pread(image.fileno(), length, offset) if is_data else _ZEROS[:length])
                report(offset, size)
    report(size, size)
    return f"sha256:{digest.hexdigest()}"


def _extents(descriptor: int, size: int) -> Iterator[tuple[int, int, bool]]:
    """The file's stretches of data and holes, in order: start, end, whether it is data."""
    done = 0
    while done < size:
        try:
            start = os.lseek(descriptor, done, os.SEEK_DATA)
        except OSError:
            # ENXIO: nothing but a hole is left.
            start = size
        if start > done:
            yield done, start, False
        if start == size:
            return
        done = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, done, True


def _find(directory: Path, part: str) -> list[str]:
    if not directory.is_dir():
        return []
    with os.scandir(directory) as entries:  # many machines have their disks in one, and few are asked for
        return sorted(entry.path for entry in entries if part in entry.name and entry.is_file())
