"""Find the free clusters of an NTFS volume that was left clean.

Windows keeps what it has not written yet in the volume's journal, ``$LogFile``: only when that says the
volume was closed in order does its bitmap hold.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator

from innkeeper.disks import bitmap as bits
from innkeeper.disks.guest.partition import Read

_LOG, _VOLUME, _BITMAP = 2, 3, 6
_VOLUME_INFORMATION, _DATA, _END = 0x70, 0x80, 0xFFFF_FFFF
_DIRTY = 1
_CLOSED_IN_ORDER = 2
_NO_CLIENT = 0xFFFF
#: How much of the bitmap is looked at once: the free runs of 2 GiB with clusters of 4 KiB.
_PIECE_BYTES = 64 << 10
_MOST_RUNS = 1 << 16

#: Part of a file: (offset on the disk, length).
Run = tuple[int, int]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Ntfs:
    """The fields of an NTFS boot sector."""

    start: int
    length: int
    sector_bytes: int
    cluster_bytes: int
    clusters: int
    table_at: int
    record_bytes: int

    @classmethod
    def read(cls, read: Read, start: int, length: int) -> Ntfs | None:
        """Read the boot sector; ``None`` where there is none, or where the bitmap cannot be relied on."""
        data = read(start, 512)
        if len(data) < 512 or data[3:11] != b"NTFS    ":
            return None
        sector_bytes, per_cluster = struct.unpack_from("<HB", data, 11)
        sectors, table = struct.unpack_from("<QQ", data, 40)
        (record,) = struct.unpack_from("<b", data, 64)
        cluster_bytes = sector_bytes * per_cluster
        if sector_bytes not in {512, 1024, 2048, 4096} or not per_cluster or per_cluster & (per_cluster - 1):
            return None
        if record < -16 or record == 0:
            return None
        volume = cls(
            start=start,
            length=length,
            sector_bytes=sector_bytes,
            cluster_bytes=cluster_bytes,
            clusters=sectors // per_cluster,
            table_at=start + table * cluster_bytes,
            record_bytes=1 << -record if record < 0 else record * cluster_bytes,
        )
        return volume if volume._is_sane() and volume._was_closed_in_order(read) else None

    def _is_sane(self) -> bool:
        return (
            self.clusters * self.cluster_bytes <= self.length
            and 512 <= self.record_bytes <= 64 << 10
            and self.table_at < self.start + self.length
        )

    def free(self, read: Read) -> Iterator[tuple[int, int]]:
        """List the free clusters, as ascending (offset, length)."""
        first = 0
        for at, length in self._runs(self._attribute(read, _BITMAP, _DATA)):
            for piece in range(0, length, _PIECE_BYTES):
                marks = read(at + piece, min(_PIECE_BYTES, length - piece))
                count = min(len(marks) * 8, self.clusters - first)
                if count <= 0:
                    return
                for low, high, used in bits.runs(marks.translate(bits.MIRRORED), 0, count):
                    if not used:
                        yield (
                            self.start + (first + low) * self.cluster_bytes,
                            (high - low) * self.cluster_bytes,
                        )
                first += count

    def _was_closed_in_order(self, read: Read) -> bool:
        information = self._resident(self._attribute(read, _VOLUME, _VOLUME_INFORMATION))
        if len(information) < 12 or struct.unpack_from("<H", information, 10)[0] & _DIRTY:
            return False
        runs = self._runs(self._attribute(read, _LOG, _DATA))
        page = read(runs[0][0], 4096) if runs else b""
        if page.count(0xFF) == 4096:
            return True
        if not page.startswith(b"RSTR"):
            return False
        (area,) = struct.unpack_from("<H", page, 24)
        if area + 16 > len(page):
            return False
        clients, flags = struct.unpack_from("<HH", page, area + 12)
        return clients == _NO_CLIENT or bool(flags & _CLOSED_IN_ORDER)

    def _attribute(self, read: Read, number: int, kind: int) -> bytes:
        """Find an attribute of one of the volume's own files; empty where it is not found."""
        record = self._record(read, number)
        if len(record) < 48:
            return b""
        (at,) = struct.unpack_from("<H", record, 20)
        while at + 16 <= len(record):
            found, length = struct.unpack_from("<II", record, at)
            if found == _END or length < 16 or at + length > len(record):
                return b""
            named = record[at + 9]
            if found == kind and not named:
                return record[at : at + length]
            at += length
        return b""

    def _record(self, read: Read, number: int) -> bytes:
        """Read a record of the file table, with the ends of its sectors put back."""
        data = bytearray(read(self.table_at + number * self.record_bytes, self.record_bytes))
        if len(data) < self.record_bytes or not data.startswith(b"FILE"):
            return b""
        at, count = struct.unpack_from("<HH", data, 4)
        if at + 2 * count > len(data) or (count - 1) * 512 > len(data):
            return b""
        for sector in range(1, count):
            end = sector * 512
            if data[end - 2 : end] != data[at : at + 2]:
                return b""
            data[end - 2 : end] = data[at + 2 * sector : at + 2 * sector + 2]
        return bytes(data)

    def _resident(self, attribute: bytes) -> bytes:
        if len(attribute) < 24 or attribute[8]:
            return b""
        length, at = struct.unpack_from("<IH", attribute, 16)
        return attribute[at : at + length]

    def _runs(self, attribute: bytes) -> list[Run]:
        """Read where a file lies; raises for a file with pieces without a place."""
        if len(attribute) < 64 or not attribute[8]:
            return []
        (at,) = struct.unpack_from("<H", attribute, 32)
        runs: list[Run] = []
        cluster = 0
        while at < len(attribute) and attribute[at] and len(runs) < _MOST_RUNS:
            length_size, offset_size = attribute[at] & 15, attribute[at] >> 4
            end = at + 1 + length_size + offset_size
            if not offset_size or end > len(attribute):
                return []
            length = int.from_bytes(attribute[at + 1 : at + 1 + length_size], "little")
            cluster += int.from_bytes(attribute[at + 1 + length_size : end], "little", signed=True)
            if cluster < 0 or cluster + length > self.clusters:
                return []
            runs.append((self.start + cluster * self.cluster_bytes, length * self.cluster_bytes))
            at = end
        return runs
