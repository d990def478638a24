"""Notes of unfinished operations, kept in the footer of the VHD that they concern.

A journal beside an image does not know that the image was restored from a backup. A note inside the image
does: it travels with the bytes it speaks of. It takes a few bytes of the footer's reserved room, which no
reader uses, and is gone when the operation is over.
"""

from __future__ import annotations

import dataclasses
import enum
import struct
import uuid
import zlib

_MAGIC = b"InnkMrk1"
_FORM = struct.Struct(">8sB16s16sBQ")
_CRC = struct.Struct(">I")
#: The room of a note in the footer.
MARK_BYTES = _FORM.size + _CRC.size

NOBODY = uuid.UUID(int=0)


class Operation(enum.IntEnum):
    """The operations that leave a note until they are finished."""

    #: A fixed disk became larger; its former footer still lies inside it, at ``number``.
    GROWING = 1
    #: A child is being merged into this disk; what lies before byte ``number`` is merged durably.
    MERGING_INTO = 2
    #: This child is being merged into its parent.
    MERGING_FROM = 3
    #: A writable export keeps changes of the maps in a journal; ``number`` counts its flushes.
    EXPORTING = 4


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """One note: an operation that has begun and is not finished."""

    operation: Operation
    #: Tells this run of the operation from every other.
    token: uuid.UUID = NOBODY
    #: The other disk concerned, by its identity.
    other: uuid.UUID = NOBODY
    #: All that is left is to tidy up.
    is_over: bool = False
    #: What it counts, by operation.
    number: int = 0

    @classmethod
    def decode(cls, data: bytes) -> Mark | None:
        """Find a note in these bytes; ``None`` where there is none, or a damaged one."""
        at = data.find(_MAGIC)
        body, stored = data[at : at + _FORM.size], data[at + _FORM.size : at + MARK_BYTES]
        if at < 0 or len(stored) < _CRC.size or _CRC.unpack(stored)[0] != zlib.crc32(body):
            return None
        _, operation, token, other, is_over, number = _FORM.unpack(body)
        try:
            return cls(
                operation=Operation(operation),
                token=uuid.UUID(bytes=token),
                other=uuid.UUID(bytes=other),
                is_over=bool(is_over),
                number=number,
            )
        except ValueError:
            return None

    def encode(self) -> bytes:
        """Write the note, with its checksum."""
        body = _FORM.pack(
            _MAGIC, self.operation, self.token.bytes, self.other.bytes, self.is_over, self.number
        )
        return body + _CRC.pack(zlib.crc32(body))


def put(reserved: bytes, mark: Mark | None) -> bytes:
    """Replace or remove the note in a footer's reserved bytes.

    Raises ``ValueError`` where another program has filled all of the room.
    """
    if (old := reserved.find(_MAGIC)) >= 0:
        room = min(MARK_BYTES, len(reserved) - old)
        reserved = reserved[:old] + bytes(room) + reserved[old + room :]
    if mark is None:
        return reserved
    at = reserved.rfind(bytes(MARK_BYTES))
    if at < 0:
        raise ValueError("the footer has no room left for a note")
    return reserved[:at] + mark.encode() + reserved[at + MARK_BYTES :]
