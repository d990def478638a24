"""Maintain XenServer's batmap, the list of fully written blocks that is kept behind the block table.

Innkeeper does not need it. It must not put blocks over it, and must not leave in it a block that is gone.
"""

from __future__ import annotations

import struct

from innkeeper.disks.file import ImageFile
from innkeeper.disks.footer import TAPDISK
from innkeeper.disks.geometry import SECTOR
from innkeeper.disks.layout import Layout

COOKIE = b"tdbatmap"
LARGEST = 16 << 20
_FORM = struct.Struct(">8sQIII")
_CHECKSUM_AT = 24


def batmap_regions(file: ImageFile, layout: Layout) -> list[tuple[int, int]]:
    """List the parts of the file that the batmap takes, as (start, stop); empty where there is none."""
    header = layout.header
    if header is None or layout.footer.creator != TAPDISK:
        return []
    at = header.table_offset + header.table_bytes
    data = file.pread(_FORM.size, at)
    if len(data) < _FORM.size or not data.startswith(COOKIE):
        return []
    _, offset, sectors, _, _ = _FORM.unpack(data)
    if offset < at or sectors * SECTOR > LARGEST or offset + sectors * SECTOR > file.size:
        return [(at, at + SECTOR)]
    return [(at, at + SECTOR), (offset, offset + sectors * SECTOR)]


def forget_full_blocks(file: ImageFile, layout: Layout) -> None:
    """Empty the batmap, so that every reader asks the blocks' own bitmaps."""
    regions = batmap_regions(file, layout)
    if len(regions) == 2:
        (header_at, _), (start, stop) = regions
        file.pwrite(bytes(stop - start), start)
        # The complement of a sum of zeros.
        file.pwrite(b"\xff\xff\xff\xff", header_at + _CHECKSUM_AT)
