"""Find the partitions of a guest's disk: MBR and GPT."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

#: Reads from the guest's disk: (offset, size) to at most that many bytes.
Read = Callable[[int, int], bytes]

SECTOR = 512
MOST_PARTITIONS = 256
_EXTENDED = {0x05, 0x0F, 0x85}
_GPT_PROTECTIVE = 0xEE


def partitions(read: Read, size_bytes: int) -> list[tuple[int, int]]:
    """List the partitions as ascending (offset, length); a disk without a table counts as one."""
    start = read(0, SECTOR)
    found: list[tuple[int, int]] = []
    if len(start) == SECTOR and start.endswith(b"\x55\xaa"):
        entries = list(_mbr(start))
        if any(kind == _GPT_PROTECTIVE for kind, _, _ in entries):
            found = list(_gpt(read))
        else:
            found = [(at, length) for kind, at, length in entries if kind not in _EXTENDED]
            for kind, at, _ in entries:
                if kind in _EXTENDED:
                    found += _logical(read, at)
    inside = sorted((at, length) for at, length in found if at > 0 and 0 < length <= size_bytes - at)
    return _apart(inside) if inside else [(0, size_bytes)]


def _apart(found: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Take no partition that begins inside another: a table that says so is not to be trusted there."""
    taken: list[tuple[int, int]] = []
    for at, length in found:
        if not taken or at >= sum(taken[-1]):
            taken.append((at, length))
    return taken


def _mbr(sector: bytes) -> Iterator[tuple[int, int, int]]:
    """Read the four entries of a partition table: (kind, offset, length)."""
    for at in range(446, 510, 16):
        kind, first, count = struct.unpack_from("<4xB3xII", sector, at)
        if kind and count:
            yield kind, first * SECTOR, count * SECTOR


def _logical(read: Read, extended: int) -> Iterator[tuple[int, int]]:
    """Follow the chain of logical partitions."""
    table = extended
    for _ in range(MOST_PARTITIONS):
        sector = read(table, SECTOR)
        if len(sector) < SECTOR or not sector.endswith(b"\x55\xaa"):
            return
        following = None
        for kind, at, length in _mbr(sector):
            if kind in _EXTENDED:
                following = extended + at
            else:
                yield table + at, length
        if following is None or following <= table:
            return
        table = following


def _gpt(read: Read) -> Iterator[tuple[int, int]]:
    header = read(SECTOR, SECTOR)
    if not header.startswith(b"EFI PART"):
        return
    table, count, size = struct.unpack_from("<QII", header, 72)
    if not 128 <= size <= 4096:
        return
    for number in range(min(count, MOST_PARTITIONS)):
        entry = read(table * SECTOR + number * size, 48)
        if len(entry) == 48 and any(entry[:16]):
            first, last = struct.unpack_from("<QQ", entry, 32)
            yield first * SECTOR, (last - first + 1) * SECTOR
