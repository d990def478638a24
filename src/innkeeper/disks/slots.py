"""Map the room in a VHD file: find overlaps, and list the blocks in the order of the file.

No two blocks begin within a block's length of each other, so the file cut into pieces of that length has at
most one beginning in each: one number a piece holds the order of a million blocks in four megabytes.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import NamedTuple

from innkeeper.disks.batmap import batmap_regions
from innkeeper.disks.footer import FOOTER_BYTES
from innkeeper.disks.geometry import SECTOR
from innkeeper.disks.header import HEADER_BYTES, LocatorEntry
from innkeeper.disks.image import Image
from innkeeper.disks.layout import invalid
from innkeeper.disks.table import ABSENT


class Fault(NamedTuple):
    """A block that is not where it can be."""

    block: int
    reason: str
    #: The block whose room it shares, where that is the fault.
    other: int | None = None


class SlotMap:
    """The blocks of an image by their place in the file."""

    def __init__(self, image: Image) -> None:
        """Map the image; raises ``DiskError`` at the first fault."""
        self._image = image
        self.slot_bytes = image.bitmap_bytes + image.block_bytes
        self._owners = array("I")
        for fault in self._build():
            raise invalid(image.file, fault.reason)

    @classmethod
    def faults(cls, image: Image) -> Iterator[Fault]:
        """Find every fault instead of the first."""
        slots = cls.__new__(cls)
        slots._image = image
        slots.slot_bytes = image.bitmap_bytes + image.block_bytes
        slots._owners = array("I")
        return slots._build()

    def in_file_order(self) -> Iterator[tuple[int, int]]:
        """List the blocks, the first in the file first: (place, block)."""
        for block in self._owners:
            if block != ABSENT:
                place = self._image.place(block)
                if place is not None:
                    yield place, block

    def backwards(self) -> Iterator[tuple[int, int]]:
        """List the blocks, the last in the file first."""
        for block in reversed(self._owners):
            if block != ABSENT:
                place = self._image.place(block)
                if place is not None:
                    yield place, block

    def _build(self) -> Iterator[Fault]:
        image = self._image
        if image.table is None:
            return
        end = image.end
        taken = metadata(image)
        self._owners = array("I", [ABSENT]) * (end // self.slot_bytes + 2)
        for block, sector in image.table.present():
            place = sector * SECTOR
            used = min(image.block_bytes, image.size_bytes - block * image.block_bytes)
            if place + image.bitmap_bytes + used > end:
                yield Fault(block, f"block {block} lies past the end of the file")
            elif any(place < stop and start < place + self.slot_bytes for start, stop in taken):
                yield Fault(block, f"block {block} lies over the disk's own tables")
            else:
                other = self._neighbour(place)
                if other is not None:
                    yield Fault(block, f"blocks {other} and {block} overlap", other)
                else:
                    self._owners[place // self.slot_bytes] = block

    def _neighbour(self, place: int) -> int | None:
        """Find a block already mapped that begins within a block's length."""
        assert self._image.table is not None
        piece = place // self.slot_bytes
        for index in (piece - 1, piece, piece + 1):
            block = self._owners[index] if index >= 0 else ABSENT
            if block != ABSENT and abs(self._image.table[block] * SECTOR - place) < self.slot_bytes:
                return block
        return None


def metadata(image: Image) -> list[tuple[int, int]]:
    """List the parts of the file that are not blocks, as (start, stop), in order."""
    header = image.layout.header
    if header is None:
        return []
    header_at = image.layout.footer.data_offset
    regions = [
        (0, FOOTER_BYTES),
        (header_at, header_at + HEADER_BYTES),
        (header.table_offset, header.table_offset + header.table_bytes),
        *map(locator_region, header.locators),
        *batmap_regions(image.file, image.layout),
    ]
    end = image.file.size
    return sorted((start, min(stop, end)) for start, stop in regions if start < end)


def locator_region(entry: LocatorEntry) -> tuple[int, int]:
    """Return the part of the file that a locator takes, as (start, stop)."""
    return entry.offset, entry.offset + _room(entry.space, entry.length_bytes)


def _room(space: int, length: int) -> int:
    """Return a locator's room, which some writers give in bytes and some in sectors."""
    return -(-length // SECTOR) * SECTOR if space < length else -(-space // SECTOR) * SECTOR
