"""Format floppy images, and tell their types."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

from innkeeper.wire.virtual_pc import FloppyDiskImageType

#: Bytes in each kind of floppy.
FLOPPIES: Final[Mapping[FloppyDiskImageType, int]] = {
    FloppyDiskImageType.LOW_DENSITY: 737_280,
    FloppyDiskImageType.HIGH_DENSITY: 1_474_560,
    FloppyDiskImageType.DMF: 1_720_320,
    FloppyDiskImageType.LOW_DENSITY_SINGLE_SIDED: 368_640,
    FloppyDiskImageType.MEDIUM_DENSITY: 1_228_800,
    FloppyDiskImageType.HIGH_DENSITY_MSS: 1_884_160,
}
_BY_SIZE = {size: kind for kind, size in FLOPPIES.items()} | {
    163_840: FloppyDiskImageType.LOW_DENSITY_SINGLE_SIDED,
    184_320: FloppyDiskImageType.LOW_DENSITY_SINGLE_SIDED,
    327_680: FloppyDiskImageType.LOW_DENSITY_SINGLE_SIDED,
}
_SECTOR: Final = 512
_FATS: Final = 2
#: Sectors a track, sectors a cluster, entries of the root, sectors a FAT, the medium's descriptor.
_SHAPES: Final[Mapping[FloppyDiskImageType, tuple[int, int, int, int, int]]] = {
    FloppyDiskImageType.LOW_DENSITY: (9, 2, 112, 3, 0xF9),
    FloppyDiskImageType.HIGH_DENSITY: (18, 1, 224, 9, 0xF0),
}


def floppy_type(size_bytes: int) -> FloppyDiskImageType:
    """The type of an image of this size."""
    return _BY_SIZE.get(size_bytes, FloppyDiskImageType.UNKNOWN)


def floppy_image(image_type: FloppyDiskImageType) -> bytes:
    """An empty floppy, formatted with FAT12 as DOS does."""
    track, cluster, entries, fat_sectors, medium = _SHAPES[image_type]
    size = FLOPPIES[image_type]
    boot = struct.pack(
        "<3s8sHBHBHHBHHHLLBBBL11s8s",
        b"\xeb\x3c\x90",
        b"INNKEEPR",
        _SECTOR,
        cluster,
        1,
        _FATS,
        entries,
        size // _SECTOR,
        medium,
        fat_sectors,
        track,
        2,
        0,
        0,
        0,
        0,
        0x29,
        0,
        b"NO NAME    ",
        b"FAT12   ",
    )
    image = bytearray(size)
    image[: len(boot)] = boot
    image[510:512] = b"\x55\xaa"
    for fat in range(_FATS):
        start = (1 + fat * fat_sectors) * _SECTOR
        image[start : start + 3] = bytes((medium, 0xFF, 0xFF))
    return bytes(image)
