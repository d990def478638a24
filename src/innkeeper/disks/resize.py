"""Change the size of a disk; what is in it stays where it is."""

from __future__ import annotations

import contextlib
import dataclasses
import os

from innkeeper.disks.chain import Chain, open_chain
from innkeeper.disks.create import check_size
from innkeeper.disks.footer import FOOTER_BYTES, Footer
from innkeeper.disks.geometry import Geometry
from innkeeper.disks.image import Image
from innkeeper.disks.kind import Kind
from innkeeper.disks.paths import image_path
from innkeeper.disks.table import ABSENT
from innkeeper.disks.zeros import ZeroFinder
from innkeeper.errors import DiskError, ErrorCode


def resize(path: str | os.PathLike[str], size_bytes: int, *, lose_data: bool = False) -> None:
    """Make a fixed or dynamic disk larger or smaller.

    A smaller size is refused where it would cut off data, unless ``lose_data``. Raises
    VM_E_WRONG_HD_IMAGE_TYPE for a differencing disk, whose size is its parent's.
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
        if size_bytes < image.size_bytes and not lose_data:
            _refuse_loss(chain, size_bytes)
        footer = dataclasses.replace(
            image.layout.footer, current_size=size_bytes, geometry=Geometry.of(size_bytes)
        )
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
                advice="Shrink the file system in the guest first, or say that the data may be lost.",
            )


def _resize_fixed(image: Image, footer: Footer) -> None:
    """Put the new footer in place, then let the old one go; the old one counts until then."""
    file, old, new = image.file, image.size_bytes, footer.current_size
    if new > old:
        file.allocate(0, new + FOOTER_BYTES)
        file.zero(
            image.layout.end + FOOTER_BYTES, max(0, new - image.layout.end - FOOTER_BYTES), keep_room=True
        )
    file.pwrite(footer.encode(), new)
    file.sync()
    if new > old:
        file.zero(old, min(new, image.layout.end + FOOTER_BYTES) - old, keep_room=True)
    file.truncate(new + FOOTER_BYTES)
    file.sync()


def _resize_dynamic(image: Image, footer: Footer) -> None:
    header = image.layout.header
    assert header is not None
    needed = -(-footer.current_size // header.block_bytes)
    if needed > header.entries:
        _move_table(image, needed)
    elif footer.current_size < image.size_bytes:
        _drop(image, footer.current_size)
    image.touch()
    image.flush()
    # The one at the end counts: until it is written the disk has its old size.
    image.file.pwrite(footer.encode(), 0)
    image.file.sync()
    image.file.pwrite(footer.encode(), image.end)
    image.file.sync()


def _drop(image: Image, size_bytes: int) -> None:
    """Forget the blocks past the new end, and make the rest of the last one zero for a later growth."""
    assert image.table is not None
    for start, length, place in list(image.runs(size_bytes, image.size_bytes - size_bytes)):
        if place is not None:
            image.file.zero(place, length)
        block = start // image.block_bytes
        if start % image.block_bytes == 0 and image.table[block] != ABSENT:
            image.table[block] = ABSENT


def _move_table(image: Image, entries: int) -> None:
    """Write a longer table behind the last block; the header, one sector of it, goes over to it at once."""
    header = image.layout.header
    assert header is not None
    at = image.end + FOOTER_BYTES
    longer = dataclasses.replace(header, table_offset=at, entries=entries)
    image.file.pwrite(b"\xff" * longer.table_bytes, at)
    image.file.copy_from(image.file, header.table_offset, at, 4 * image.layout.table_entries)
    image.extend(at + longer.table_bytes)
    image.file.sync()
    image.file.pwrite(longer.encode(), image.layout.footer.data_offset)
    image.file.sync()
