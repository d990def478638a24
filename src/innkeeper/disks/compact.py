"""Give unused room of a disk image back to the host, in place (``IVMHardDisk::Compact``).

The disk keeps its identity and its modification time, so its children stay valid. At every moment the file
is a whole image: blocks that read the same without their room are taken out of the table first; the last
blocks of the file are then copied into the room that is free, and only when the copies are durable does the
table point to them. A table or locators behind all of the blocks follow in the same way.
"""

from __future__ import annotations

import contextlib
import dataclasses
import heapq
from collections.abc import Iterator, Mapping
from pathlib import Path

from innkeeper.disks.batmap import batmap_regions, forget_full_blocks
from innkeeper.disks.chain import Chain, open_chain
from innkeeper.disks.footer import FOOTER_BYTES
from innkeeper.disks.geometry import SECTOR
from innkeeper.disks.guest.free import free_ranges
from innkeeper.disks.image import ALIGNMENT, SMALL_ALIGNMENT, Image
from innkeeper.disks.progress import UNWATCHED, Watch, stop_if_asked
from innkeeper.disks.slots import SlotMap, locator_region, metadata
from innkeeper.disks.table import ABSENT
from innkeeper.disks.zeros import ZeroFinder
from innkeeper.errors import DiskError, ErrorCode

#: How blocks may be aligned: as new ones are, on pages of the host, on sectors.
_STEPS = (ALIGNMENT, SMALL_ALIGNMENT, SECTOR)

#: How much is moved before the table follows.
BATCH_BYTES = 256 << 20


def compact(path: Path, *, watch: Watch = UNWATCHED, free_blocks: bool = False) -> int:
    """Compact one image; returns by how many bytes its file became shorter.

    ``free_blocks`` also drops blocks that the guest's file system (ext4 or NTFS) does not use. A cancel stops
    between two steps, with the image whole. Raises VM_E_WRONG_HD_IMAGE_TYPE for a fixed disk.
    """
    with contextlib.closing(open_chain(path, writable=True)) as chain:
        return _Compaction(chain, watch).run(free_blocks=free_blocks)


