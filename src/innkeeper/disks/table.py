"""The block table of a VHD: for each block of the disk, the sector of the file where it begins.

The table of a 2040 GiB disk has a million entries. It is read page by page as it is needed, and few clean
pages are kept, so that a deep chain of large disks still fits in little memory.
"""

from __future__ import annotations

import sys
from array import array
from collections import OrderedDict
from collections.abc import Iterator

from innkeeper.disks.file import ImageFile

#: The entry of a block that has no room in the file.
ABSENT = 0xFFFF_FFFF
PAGE_ENTRIES = 16384
KEPT_PAGES = 16
_SHIFT = PAGE_ENTRIES.bit_length() - 1
_MASK = PAGE_ENTRIES - 1


class BlockTable:
    """The block table of one image; changes stay in memory until ``flush``."""

    def __init__(self, file: ImageFile, offset: int, entries: int) -> None:
        self._file = file
        self._offset = offset
        self.entries = entries
        #: ``None`` stands for a page without one present block.
        self._pages: OrderedDict[int, array[int] | None] = OrderedDict()
        self._dirty: dict[int, tuple[int, int]] = {}

    def __getitem__(self, block: int) -> int:
        number = block >> _SHIFT
        page = self._pages[number] if number in self._pages else self._load(number)
        return ABSENT if page is None else page[block & _MASK]

    def __setitem__(self, block: int, sector: int) -> None:
        number, index = block >> _SHIFT, block & _MASK
        page = self._pages[number] if number in self._pages else self._load(number)
        if page is None:
            page = self._pages[number] = array("I", [ABSENT]) * self._length(number)
        page[index] = sector
        low, high = self._dirty.get(number, (index, index))
        self._dirty[number] = min(low, index), max(high, index)

    def move(self, offset: int) -> None:
        """Use a table at another place in the file from now on, with everything flushed so far."""
        self._offset = offset

    def next_page(self, block: int) -> int:
        """Find the first block after ``block`` that may be present: the next one, or past an empty page."""
        number = block >> _SHIFT
        if number in self._pages and self._pages[number] is None:
            return min(self.entries, (number + 1) << _SHIFT)
        return block + 1

    def present(self) -> Iterator[tuple[int, int]]:
        """List the present blocks in order: (block, sector)."""
        for number in range(-(-self.entries // PAGE_ENTRIES)):
            page = self._pages[number] if number in self._pages else self._load(number)
            if page is not None:
                first = number << _SHIFT
                yield from [(first + index, sector) for index, sector in enumerate(page) if sector != ABSENT]

    @property
    def is_dirty(self) -> bool:
        """Return whether there are changes to write."""
        return bool(self._dirty)

    def flush(self) -> None:
        """Write the changed entries; the caller has made sure that what they point to is stored."""
        for number, (low, high) in sorted(self._dirty.items()):
            page = self._pages[number]
            if page is not None:
                entries = _swapped(page[low : high + 1])
                self._file.pwrite(entries.tobytes(), self._offset + 4 * ((number << _SHIFT) + low))
        self._dirty.clear()

    def _load(self, number: int) -> array[int] | None:
        length = self._length(number)
        data = self._file.pread(4 * length, self._offset + 4 * (number << _SHIFT))
        page: array[int] | None = None
        if data.count(0xFF) != 4 * length:
            # What a truncated file no longer has is read as absent: the check tells of it.
            page = _swapped(array("I", data.ljust(4 * length, b"\xff")))
        self._pages[number] = page
        self._shed(number)
        return page

    def _shed(self, keep: int) -> None:
        """Drop the oldest clean pages from memory."""
        if len(self._pages) <= KEPT_PAGES:
            return
        for number in [n for n in self._pages if n not in self._dirty and n != keep]:
            if len(self._pages) <= KEPT_PAGES:
                return
            if self._pages[number] is not None:
                del self._pages[number]

    def _length(self, number: int) -> int:
        return min(PAGE_ENTRIES, self.entries - (number << _SHIFT))


def _swapped(page: array[int]) -> array[int]:
    """Convert entries between the file's byte order and the host's."""
    if sys.byteorder == "little":
        page.byteswap()
    return page
