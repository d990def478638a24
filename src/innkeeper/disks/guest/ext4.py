"""Find the free blocks of an ext4 file system that was left clean.

Source: the kernel's Documentation/filesystems/ext4.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator

from innkeeper.disks import bitmap as bits
from innkeeper.disks.guest.partition import Read

_MAGIC = 0xEF53
_CLEAN, _ERRORS = 1, 2
_NEEDS_RECOVERY, _META_GROUPS, _WIDE = 0x4, 0x10, 0x80
_CLUSTERS = 0x200
_BITMAP_NOT_WRITTEN = 0x2


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Ext4:
    """The fields of an ext4 superblock."""

    start: int
    block_bytes: int
    blocks: int
    first_block: int
    blocks_per_group: int
    descriptor_bytes: int

    @classmethod
    def read(cls, read: Read, start: int, length: int) -> Ext4 | None:
        """Read the superblock; ``None`` where there is none, or where its bitmaps cannot be relied on."""
        data = read(start + 1024, 1024)
        if len(data) < 1024 or struct.unpack_from("<H", data, 56)[0] != _MAGIC:
            return None
        blocks, first, log_size, per_group = struct.unpack_from("<4xI12xII4xI", data)
        (state,) = struct.unpack_from("<H", data, 58)
        incompatible, read_only = struct.unpack_from("<II", data, 96)
        wide = bool(incompatible & _WIDE)
        if wide:
            blocks |= struct.unpack_from("<I", data, 336)[0] << 32
        trusted = state & _CLEAN and not state & _ERRORS
        strange = incompatible & (_NEEDS_RECOVERY | _META_GROUPS) or read_only & _CLUSTERS or log_size > 6
        if not trusted or strange:
            return None
        found = cls(
            start=start,
            block_bytes=1024 << log_size,
            blocks=blocks,
            first_block=first,
            blocks_per_group=per_group,
            descriptor_bytes=struct.unpack_from("<H", data, 254)[0] if wide else 32,
        )
        return found if found._is_sane(length) else None

    def _is_sane(self, length: int) -> bool:
        return (
            0 < self.blocks_per_group <= 8 * self.block_bytes
            and 32 <= self.descriptor_bytes <= 1024
            and self.first_block < self.blocks
            and self.blocks * self.block_bytes <= length
        )

    def free(self, read: Read) -> Iterator[tuple[int, int]]:
        """List the free blocks, as ascending (offset, length)."""
        descriptors = self.start + (self.first_block + 1) * self.block_bytes
        first = self.first_block
        while first < self.blocks:
            count = min(self.blocks_per_group, self.blocks - first)
            data = read(descriptors, self.descriptor_bytes)
            descriptors += self.descriptor_bytes
            place = self._bitmap_place(data)
            if place is not None:
                marks = read(place, -(-count // 8)).ljust(-(-count // 8), b"\xff")
                for low, high, used in bits.runs(marks.translate(bits.MIRRORED), 0, count):
                    if not used:
                        yield self.start + (first + low) * self.block_bytes, (high - low) * self.block_bytes
            first += count

    def _bitmap_place(self, descriptor: bytes) -> int | None:
        """Find a group's bitmap; ``None`` where it was never written, and nothing else in the group was."""
        if len(descriptor) < self.descriptor_bytes:
            return None
        block, flags = struct.unpack_from("<I14xH", descriptor)
        if self.descriptor_bytes >= 64:
            block |= struct.unpack_from("<I", descriptor, 32)[0] << 32
        if flags & _BITMAP_NOT_WRITTEN or not self.first_block < block < self.blocks:
            return None
        return int(self.start + block * self.block_bytes)
