"""Virtual hard disks as objects for programs (``IVMHardDisk``)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from innkeeper.disks.chain import Chain, open_chain
from innkeeper.disks.compact import compact
from innkeeper.disks.convert import convert_chain
from innkeeper.disks.kind import HardDiskType, Kind
from innkeeper.disks.merge import check_differencing, merge
from innkeeper.disks.oserror import adapted
from innkeeper.disks.paths import image_path
from innkeeper.disks.progress import UNWATCHED, Watch
from innkeeper.errors import DiskError, ErrorCode, InvalidArgument


class Extent(NamedTuple):
    """A stretch of a disk."""

    offset: int
    length: int
    #: Whether anything is stored for it; where not, it reads as zero.
    is_data: bool


class Disk:
    """A virtual hard disk, read through all of its parents. Safe to use from several threads."""

    def __init__(self, chain: Chain, *, ignore_parent_time: bool = False) -> None:
        self._chain = chain
        self._ignore_parent_time = ignore_parent_time
        self._closed = False

    def close(self) -> None:
        """Make everything durable and close the files; a second call does nothing."""
        with self._chain.lock:
            if not self._closed:
                self._closed = True
                self._chain.close()

    def __enter__(self) -> Disk:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Questions

    @property
    def file(self) -> Path:
        """The full path of the image (``IVMHardDisk::File``)."""
        return self._chain.top.file.path

    @property
    def kind(self) -> Kind:
        """The kind of the image."""
        return self._chain.top.kind

    @property
    def type(self) -> HardDiskType:
        """The documented type (``IVMHardDisk::Type``)."""
        kind = self.kind.hard_disk_type
        assert kind is not None, "the engine opens VHD alone"
        return kind

    @property
    def parent(self) -> Disk | None:
        """The disk this one differs from (``IVMHardDisk::Parent``); usable while this one is open."""
        layers = self._chain.layers[1:]
        return Disk(Chain(layers)) if layers else None

    @property
    def size_bytes(self) -> int:
        """The size of the disk in the guest (``IVMHardDisk::SizeInGuest``)."""
        return self._chain.size_bytes

    size_in_guest = size_bytes

    @property
    def size_on_host(self) -> int:
        """The length of the image's file (``IVMHardDisk::SizeOnHost``)."""
        return self._chain.top.file.size

    @property
    def allocated_on_host(self) -> int:
        """The room the image really takes, without its holes."""
        return self._chain.top.file.status().st_blocks * 512

    @property
    def host_free_disk_space(self) -> int:
        """The room left where the image lies (``IVMHardDisk::HostFreeDiskSpace``)."""
        with adapted(self.file):
            room = os.statvfs(self.file.parent)
        return room.f_bavail * room.f_frsize

    @property
    def is_writable(self) -> bool:
        """The disk was opened for writing."""
        return self._chain.top.file.writable

    @property
    def chain(self) -> Chain:
        """The layers behind the disk."""
        return self._chain

    @property
    def warnings(self) -> tuple[str, ...]:
        """Problems of the files that could be worked around."""
        return tuple(
            f"{image.file.path}: {image.layout.lost_footer}."
            for image in self._chain.layers
            if image.layout.lost_footer
        )

    # Reading

    def pread(self, size: int, offset: int) -> bytes:
        """Read ``size`` bytes; fewer at the end of the disk."""
        size = self._clipped(size, offset)
        buffer = bytearray(size)
        self.read_into(memoryview(buffer), offset)
        return bytes(buffer)

    def read_into(self, buffer: memoryview | bytearray, offset: int) -> int:
        """Fill a buffer; returns how many bytes the disk had for it."""
        view = memoryview(buffer).cast("B")
        size = self._clipped(len(view), offset)
        self._chain.read_into(view[:size], offset)
        return size

    def extents(self, offset: int = 0, length: int | None = None) -> Iterator[Extent]:
        """List a range as stretches of data and of unstored zeros."""
        size = self._clipped(self.size_bytes - offset if length is None else length, offset)
        return map(Extent._make, self._chain.extents(offset, size))

    # Writing

    def pwrite(self, data: bytes | bytearray | memoryview, offset: int) -> int:
        """Write all of ``data``; durable after ``flush`` or ``close``."""
        view = memoryview(data).cast("B")
        self._check_write(len(view), offset)
        with self._chain.lock:
            self._chain.write(view, offset)
        return len(view)

    def write_zeroes(self, length: int, offset: int) -> None:
        """Make a range read as zero, giving back its room where no other data would be read."""
        self._check_write(length, offset)
        with self._chain.lock:
            self._chain.zero(offset, length)

    def discard(self, length: int, offset: int) -> None:
        """Mark a range as not needed by the guest any more."""
        self._check_write(length, offset)
        with self._chain.lock:
            self._chain.discard(offset, length)

    def flush(self) -> None:
        """Return when everything written so far would survive a loss of power."""
        with self._chain.lock:
            self._chain.flush()

    # Long operations

    def compact(self, *, watch: Watch = UNWATCHED, free_blocks: bool = False) -> int:
        """Give unused room back to the host (``IVMHardDisk::Compact``); returns the bytes saved."""
        return self._apart(lambda: compact(self.file, watch=watch, free_blocks=free_blocks))

    def convert(
        self,
        path: str | os.PathLike[str],
        kind: Kind | str,
        *,
        watch: Watch = UNWATCHED,
        durable: bool = True,
    ) -> Path:
        """Write the disk, parents and all, to a new image of another kind (``IVMHardDisk::Convert``)."""
        return convert_chain(self._chain, path, _kind(kind), watch=watch, durable=durable)

    def merge_to(
        self,
        path: str | os.PathLike[str],
        kind: Kind | str,
        *,
        watch: Watch = UNWATCHED,
        durable: bool = True,
    ) -> Path:
        """Write a differencing disk and all its parents to a new image (``IVMHardDisk::MergeTo``)."""
        check_differencing(self._chain.top.file, self.kind)
        return self.convert(path, kind, watch=watch, durable=durable)

    def merge(self, *, watch: Watch = UNWATCHED, keep_child: bool = False) -> Path:
        """Merge into the parent (``IVMHardDisk::Merge``) and remove this image; returns the parent's path."""
        check_differencing(self._chain.top.file, self.kind)
        self.close()
        return merge(
            self.file, watch=watch, keep_child=keep_child, ignore_parent_time=self._ignore_parent_time
        )

    # Machinery

    def _apart(self, work: Callable[[], int]) -> int:
        """Close the files while another part of the engine holds them alone."""
        writable = self.is_writable
        self._chain.close()
        try:
            return work()
        finally:
            self._chain = open_chain(
                self.file, writable=writable, ignore_parent_time=self._ignore_parent_time, is_known=True
            )

    def _clipped(self, size: int, offset: int) -> int:
        if size < 0 or offset < 0:
            raise InvalidArgument("A disk is read from a place and for a length that are not negative.")
        return max(0, min(size, self.size_bytes - offset))

    def _check_write(self, length: int, offset: int) -> None:
        if offset < 0 or length < 0 or offset + length > self.size_bytes:
            raise InvalidArgument(
                f"The disk has {self.size_bytes} bytes; {length} bytes at {offset} do not lie inside it."
            )
        if not self.is_writable:
            raise DiskError(
                f"{self.file}: the disk was opened for reading.",
                path=str(self.file),
                code=ErrorCode.VM_E_FILE_READ_ONLY,
                advice="Open it with writable=True.",
            )


def open(  # noqa: A001 - `innkeeper.disks.open` is the documented name
    path: str | os.PathLike[str], *, writable: bool = False, ignore_parent_time: bool = False
) -> Disk:
    """Open a virtual hard disk with its parents; raises ``DiskError`` with the documented identifiers."""
    chain = open_chain(image_path(path), writable=writable, ignore_parent_time=ignore_parent_time)
    return Disk(chain, ignore_parent_time=ignore_parent_time)


def _kind(kind: Kind | str) -> Kind:
    try:
        return Kind(kind)
    except ValueError as exc:
        raise InvalidArgument(
            f"{kind!r} is not a kind of disk.", advice="One of: " + ", ".join(Kind) + "."
        ) from exc
