"""Change the size of a disk in place, keeping its content.

The new size counts from one write on: that of a footer, which is durable before anything is given up that
the old one needs. A kill, a loss of power or a full host leaves the disk with its old size or its new one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os

from innkeeper.disks.chain import Chain, open_chain
from innkeeper.disks.children import refuse_children
from innkeeper.disks.create import check_size
from innkeeper.disks.footer import FOOTER_BYTES, Footer
from innkeeper.disks.geometry import SECTOR
from innkeeper.disks.image import Image
from innkeeper.disks.kind import Kind
from innkeeper.disks.mark import Mark, Operation
from innkeeper.disks.paths import image_path
from innkeeper.disks.slots import metadata
from innkeeper.disks.table import ABSENT
from innkeeper.disks.zeros import ZeroFinder
from innkeeper.errors import DiskError, ErrorCode


def resize(path: str | os.PathLike[str], size_bytes: int, *, lose_data: bool = False) -> None:
    """Make a fixed or dynamic disk larger or smaller.

    A smaller size is refused where it would cut off data, unless ``lose_data``. Raises
    VM_E_WRONG_HD_IMAGE_TYPE for a differencing disk, whose size is its parent's, and ERROR_SHARING_VIOLATION
    where others stand on the disk: each counts on it as it is.
    """
    target = image_path(path)
    with contextlib.closing(open_chain(target, writable=True)) as chain:
        image = chain.top
        if image.kind is Kind.DIFFERENCING:
            raise DiskError(
                f"{target}: a differencing disk has the size of its parent.",
                path=str(target),
                code=ErrorCode.VM_E_WRONG_HD_IMAGE_TYPE,
                advice="Merge it to a new disk, and resize that.",
            )
        check_size(target, size_bytes)
        refuse_children(
            target, what="a child counts on its parent as it is", advice="Resize a copy of it instead."
        )
        if size_bytes < image.size_bytes and not lose_data:
            _refuse_loss(chain, size_bytes)
        footer = image.layout.footer.resized(size_bytes)
        if image.table is None:
            _resize_fixed(image, footer)
        else:
            _resize_dynamic(image, footer)


def _refuse_loss(chain: Chain, size_bytes: int) -> None:
    finder = ZeroFinder()
    for offset, length, image, place in chain.segments(size_bytes, chain.size_bytes - size_bytes):
        if image is not None and not finder.is_zero(image.file, place, length):
            path = chain.top.file.path
            raise DiskError(
                f"{path}: there is data at byte {offset:,}, past the new end.",
                path=str(path),
                code=ErrorCode.VM_E_IMAGE_SIZE_TOO_SMALL,
                advice="Shrink the file system in the guest first, or give up the data: --lose-data.",
            )


# Fixed disks


def _resize_fixed(image: Image, footer: Footer) -> None:
    old, new, end = image.size_bytes, footer.current_size, image.end
    if new > old:
        # What other writers left between the disk and its footer never was the disk's.
        image.file.zero(old, min(new, end) - old, keep_room=True)
    if new > end:
        _grow_file(image, footer)
    else:
        image.put_footer(footer)
        _cut_behind(image, footer)


def _grow_file(image: Image, footer: Footer) -> None:
    """Take the room first, then write the new footer, then clear the old one, which lies in the disk now."""
    file, old_end = image.file, image.end
    new_end = max(footer.current_size, old_end + FOOTER_BYTES)
    behind, length = old_end + FOOTER_BYTES, new_end - old_end
    is_reserved = file.reserve(behind, length)
    growing = Mark(operation=Operation.GROWING, number=old_end)
    try:
        image.move_footer(image.marked(footer, growing), new_end)
        if not is_reserved:
            file.allocate(behind, length)
    except BaseException:
        # The old footer is still where it was.
        file.truncate(old_end + FOOTER_BYTES)
        raise
    image.finish_growth()


def _cut_behind(image: Image, footer: Footer) -> None:
    """Shorten the file to the disk and its footer; the footer at the end counts until then."""
    file, size = image.file, footer.current_size
    if size + FOOTER_BYTES <= image.end:
        file.pwrite(footer.encode(), size)
        file.sync()
        file.truncate(size + FOOTER_BYTES)
        file.sync()


# Dynamic disks


def _resize_dynamic(image: Image, footer: Footer) -> None:
    if footer.current_size < image.size_bytes:
        _shrink_table(image, footer)
        return
    _clear_last_block(image)
    _clear_entries(image, -(-footer.current_size // image.block_bytes))
    image.touch()
    image.flush()
    image.put_footer(footer)


def _shrink_table(image: Image, footer: Footer) -> None:
    """Make the disk smaller, and then forget the blocks past its new end: no reader asks for them."""
    assert image.table is not None
    image.flush()
    image.put_footer(footer)
    for block, sector in image.table.present():
        if block * image.block_bytes >= footer.current_size:
            place = sector * SECTOR
            stop = min(place + image.bitmap_bytes + image.block_bytes, image.end)
            image.file.zero(place, max(0, stop - place))
            image.table[block] = ABSENT
    image.touch()
    image.flush()


def _clear_last_block(image: Image) -> None:
    """Zero the part of the last block that lies past the disk's end, and complete a block that is cut off."""
    assert image.table is not None
    block, used = divmod(image.size_bytes, image.block_bytes)
    if not used or image.table[block] == ABSENT:
        return
    data = image.table[block] * SECTOR + image.bitmap_bytes
    if data + image.block_bytes > image.end:
        image.extend(data + image.block_bytes)
        image.file.sync()
    image.file.zero(data + used, image.block_bytes - used)


def _clear_entries(image: Image, needed: int) -> None:
    """Give the table an empty entry for each block to come: other programs leave old ones past the end."""
    header, entries = image.layout.header, image.layout.table_entries
    assert header is not None
    start, stop = header.table_offset + 4 * entries, header.table_offset + 4 * needed
    if needed > header.entries or not _is_free(image, start, stop):
        _move_table(image, needed)
    else:
        image.file.pwrite(b"\xff" * (stop - start), start)


def _is_free(image: Image, start: int, stop: int) -> bool:
    """Return whether nothing else lies in this part of the table's room."""
    header = image.layout.header
    assert header is not None
    table = header.table_offset, min(header.table_offset + header.table_bytes, image.file.size)
    others = [region for region in metadata(image) if region != table]
    return stop <= image.end and not any(first < stop and start < last for first, last in others)


def _move_table(image: Image, entries: int) -> None:
    """Write a longer table behind the last block; one write of the header switches to it."""
    header = image.layout.header
    assert header is not None
    at = -(-image.free_from // SECTOR) * SECTOR
    longer = dataclasses.replace(header, table_offset=at, entries=entries)
    image.flush()
    with image.room_until(at + longer.table_bytes):
        image.file.pwrite(b"\xff" * longer.table_bytes, at)
        image.file.copy_from(image.file, header.table_offset, at, 4 * image.layout.table_entries)
        image.file.sync()
    image.put_header(longer)
