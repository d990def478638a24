"""Sector bitmaps are one bit a sector, the first sector in the highest bit."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from innkeeper.disks import bitmap


@st.composite
def bitmap_and_range(draw: st.DrawFn) -> tuple[bytes, int, int]:
    """Draw a bitmap and a range of its sectors."""
    data = draw(st.binary(min_size=1, max_size=64))
    first = draw(st.integers(0, len(data) * 8))
    return data, first, draw(st.integers(first, len(data) * 8))


def bits_of(data: bytes) -> list[bool]:
    """Spell a bitmap out, sector by sector."""
    return [bool(data[sector // 8] & 0x80 >> sector % 8) for sector in range(len(data) * 8)]


@given(bitmap_and_range())
def test_runs_spell_the_bitmap(case: tuple[bytes, int, int]) -> None:
    """The runs of a range are the range, and no two neighbours have the same value."""
    data, first, last = case
    runs = list(bitmap.runs(data, first, last))
    spelled = [value for start, stop, value in runs for _ in range(start, stop)]
    assert spelled == bits_of(data)[first:last]
    assert all(left[1] == right[0] and left[2] != right[2] for left, right in itertools.pairwise(runs))


@given(bitmap_and_range())
def test_filling_marks_the_range_and_nothing_else(case: tuple[bytes, int, int]) -> None:
    """After a fill the range is marked, the rest as before, and the answer says whether anything changed."""
    data, first, last = case
    marks = bytearray(data)
    expected = [value or first <= sector < last for sector, value in enumerate(bits_of(data))]
    if first < last:
        assert bitmap.fill(marks, first, last) == (expected != bits_of(data))
        assert bits_of(bytes(marks)) == expected


@given(st.binary(min_size=1, max_size=8), st.integers(1, 64))
def test_a_bitmap_is_full_when_every_sector_is_marked(data: bytes, sectors: int) -> None:
    """Bits past the last sector of the block do not count."""
    sectors = min(sectors, len(data) * 8)
    assert bitmap.is_full(data, sectors) == all(bits_of(data)[:sectors])


@given(st.binary(max_size=64))
def test_mirroring_twice_changes_nothing(data: bytes) -> None:
    """The bit order of XenServer's first writer is the other one."""
    mirrored = data.translate(bitmap.MIRRORED)
    assert mirrored.translate(bitmap.MIRRORED) == data
    assert bits_of(mirrored) == [bool(byte & 1 << bit) for byte in data for bit in range(8)]
