"""Read and write the footer of a VHD: the 512 bytes that describe the disk.

Source: Virtual Hard Disk Image Format Specification 1.0, "Hard Disk Footer Format". All numbers are
big-endian.
"""

from __future__ import annotations

import dataclasses
import struct
import time
import uuid

from innkeeper.disks import mark as marks
from innkeeper.disks.geometry import SECTOR, Geometry
from innkeeper.disks.kind import Kind
from innkeeper.disks.mark import Mark

COOKIE = b"conectix"
FOOTER_BYTES = 512
#: Virtual PC before 2004 forgot the last byte.
OLD_FOOTER_BYTES = 511
#: The data offset of a disk that has no header.
NO_HEADER = 0xFFFF_FFFF_FFFF_FFFF
VERSION = 0x0001_0000
#: VHD counts its seconds from the first of January 2000 in UTC.
EPOCH = 946_684_800
#: Who made it: XenServer's block driver.
TAPDISK = b"tap\0"
#: Hyper-V's mark, which ours is too.
HYPER_V = b"win "
HYPER_V_VERSION = 0x000A_0000
#: Writers whose size QEMU takes from the current size; of all others it takes the geometry, which rounds.
SIZE_COUNTS = frozenset({HYPER_V, TAPDISK, b"qem2", b"d2v ", b"CTXS"})

CODES = {Kind.FIXED: 2, Kind.DYNAMIC: 3, Kind.DIFFERENCING: 4}
KINDS = {code: kind for kind, code in CODES.items()}

_FORM = struct.Struct(">8sIIQI4sI4sQQHBBII16sB427s")
CHECKSUM_AT = 64


class Damaged(ValueError):
    """Bytes are not the structure that they should be; the message gives the reason."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Footer:
    """The fields of a VHD's footer."""

    kind: Kind
    #: The size of the disk in the guest. Never the geometry.
    current_size: int
    original_size: int
    #: Changes whenever the content may have: children name their parent by it.
    unique_id: uuid.UUID
    #: Where the dynamic header is, or ``NO_HEADER``.
    data_offset: int
    #: Seconds since 2000, UTC.
    timestamp: int
    #: Hyper-V's mark: of a writer it does not know QEMU takes the geometry for the size.
    creator: bytes = HYPER_V
    creator_version: int = HYPER_V_VERSION
    #: ``Wi2k``: the only hosts old readers know are Windows and the Macintosh.
    creator_host: bytes = b"Wi2k"
    geometry: Geometry
    features: int = 2
    saved_state: bool = False
    #: What other writers keep in the rest; carried along unread.
    reserved: bytes = bytes(427)

    @classmethod
    def new(cls, kind: Kind, size_bytes: int) -> Footer:
        """Describe a disk made now."""
        return cls(
            kind=kind,
            current_size=size_bytes,
            original_size=size_bytes,
            unique_id=uuid.uuid4(),
            data_offset=NO_HEADER if kind is Kind.FIXED else FOOTER_BYTES,
            timestamp=vhd_time(time.time()),
            geometry=Geometry.of(size_bytes),
        )

    @classmethod
    def decode(cls, data: bytes) -> Footer:
        """Parse 512 (or 511) bytes; raises ``Damaged``."""
        data = bytes(data[:FOOTER_BYTES]).ljust(FOOTER_BYTES, b"\0")
        if not data.startswith(COOKIE):
            raise Damaged("there is no VHD footer")
        (_, features, _, data_offset, timestamp, creator, creator_version, creator_host,
         original_size, current_size, cylinders, heads, per_track, code, stored, unique_id,
         saved, reserved) = _FORM.unpack(data)  # fmt: skip
        if checksum(data, CHECKSUM_AT) != stored:
            raise Damaged("the footer's checksum is wrong")
        if code not in KINDS:
            raise Damaged(f"the footer names an unknown disk type, {code}")
        return cls(
            kind=KINDS[code],
            current_size=current_size,
            original_size=original_size,
            unique_id=uuid.UUID(bytes=unique_id),
            data_offset=data_offset,
            timestamp=timestamp,
            creator=creator,
            creator_version=creator_version,
            creator_host=creator_host,
            geometry=Geometry(cylinders=cylinders, heads=heads, sectors_per_track=per_track),
            features=features,
            saved_state=bool(saved),
            reserved=reserved,
        )

    def encode(self) -> bytes:
        """Write the 512 bytes, with their checksum."""
        chs = self.geometry
        data = _FORM.pack(
            COOKIE, self.features, VERSION, self.data_offset, self.timestamp,
            self.creator, self.creator_version, self.creator_host, self.original_size, self.current_size,
            chs.cylinders, chs.heads, chs.sectors_per_track, CODES[self.kind], 0,
            self.unique_id.bytes, self.saved_state, self.reserved,
        )  # fmt: skip
        return with_checksum(data, CHECKSUM_AT)

    @property
    def mark(self) -> Mark | None:
        """The note of an operation that has begun and is not finished."""
        return Mark.decode(self.reserved)

    def with_mark(self, mark: Mark | None) -> Footer:
        """The same footer with this note, or with none; raises ``Damaged`` where there is no room for it."""
        try:
            return dataclasses.replace(self, reserved=marks.put(self.reserved, mark))
        except ValueError as exc:
            raise Damaged(str(exc)) from exc

    def resized(self, size_bytes: int) -> Footer:
        """The same footer with another size, marked so that every reader takes it from there."""
        footer = dataclasses.replace(self, current_size=size_bytes, geometry=Geometry.of(size_bytes))
        if self.creator in SIZE_COUNTS:
            return footer
        return dataclasses.replace(footer, creator=HYPER_V, creator_version=HYPER_V_VERSION)

    @property
    def has_old_bitmaps(self) -> bool:
        """Return whether XenServer's first writer made the disk, with bitmaps in reversed bit order."""
        return self.creator == TAPDISK and self.creator_version == 1


def checksum(data: bytes, at: int) -> int:
    """Sum all bytes but the four of the checksum itself, and take the complement."""
    return ~(sum(data) - sum(data[at : at + 4])) & 0xFFFF_FFFF


def with_checksum(data: bytes, at: int) -> bytes:
    """Insert the checksum into the bytes."""
    return data[:at] + checksum(data, at).to_bytes(4, "big") + data[at + 4 :]


def vhd_time(seconds: float) -> int:
    """Turn seconds since 1970 into seconds since 2000, as the field can hold them."""
    return max(0, int(seconds) - EPOCH) & 0xFFFF_FFFF


def is_whole_sectors(size_bytes: int) -> bool:
    """Return whether a disk can have this size at all."""
    return size_bytes > 0 and size_bytes % SECTOR == 0
