"""Read and write one VHD file, without its parents.

An image answers for each range of the disk where its bytes lie in the file, and makes room for bytes to
come. It never looks at the data itself, so a copy can go from file to file inside the kernel.

The order of writes, so that a crash at any moment leaves a whole image: new blocks go behind the last one
and the footer behind them, while the table and the bitmaps in the file still say nothing of them; ``flush``
makes the data durable, and only then writes bitmaps and table. A bitmap or an entry that is lost in between
reads as what was there before.
"""

from __future__ import annotations

import contextlib
import dataclasses
import uuid
from collections import OrderedDict
from collections.abc import Iterator

from innkeeper.disks import bitmap as bits
from innkeeper.disks import maps
from innkeeper.disks.file import ImageFile
from innkeeper.disks.footer import FOOTER_BYTES, Damaged, Footer
from innkeeper.disks.geometry import SECTOR
from innkeeper.disks.header import Header
from innkeeper.disks.kind import Kind
from innkeeper.disks.layout import Layout, invalid, read_layout
from innkeeper.disks.maps import Claim, MapJournal, Marked, Session
from innkeeper.disks.mark import NOBODY, Mark, Operation
from innkeeper.disks.table import ABSENT, BlockTable
from innkeeper.errors import DiskError, ErrorCode

#: New data begins at a multiple of this. The host keeps files in memory in pieces of many pages, and moves
#: data between two files by whole pieces where it lies alike in both: with 4 KiB a copy takes half as long
#: again. What lies between the blocks is a hole.
ALIGNMENT = 64 << 10
#: The same for small blocks, which would lie too far apart: a page of the host.
SMALL_ALIGNMENT = 4096
SMALL_BLOCK_BYTES = 1 << 20
#: How many clean bitmaps are kept, and how many changed ones may wait for a flush.
KEPT_BITMAPS = 4096
WAITING_BITMAPS = 1024

#: Part of the disk: (offset, length, place in the file or ``None``).
Run = tuple[int, int, int | None]


