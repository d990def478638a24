"""Find the free room of the guest's file systems."""

from __future__ import annotations

from collections.abc import Iterator

from innkeeper.disks.chain import Chain


def free_ranges(chain: Chain) -> Iterator[tuple[int, int]]:
    """Go through what no file system of the guest uses, as ascending (offset, length)."""
    yield from ()
