"""Work with the sector bitmap of a block: one bit a sector, the first sector in the highest bit."""

from __future__ import annotations

from collections.abc import Iterator

#: Each byte with its bits in the other order, for images of XenServer's first writer.
MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def runs(bitmap: bytes | bytearray, first: int, last: int) -> Iterator[tuple[int, int, bool]]:
    """Split the sectors from ``first`` up to ``last`` into runs of one value: (start, stop, value).

    The bits are taken as one number, so a run costs one step whatever its length.
    """
    width = last - first
    total = len(bitmap) * 8
    number = int.from_bytes(bitmap, "big") >> (total - last) & ((1 << width) - 1)
    while width:
        value = bool(number >> (width - 1))
        other = ~number & ((1 << width) - 1) if value else number
        left = other.bit_length()
        yield last - width, last - left, value
        width = left
        number &= (1 << width) - 1


def fill(bitmap: bytearray, first: int, last: int) -> bool:
    """Set the bits of the sectors from ``first`` up to ``last``; returns whether any was clear."""
    low, high = first // 8, -(-last // 8)
    width = (high - low) * 8
    mask = ((1 << (last - first)) - 1) << (high * 8 - last)
    before = int.from_bytes(bitmap[low:high], "big")
    after = before | mask
    bitmap[low:high] = after.to_bytes(width // 8, "big")
    return after != before


def are_set(bitmap: bytes | bytearray, first: int, last: int) -> bool:
    """Return whether the bits of the sectors from ``first`` up to ``last`` are all set."""
    low, high = first // 8, -(-last // 8)
    mask = ((1 << (last - first)) - 1) << (high * 8 - last)
    return int.from_bytes(bitmap[low:high], "big") & mask == mask


def is_full(bitmap: bytes | bytearray, sectors: int) -> bool:
    """Return whether every sector of the block is marked."""
    whole, rest = divmod(sectors, 8)
    if bitmap[:whole].count(0xFF) != whole:
        return False
    tail = 0xFF & (0xFF << (8 - rest))
    return not rest or bitmap[whole] & tail == tail