class _Compaction:
    """One compaction of one image."""

    def __init__(self, chain: Chain, watch: Watch) -> None:
        if chain.top.table is None:
            raise DiskError(
                f"{chain.top.file.path}: a fixed disk cannot be compacted.",
                path=str(chain.top.file.path),
                code=ErrorCode.VM_E_WRONG_HD_IMAGE_TYPE,
                advice="Convert it to a dynamic disk.",
            )
        self.chain = chain
        self.image: Image = chain.top
        self.table = chain.top.table
        self.file = chain.top.file
        self.file.will_be_synced = True
        self.watch = watch
        self.modified = self.file.status().st_mtime_ns

    def run(self, *, free_blocks: bool) -> int:
        before = self.file.size
        try:
            if self._drop(free_blocks=free_blocks):
                forget_full_blocks(self.file, self.image.layout)
            self._commit()
            self._pack()
            self._cut(self._settle())
        finally:
            self._commit()
        return before - self.file.size

    # Dropping

    def _drop(self, *, free_blocks: bool) -> int:
        """Remove from the table the blocks that hold nothing; returns how many."""
        finder = ZeroFinder()
        unused = _whole_blocks(free_ranges(self.chain), self.image.block_bytes) if free_blocks else iter(())
        free = _Membership(unused)
        dropped = 0
        for block, _ in self.table.present():
            stop_if_asked(self.watch, str(self.file.path))
            if block in free or self._is_needless(block, finder):
                self.table[block] = ABSENT
                self.image.touch()
                dropped += 1
            self.watch.advance("looking for zeros", self._done(block), self.image.size_bytes)
        return dropped

    def _is_needless(self, block: int, finder: ZeroFinder) -> bool:
        """Return whether the disk reads the same without this block."""
        for start, length, place in self.image.block_runs(block):
            if place is None:
                continue
            if not self._is_zero(place, length, finder) or not self.chain.is_zero(start, length, 1):
                return False
        return True

    def _is_zero(self, place: int, length: int, finder: ZeroFinder) -> bool:
        return all(finder.is_zero(self.file, at, part) for at, part in self.file.data_extents(place, length))

    # Packing

    def _pack(self) -> None:
        """Move the last blocks into free room near the start."""
        slots = SlotMap(self.image)
        size = slots.slot_bytes
        last = slots.backwards()
        high = next(last, None)
        moved, pending, total = 0, 0, self._to_move(slots)
        for start, stop in self._gaps(slots):
            step = self._step(start, stop, size)
            gap = start
            while high and (target := self.image.aligned(gap, step)) + size <= min(stop, high[0]):
                stop_if_asked(self.watch, str(self.file.path))
                self._move(high[1], high[0], target, size)
                moved, pending = moved + size, pending + size
                self.watch.advance("moving blocks", moved, max(moved, total))
                gap, high = target + size, next(last, None)
                if pending >= BATCH_BYTES:
                    self._commit()
                    pending = 0
        self._commit()

    def _gaps(self, slots: SlotMap) -> Iterator[tuple[int, int]]:
        """Find the free room between the parts of the file, first gap first."""
        cursor = 0
        for start, stop in _merged(iter(metadata(self.image)), _spans(slots)):
            if start > cursor:
                yield cursor, start
            cursor = max(cursor, stop)

    def _step(self, start: int, stop: int, size: int) -> int:
        """Choose how to align blocks in a gap: as coarsely as goes without room for one fewer."""

        def room(step: int) -> int:
            stride = -(-size // step) * step
            return max(0, (stop - self.image.aligned(start, step) - size) // stride + 1)

        return max(_STEPS, key=lambda step: (room(step), step))

    def _move(self, block: int, source: int, target: int, size: int) -> None:
        extents = list(self.file.data_extents(source, min(size, self.file.size - source)))
        if extents != [(source, size)]:
            # The room it goes to may still hold what was dropped.
            self.file.zero(target, size)
        for at, length in extents:
            self.file.copy_from(self.file, at, target + at - source, length)
        self.table[block] = target // SECTOR
        self.image.touch()

    def _to_move(self, slots: SlotMap) -> int:
        """Estimate how many bytes lie past the end that the file will have."""
        size = slots.slot_bytes
        end = sum(stop - start for start, stop in metadata(self.image))
        end += sum(size for _ in slots.in_file_order())
        return sum(size for place, _ in slots.in_file_order() if place + size > end)

    # Settling

    def _settle(self) -> int:
        """Move table and locators that lie far behind the last block to it; returns where the image ends.

        A growth puts a longer table behind all blocks, and a new parent its locators: they would hold the
        room between.
        """
        table, locators = self._movable()
        end = self._end_without(table, *locators)
        far = sorted(region for region in (table, *locators) if region and region[0] >= end)
        total = sum(stop - start for start, stop in far)
        if not far or end + total > far[0][0]:
            return max([end, *(stop for _, stop in far)])
        moved: dict[tuple[int, int], int] = {}
        for start, stop in far:
            self.file.copy_from(self.file, start, end, stop - start)
            moved[start, stop] = end
            end += stop - start
        self.file.sync()
        self._point_to(moved)
        return end

    def _movable(self) -> tuple[tuple[int, int], list[tuple[int, int]]]:
        """List where table and locators lie; a table with XenServer's batmap behind it stays."""
        layout = self.image.layout
        assert layout.header is not None
        at = layout.header.table_offset
        table = (at, min(at + layout.header.table_bytes, self.image.end))
        found = [locator_region(entry) for entry in layout.header.locators]
        whole = [region for region in found if region[0] < region[1] <= self.image.end]
        return (0, 0) if batmap_regions(self.file, layout) else table, whole

    def _end_without(self, *movable: tuple[int, int]) -> int:
        """Where the blocks end, with all that cannot be moved and what lies before their end."""
        others = [region for region in metadata(self.image) if region not in movable]
        end = max([stop for _, stop in (*others, *_spans(SlotMap(self.image)))], default=0)
        for start, stop in sorted(movable):
            end = max(end, stop) if start < end else end
        return -(-end // SECTOR) * SECTOR

    def _point_to(self, moved: Mapping[tuple[int, int], int]) -> None:
        """Write the new places into the header: one write, in one page of the host."""
        header = self.image.layout.header
        assert header is not None
        locators = tuple(
            dataclasses.replace(entry, offset=moved.get(locator_region(entry), entry.offset))
            for entry in header.locators
        )
        table, _ = self._movable()
        new = dataclasses.replace(
            header, table_offset=moved.get(table, header.table_offset), locators=locators
        )
        self.image.put_header(new)

    # Finishing

    def _cut(self, end: int) -> None:
        """Write the footer behind the last block, and only then cut the file."""
        if end + FOOTER_BYTES > self.image.end:
            # The footer there counts until the file is shorter: the new one must not lie over a part of it.
            return
        self.file.pwrite(self.image.layout.footer.encode(), end)
        self.file.sync()
        self.file.truncate(end + FOOTER_BYTES)
        self.image.touch()

    def _commit(self) -> None:
        self.image.flush()
        self.file.set_modified(self.modified)

    def _done(self, block: int) -> int:
        return min(self.image.size_bytes, (block + 1) * self.image.block_bytes)


class _Membership:
    """Test ascending values against ascending ranges, without storing either."""

    def __init__(self, ranges: Iterator[tuple[int, int]]) -> None:
        self._ranges = ranges
        self._current = next(ranges, None)

    def __contains__(self, block: object) -> bool:
        assert isinstance(block, int)
        while self._current and self._current[1] <= block:
            self._current = next(self._ranges, None)
        return self._current is not None and self._current[0] <= block


def _whole_blocks(ranges: Iterator[tuple[int, int]], block_bytes: int) -> Iterator[tuple[int, int]]:
    """Turn free (offset, length) ranges into ranges of blocks that are free in full."""
    for offset, length in ranges:
        first, last = -(-offset // block_bytes), (offset + length) // block_bytes
        if first < last:
            yield first, last


def _spans(slots: SlotMap) -> Iterator[tuple[int, int]]:
    return ((place, place + slots.slot_bytes) for place, _ in slots.in_file_order())


def _merged(left: Iterator[tuple[int, int]], right: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Merge two ascending runs of spans, without storing either."""
    return heapq.merge(left, right)
