"""Read and write the dynamic header of a VHD: where its blocks are, and who its parent is.

Source: Virtual Hard Disk Image Format Specification 1.0, "Dynamic Disk Header Format".
"""

from __future__ import annotations

import dataclasses
import struct
import uuid

from innkeeper.disks.footer import Damaged, checksum, with_checksum
from innkeeper.disks.geometry import SECTOR

COOKIE = b"cxsparse"
HEADER_BYTES = 1024
VERSION = 0x0001_0000
LOCATORS = 8
DEFAULT_BLOCK_BYTES = 2 << 20
SMALLEST_BLOCK_BYTES = 4096
LARGEST_BLOCK_BYTES = 256 << 20
NO_DATA = 0xFFFF_FFFF_FFFF_FFFF
CHECKSUM_AT = 36
NO_PARENT = uuid.UUID(int=0)

_FORM = struct.Struct(">8sQQIIII16sII512s192s256s")
_LOCATOR = struct.Struct(">4sIIIQ")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LocatorEntry:
    """Where the header says that one form of the parent's path is kept."""

    #: The form: ``W2ru``, ``W2ku``, ``MacX`` and their kind.
    platform: bytes
    #: The room kept for it; in bytes by most writers, in sectors by the specification.
    space: int
    length_bytes: int
    offset: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """Header of a dynamic or differencing disk: its table of blocks, and its parent."""

    table_offset: int
    #: How many blocks the table can name.
    entries: int
    block_bytes: int
    parent_id: uuid.UUID = NO_PARENT
    #: The parent's modification time when the child was made, seconds since 2000.
    parent_timestamp: int = 0
    #: The parent's file name.
    parent_name: str = ""
    locators: tuple[LocatorEntry, ...] = ()

    @classmethod
    def decode(cls, data: bytes) -> Header:
        """Parse 1024 bytes; raises ``Damaged``."""
        if len(data) < HEADER_BYTES or not data.startswith(COOKIE):
            raise Damaged("there is no dynamic header where the footer says it is")
        (_, _, table_offset, _, entries, block_bytes, stored, parent_id, parent_timestamp, _, name,
         locators, _) = _FORM.unpack(data)  # fmt: skip
        if checksum(data, CHECKSUM_AT) != stored:
            raise Damaged("the dynamic header's checksum is wrong")
        if not _is_block_size(block_bytes):
            raise Damaged(f"the dynamic header names an impossible block size, {block_bytes}")
        return cls(
            table_offset=table_offset,
            entries=entries,
            block_bytes=block_bytes,
            parent_id=uuid.UUID(bytes=parent_id),
            parent_timestamp=parent_timestamp,
            parent_name=name.decode("utf-16-be", "replace").split("\0", 1)[0],
            locators=tuple(_locators(locators)),
        )

    def encode(self) -> bytes:
        """Write the 1024 bytes, with their checksum."""
        locators = b"".join(
            _LOCATOR.pack(entry.platform, entry.space, entry.length_bytes, 0, entry.offset)
            for entry in self.locators
        )
        data = _FORM.pack(
            COOKIE, NO_DATA, self.table_offset, VERSION, self.entries, self.block_bytes, 0,
            self.parent_id.bytes, self.parent_timestamp, 0, _name_field(self.parent_name), locators, b"",
        )  # fmt: skip
        return with_checksum(data, CHECKSUM_AT)

    @property
    def bitmap_bytes(self) -> int:
        """The room of a block's sector bitmap: whole sectors."""
        bits = self.block_bytes // SECTOR
        return -(-bits // (8 * SECTOR)) * SECTOR

    @property
    def table_bytes(self) -> int:
        """The room of the block table: whole sectors."""
        return -(-self.entries * 4 // SECTOR) * SECTOR


def _is_block_size(size: int) -> bool:
    return SMALLEST_BLOCK_BYTES <= size <= LARGEST_BLOCK_BYTES and size & (size - 1) == 0


def _locators(data: bytes) -> list[LocatorEntry]:
    return [
        LocatorEntry(platform=platform, space=space, length_bytes=length, offset=offset)
        for platform, space, length, _, offset in _LOCATOR.iter_unpack(data)
        if platform != bytes(4)
    ]


def _name_field(name: str) -> bytes:
    """Cut to what the field holds, never through a character."""
    data = name.encode("utf-16-be", "surrogatepass")[:510]
    return data.decode("utf-16-be", "ignore").encode("utf-16-be")
