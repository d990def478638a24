"""Copy the data of a disk into a new image, skipping holes and inside the kernel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from innkeeper.disks.chain import Chain
from innkeeper.disks.file import ImageFile
from innkeeper.disks.progress import Watch, stop_if_asked
from innkeeper.disks.zeros import ZeroFinder

#: Zeros are looked for in pieces of this size. Data is told by the first page of a piece, so this costs
#: little.
PIECE_BYTES = 1 << 20
#: How much is copied between two looks at the watch.
STRIDE_BYTES = 16 << 20


class Target(Protocol):
    """A destination that takes data at its place on the disk."""

    def copy_from(self, source: ImageFile, source_offset: int, offset: int, length: int) -> None:
        """Write a range of another file at ``offset`` of the disk."""


class RawTarget:
    """A file that is the disk, byte for byte."""

    def __init__(self, file: ImageFile) -> None:
        self._file = file

    def copy_from(self, source: ImageFile, source_offset: int, offset: int, length: int) -> None:
        """Write a range of another file at ``offset`` of the disk."""
        self._file.copy_from(source, source_offset, offset, length)


def copy_disk(chain: Chain, target: Target, watch: Watch) -> None:
    """Copy all data of the disk; ranges that are not copied read as zero in the target."""
    finder = ZeroFinder()
    size = chain.size_bytes
    for offset, length, image, place in chain.segments(0, size):
        if image is None:
            watch.advance("copying", offset + length, size)
            continue
        for at, part in image.file.data_extents(place, length):
            for start, count in _data(finder, image.file, at, part):
                stop_if_asked(watch, str(image.file.path))
                target.copy_from(image.file, start, offset + start - place, count)
                watch.advance("copying", offset + start - place + count, size)
    watch.advance("copying", size, size)


def _data(finder: ZeroFinder, file: ImageFile, offset: int, length: int) -> Iterator[tuple[int, int]]:
    """Split a range of a file into stretches worth copying: (offset, length)."""
    start, end = offset, offset + length
    while offset < end:
        part = min(PIECE_BYTES - offset % PIECE_BYTES, end - offset)
        if finder.is_zero(file, offset, part):
            if offset > start:
                yield start, offset - start
            start = offset + part
        elif offset + part - start >= STRIDE_BYTES:
            yield start, offset + part - start
            start = offset + part
        offset += part
    if end > start:
        yield start, end - start
