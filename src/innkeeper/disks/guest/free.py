"""Find the free room of the guest's file systems."""

from __future__ import annotations

from collections.abc import Iterator

from innkeeper.disks.chain import Chain
from innkeeper.disks.guest.ext4 import Ext4
from innkeeper.disks.guest.ntfs import Ntfs
from innkeeper.disks.guest.partition import partitions


def free_ranges(chain: Chain) -> Iterator[tuple[int, int]]:
    """List the ranges that no file system of the guest uses, as ascending (offset, length).

    Only what a known file system, left clean, calls free: everything else counts as used.
    """

    def read(offset: int, size: int) -> bytes:
        size = max(0, min(size, chain.size_bytes - offset)) if offset >= 0 else 0
        buffer = bytearray(size)
        chain.read_into(memoryview(buffer), offset)
        return bytes(buffer)

    for start, length in partitions(read, chain.size_bytes):
        volume = Ext4.read(read, start, length) or Ntfs.read(read, start, length)
        if volume is not None:
            yield from volume.free(read)
