"""Compute the cylinders, heads and sectors that old readers of a VHD expect.

Nothing here ever decides a disk's size: the current size in the footer does. The numbers only fill the field.
Source: Virtual Hard Disk Image Format Specification 1.0, appendix "CHS calculation".
"""

from __future__ import annotations

import dataclasses

SECTOR = 512

#: The largest disk the field can tell: 127.5 GiB. Larger disks all carry the largest geometry.
LARGEST_SECTORS = 65535 * 16 * 255


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Geometry:
    """The cylinders, heads and sectors of a disk."""

    cylinders: int
    heads: int
    sectors_per_track: int

    @classmethod
    def of(cls, size_bytes: int) -> Geometry:
        """Compute the documented geometry for a disk of this size."""
        sectors = min(size_bytes // SECTOR, LARGEST_SECTORS)
        if sectors >= 65535 * 16 * 63:
            heads, per_track = 16, 255
        else:
            heads, per_track = _small(sectors)
        return cls(cylinders=sectors // per_track // heads, heads=heads, sectors_per_track=per_track)

    @property
    def size_bytes(self) -> int:
        """The size that a reader who trusts the geometry computes."""
        return self.cylinders * self.heads * self.sectors_per_track * SECTOR


def _small(sectors: int) -> tuple[int, int]:
    """Find heads and sectors a track for a disk under 32 GiB."""
    per_track = 17
    tracks = sectors // per_track
    heads = max((tracks + 1023) // 1024, 4)
    if tracks >= heads * 1024 or heads > 16:
        per_track, heads = 31, 16
        tracks = sectors // per_track
    if tracks >= heads * 1024:
        per_track, heads = 63, 16
    return heads, per_track