class Image:
    """One open VHD file: a layer of a chain."""

    def __init__(self, file: ImageFile, layout: Layout | None = None) -> None:
        self.file = file
        self.layout = read_layout(file) if layout is None else layout
        header = self.layout.header
        self.block_bytes = header.block_bytes if header else self.layout.size_bytes
        self.bitmap_bytes = header.bitmap_bytes if header else 0
        self._slot_bytes = self.bitmap_bytes + self.block_bytes
        self.table = BlockTable(file, header.table_offset, self.layout.table_entries) if header else None
        #: Marks of each block seen; ``None`` stands for a block whose sectors are all marked.
        self._bitmaps: OrderedDict[int, bytearray | None] = OrderedDict()
        self._dirty: set[int] = set()
        self._end = self.layout.end
        self._length = file.size
        self._written = False
        #: Nobody else sees the file yet: footers are left for the end.
        self.is_draft = False
        self._journal: MapJournal | None = None
        self._stale = self._stale_footer()
        #: A killed export left a journal or its note.
        self.was_left = self._take_up() if self.table is not None else False

    # Questions

    @property
    def kind(self) -> Kind:
        """The kind of the image."""
        return self.layout.kind

    @property
    def size_bytes(self) -> int:
        """The size of the disk in the guest."""
        return self.layout.size_bytes

    @property
    def end(self) -> int:
        """Where the blocks end and the footer is."""
        return self._end

    @property
    def alignment(self) -> int:
        """The multiple at which the data of new blocks begins."""
        return ALIGNMENT if self.block_bytes >= SMALL_BLOCK_BYTES else SMALL_ALIGNMENT

    def runs(self, offset: int, length: int) -> Iterator[Run]:
        """List where each part of a range lies in this file, in order; ``None`` where it holds nothing."""
        end = min(offset + length, self.size_bytes)
        if self.table is None:
            yield from self._flat_runs(offset, end)
            return
        while offset < end:
            block, inner = divmod(offset, self.block_bytes)
            if self.table[block] == ABSENT:
                stop = min(end, self.table.next_page(block) * self.block_bytes)
                yield offset, stop - offset, None
            else:
                stop = min(end, (block + 1) * self.block_bytes)
                yield from self._runs_in(block, inner, stop - offset)
            offset = stop

    def _flat_runs(self, offset: int, end: int) -> Iterator[Run]:
        """List the runs of a fixed disk, leaving out the old footer of an interrupted growth."""
        stale, stop = self._stale
        for start, last, place in ((offset, stale, True), (stale, stop, False), (stop, end, True)):
            first, last = max(offset, start), min(last, end)
            if first < last:
                yield first, last - first, first if place else None

    def block_runs(self, block: int) -> Iterator[Run]:
        """List the runs of one whole block."""
        offset = block * self.block_bytes
        return self.runs(offset, self.block_bytes)

    def _runs_in(self, block: int, inner: int, length: int) -> Iterator[Run]:
        data = self._place(block) + self.bitmap_bytes
        base = block * self.block_bytes
        marks = self._marks(block)
        if marks is None:
            yield base + inner, length, data + inner
            return
        for first, last, marked in bits.runs(marks, inner // SECTOR, -(-(inner + length) // SECTOR)):
            start, stop = max(inner, first * SECTOR), min(inner + length, last * SECTOR)
            yield base + start, stop - start, data + start if marked else None

    def place(self, block: int) -> int | None:
        """Find where a block, bitmap first, begins in the file."""
        if self.table is None or self.table[block] == ABSENT:
            return None
        return self._place(block)

    def _place(self, block: int) -> int:
        assert self.table is not None
        place = self.table[block] * SECTOR
        if place + self._slot_bytes > self._end or place < FOOTER_BYTES:
            self._check_last(block, place)
        return place

    def _check_last(self, block: int, place: int) -> None:
        """Accept a cut off block only where the disk ends, as old writers leave it."""
        used = min(self.block_bytes, self.size_bytes - block * self.block_bytes)
        if place < FOOTER_BYTES or place + self.bitmap_bytes + used > self._end:
            raise invalid(self.file, f"block {block} lies outside the file")

    def marks(self, block: int) -> bytes | None:
        """Read a present block's bitmap; ``None`` when every sector is marked."""
        marks = self._marks(block)
        return None if marks is None else bytes(marks)

    def _marks(self, block: int) -> bytearray | None:
        if block in self._bitmaps:
            return self._bitmaps[block]
        data = self.file.pread(self.bitmap_bytes, self._place(block)).ljust(self.bitmap_bytes, b"\0")
        if self.layout.footer.has_old_bitmaps:
            data = data.translate(bits.MIRRORED)
        marks = None if bits.is_full(data, self.block_bytes // SECTOR) else bytearray(data)
        self._bitmaps[block] = marks
        if len(self._bitmaps) > KEPT_BITMAPS:
            self._shed()
        return marks

    def _shed(self) -> None:
        for block in list(self._bitmaps)[: KEPT_BITMAPS // 4]:
            if block not in self._dirty:
                del self._bitmaps[block]

    # Commands

    def room(self, offset: int, length: int) -> Iterator[tuple[int, int, int]]:
        """Make room for a range, as (offset, length, place in the file).

        Whoever iterates writes each part before asking for the next: only then are its sectors marked.
        Offset and length are whole sectors.
        """
        self._written = True
        if self.table is None:
            yield offset, length, offset
            return
        end = offset + length
        while offset < end:
            block, inner = divmod(offset, self.block_bytes)
            part = min(end - offset, self.block_bytes - inner)
            place = self._claim(block)
            yield offset, part, place + self.bitmap_bytes + inner
            self._mark(block, inner // SECTOR, (inner + part) // SECTOR)
            offset += part

    def write(self, data: memoryview, offset: int) -> None:
        """Write whole sectors."""
        for start, length, place in self.room(offset, len(data)):
            self.file.pwrite(data[start - offset : start - offset + length], place)

    def copy_from(self, source: ImageFile, source_offset: int, offset: int, length: int) -> None:
        """Write whole sectors from a range of another file."""
        for start, part, place in self.room(offset, length):
            self.file.copy_from(source, source_offset + start - offset, place, part)

    def zero(self, offset: int, length: int) -> None:
        """Make whole sectors zero, and mark them so where a parent has data."""
        for _, part, place in self.room(offset, length):
            self.file.zero(place, part, keep_room=self.table is None)

    def discard(self, offset: int, length: int) -> None:
        """Give back the room of whole sectors in this image; a fixed disk keeps all of its room."""
        if self.table is None:
            return
        for _, part, place in list(self.runs(offset, length)):
            if place is not None:
                self._written = True
                self.file.zero(place, part)

    def _claim(self, block: int) -> int:
        """Find the place of a block, making room behind the last one for a new block.

        The footer goes first: where the host is full, that write fails and nothing has changed.
        """
        assert self.table is not None
        if self.table[block] != ABSENT:
            return self._place(block)
        place = self.next_place()
        end = place + self.bitmap_bytes + self.block_bytes
        if end // SECTOR >= ABSENT:
            raise DiskError(
                f"{self.file.path}: the file has grown to the limit of its format.",
                path=str(self.file.path),
                code=ErrorCode.VM_E_IMAGE_SIZE_TOO_LARGE,
                advice="Compact the disk.",
            )
        self._write_footer(end)
        if self._journal is not None:
            self._journal.claim(block, place // SECTOR)
        self._give(block, place // SECTOR)
        return place

    def _give(self, block: int, sector: int) -> None:
        assert self.table is not None
        self.table[block] = sector
        # What is not written of a new block reads as zero, which in a disk without parent is the truth.
        mark = b"\0" if self.kind is Kind.DIFFERENCING else b"\xff"
        self._bitmaps[block] = bytearray(mark * self.bitmap_bytes)
        self._dirty.add(block)

    def move_to_end(self, block: int) -> None:
        """Copy a block that shares its room with another to fresh room; durable after ``flush``."""
        assert self.table is not None
        source, size = self._place(block), self._slot_bytes
        place = self.next_place()
        there = min(size, self._end - source)
        with self.room_until(place + size):
            self.file.copy_from(self.file, source, place, there)
        self.table[block] = place // SECTOR
        self.touch()

    def extend(self, end: int) -> None:
        """Write the footer behind ``end``, or at its present place where that is further on."""
        self._write_footer(max(end, self._end))
        self.touch()

    @contextlib.contextmanager
    def room_until(self, end: int) -> Iterator[None]:
        """Move the footer behind ``end`` first; where filling the room fails, cut the file back."""
        before = self._end, self._length
        self.extend(end)
        try:
            yield
        except BaseException:
            self._end, self._length = before
            self.file.truncate(self._length)
            raise

    @property
    def free_from(self) -> int:
        """The offset behind the footer and every block, from which the file is free.

        Old writers cut the last block off where the disk ends. It may still need its whole room.
        """
        behind = self._end + FOOTER_BYTES
        if self.table is not None and self.size_bytes % self.block_bytes:
            sector = self.table[self.table.entries - 1]
            if sector != ABSENT:
                behind = max(behind, sector * SECTOR + self._slot_bytes)
        return behind

    def next_place(self) -> int:
        """Find where a new block may begin: behind everything else, with its data aligned."""
        return self.aligned(self.free_from, self.alignment)

    def aligned(self, start: int, step: int) -> int:
        """Find the first place from ``start`` on where a block's data would begin at a multiple."""
        return -(-(start + self.bitmap_bytes) // step) * step - self.bitmap_bytes

    def _write_footer(self, end: int) -> None:
        try:
            if not self.is_draft:
                self.file.pwrite(self.layout.footer.encode(), end)
        except DiskError:
            self.file.truncate(self._length)
            raise
        self._end, self._length = end, end + FOOTER_BYTES

    # Footers

    @property
    def mark(self) -> Mark | None:
        """The note of an operation that has begun and is not finished."""
        return self.layout.footer.mark

    def put_footer(self, footer: Footer) -> None:
        """Replace the footer, durably; at every moment one of the two is whole and in its place."""
        data = footer.encode()
        if self.table is None:
            self._append_footer(data)
            self.file.pwrite(data, self._end)
            self.file.sync()
            self.file.truncate(self._end + FOOTER_BYTES)
        else:
            # The one at the end counts; the copy at the start stands in for it meanwhile.
            for place in (self._end, 0):
                self.file.pwrite(data, place)
                self.file.sync()
        self.file.sync()
        self._length = self._end + FOOTER_BYTES
        self.layout = dataclasses.replace(self.layout, footer=footer, end=self._end, lost_footer="")
        self._stale = self._stale_footer()

    def put_mark(self, mark: Mark | None) -> None:
        """Write the note of an operation that begins, durably, or remove it.

        The file keeps its time, by which its children know it: what the guest reads is what it was.
        """
        modified = self.file.status().st_mtime_ns
        self.put_footer(self.marked(self.layout.footer, mark))
        self.file.set_modified(modified)

    def marked(self, footer: Footer, mark: Mark | None) -> Footer:
        """Return the footer with this note; raises ``DiskError`` where another program uses its room."""
        try:
            return footer.with_mark(mark)
        except Damaged as exc:
            raise invalid(self.file, str(exc)) from exc

    def move_footer(self, footer: Footer, end: int) -> None:
        """Write a fixed disk's footer further on, durably; the former one stays in its place."""
        self.layout = dataclasses.replace(self.layout, footer=footer)
        self._write_footer(end)
        self.file.sync()
        self.layout = dataclasses.replace(self.layout, end=end)
        self._stale = self._stale_footer()

    def put_header(self, header: Header) -> None:
        """Write the dynamic header, durably: both of its sectors lie in one page of the host."""
        assert self.table is not None
        self.file.pwrite(header.encode(), self.layout.footer.data_offset)
        self.file.sync()
        self.layout = dataclasses.replace(self.layout, header=header)
        self.table.move(header.table_offset)

    def _append_footer(self, data: bytes) -> None:
        """Write a footer behind the last one, durably; a file that cannot take it stays as it was."""
        try:
            self.file.pwrite(data, self._end + FOOTER_BYTES)
            self.file.sync()
        except DiskError:
            self.file.truncate(self._length)
            raise

    def _stale_footer(self) -> tuple[int, int]:
        """The place of the former footer of an interrupted growth, as (start, stop)."""
        mark = self.mark
        if self.table is None and mark is not None and mark.operation is Operation.GROWING:
            start, stop = mark.number, mark.number + FOOTER_BYTES
            # Whatever the note says, nothing outside of the blocks is touched.
            return (start, stop) if stop <= self._end else (0, 0)
        return 0, 0

    def finish_growth(self) -> bool:
        """Finish an interrupted growth; returns whether there was one."""
        start, stop = self._stale
        if start == stop:
            return False
        self.file.zero(start, min(stop, self._end) - start, keep_room=True)
        self.file.sync()
        self.put_mark(None)
        return True

    def _mark(self, block: int, first: int, last: int) -> None:
        marks = self._marks(block)
        if marks is None or bits.are_set(marks, first, last):
            return
        if self._journal is not None:
            # First: a mark that cannot be kept is not set, so that the write can be done again.
            self._journal.mark(block, first, last)
        bits.fill(marks, first, last)
        self._dirty.add(block)
        if len(self._dirty) > WAITING_BITMAPS:
            self.flush()

    def touch(self) -> None:
        """Note that the file was changed past this object, so that a flush has something to do."""
        self._written = True

    def flush(self) -> None:
        """Make all that was written durable: data first, then what points to it."""
        if not self._written:
            return
        if self.is_draft:
            # It is stored as a whole before it gets its name.
            self.write_maps()
            return
        self.file.sync()
        if self.write_maps():
            self.file.sync()
        self._written = False
        if self._journal is not None:
            self._journal.begin(self._session())
        elif self.was_left:
            self.put_mark(None)
            maps.remove(self.file.path)
            self.was_left = False

    def write_maps(self) -> bool:
        """Write changed bitmaps and table entries; returns whether there were any."""
        if self.is_draft:
            self.file.pwrite(self.layout.footer.encode(), self._end)
        changed = bool(self._dirty) or (self.table is not None and self.table.is_dirty)
        for block in sorted(self._dirty):
            marks = self._bitmaps[block]
            if marks is not None:
                self._write_marks(block, marks)
        self._dirty.clear()
        if self.table is not None:
            self.table.flush()
        if changed and self._journal is not None:
            self._end_of_journal()
        return changed

    def _end_of_journal(self) -> None:
        """Note that the maps contain everything in the journal, which is not needed from here on."""
        mark = self.mark
        assert mark is not None
        footer = self.marked(self.layout.footer, dataclasses.replace(mark, number=mark.number + 1))
        self.file.pwrite(footer.encode(), self._end)
        self.layout = dataclasses.replace(self.layout, footer=footer)

    def _write_marks(self, block: int, marks: bytearray) -> None:
        data = marks.translate(bits.MIRRORED) if self.layout.footer.has_old_bitmaps else marks
        self.file.pwrite(data, self._place(block))
        if bits.is_full(marks, self.block_bytes // SECTOR):
            self._bitmaps[block] = None

    # What a kill must not lose

    def keep_maps(self) -> None:
        """Journal each change of the maps at once from now on: clients rely on it without a flush."""
        if self.table is not None:
            self.flush()
            journal = MapJournal(self.file.path)
            self.put_mark(Mark(operation=Operation.EXPORTING, token=uuid.uuid4()))
            journal.begin(self._session())
            self._journal = journal

    def take_over(self) -> None:
        """Store what a killed export left in its journal, before another note takes the place of its own."""
        if self.was_left and self._written:
            self.flush()

    def _session(self) -> Session:
        """The state of the image and of the export that writes to it, for the head of a journal."""
        status, mark = self.file.status(), self.mark
        is_exporting = mark is not None and mark.operation is Operation.EXPORTING
        return Session(
            identity=self.layout.footer.unique_id,
            token=mark.token if mark is not None and is_exporting else NOBODY,
            number=mark.number if mark is not None and is_exporting else 0,
            device=status.st_dev,
            inode=status.st_ino,
            length=status.st_size,
            modified_ns=status.st_mtime_ns,
        )

    def _take_up(self) -> bool:
        """Apply the journal of a killed export; returns whether there was anything in it."""
        assert self.table is not None
        changes = list(maps.read(self.file.path, self._session))
        if not all(self._is_in_file(change) for change in changes):
            # The file was longer when this was noted: it came from a backup since.
            changes = []
        for change in changes:
            if self._is_possible(change):
                self._take(change)
        self._written = bool(changes) and self.file.writable
        mark = self.mark
        return bool(changes) or (mark is not None and mark.operation is Operation.EXPORTING)

    def _is_in_file(self, change: Claim | Marked) -> bool:
        """Return whether a block lies in the file, which is made longer before a block gets its room."""
        return isinstance(change, Marked) or (
            FOOTER_BYTES <= change.sector * SECTOR <= self._length - self._slot_bytes
        )

    def _is_possible(self, change: Claim | Marked) -> bool:
        assert self.table is not None
        if change.block >= self.table.entries or isinstance(change, Claim):
            return change.block < self.table.entries
        return self.table[change.block] != ABSENT and change.first < change.last <= self.block_bytes // SECTOR

    def _take(self, change: Claim | Marked) -> None:
        if isinstance(change, Claim):
            self._give(change.block, change.sector)
            return
        marks = self._marks(change.block)
        if marks is not None and bits.fill(marks, change.first, change.last):
            self._dirty.add(change.block)

    def close(self) -> None:
        """Write pending changes and close the file."""
        journal, self._journal = self._journal, None
        try:
            if self.file.descriptor >= 0:
                self.flush()
                if journal is not None:
                    self.put_mark(None)
                    journal.remove()
        finally:
            if journal is not None:
                journal.close()
            self.file.close()
