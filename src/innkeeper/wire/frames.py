"""Cut the bytes of a guest's port into frames, and find the way back after any crash.

A frame is ``u32 length | u8 kind | u24 check | u32 stream | payload``, big-endian; the check is the
low part of a CRC-32 over the rest. Its first byte is always 0, so 0xFF where a frame should begin is
padding. Whoever begins anew sends a flood of 0xFF longer than any frame: a half-read frame swallows
some of it, fails its check, and the next frame after the flood is read cleanly.

No I/O here, and no exception for any bytes: what breaks the protocol is a value too. Ships inside the
agent, so it keeps to the standard library and the grammar of Python 3.6.
"""

import enum
import struct
import zlib
from typing import List, NamedTuple, Optional, Union

#: The most bytes one frame carries.
MAX_PAYLOAD_BYTES = 64 * 1024

#: Bytes that are read before the call returns; what must be kept is copied.
Bytes = Union[bytes, memoryview]

_HEADER = struct.Struct(">III")
HEADER_BYTES = _HEADER.size
_PAD = b"\xff"
#: This many padding bytes in a row end the hunt for a frame's beginning.
_SYNC = _PAD * 64
#: Longer than whatever a reader may still want for the frame it is in, and a sync after it.
FLOOD = _PAD * (MAX_PAYLOAD_BYTES + _HEADER.size + len(_SYNC))


class FrameKind(enum.IntEnum):
    """What a frame is for, and who sends it."""

    #: Host: a new session begins; a nonce, then the host's greeting.
    HELLO = 1
    #: Guest: the nonce of the HELLO, then the guest's greeting.
    ACK = 2
    #: Guest: it has just started, or has lost its place; the host begins a session.
    READY = 3
    #: Both: the beginning of a message too long for one frame.
    PART = 4
    #: Host: a question; ``stream`` numbers it.
    CALL = 5
    #: Guest: the answer to a CALL.
    RESULT = 6
    #: Guest: something that may be lost, as progress and output.
    TELL = 7
    #: Guest: something that must not be lost; sent again until NOTED.
    NOTICE = 8
    #: Host: the answer to a NOTICE.
    NOTED = 9
    #: Both: are you there?
    PING = 10
    PONG = 11
    #: Host: join a new stream to a TCP port of the guest.
    OPEN = 12
    #: Guest: it is joined.
    OPENED = 13
    #: Both: bytes of a stream, within the credit the other side gave.
    DATA = 14
    #: Both: more credit, in bytes.
    CREDIT = 15
    #: Both: no more DATA from this side.
    EOF = 16
    #: Both: the stream is gone. Answered by RST.
    RST = 17


_KINDS = {int(kind): kind for kind in FrameKind}


class Frame(NamedTuple):
    """One whole frame, its check passed."""

    kind: FrameKind
    stream: int
    payload: bytes


class Fault(NamedTuple):
    """The other side broke the protocol."""

    reason: str


class Interruption(NamedTuple):
    """The other side stopped in the middle of a frame and began anew: a crash, not an offence."""

    reason: str


Decoded = Union[Frame, Fault, Interruption]


def encode(kind: FrameKind, stream: int = 0, payload: Bytes = b"") -> bytes:
    """Return one frame's bytes; the payload is at most ``MAX_PAYLOAD_BYTES``."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"a frame carries at most {MAX_PAYLOAD_BYTES} bytes")
    word = (kind << 24) | _check(len(payload), kind, stream, payload)
    return b"".join((_HEADER.pack(len(payload), word, stream), payload))


def _check(length: int, kind: int, stream: int, payload: Bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(_HEADER.pack(length, kind << 24, stream))) & 0xFFFFFF


class Decoder:
    """Turns bytes, cut anywhere, into frames. Never holds more than one frame and what it was fed."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        #: Why it hunts for a sync, until that is reported.
        self._broken: Optional[str] = None
        self._hunting = False

    def feed(self, data: Bytes) -> List[Decoded]:
        """Take the next bytes and return what they complete."""
        self._buffer += data
        decoded: List[Decoded] = []
        while self._step(decoded):
            pass
        return decoded

    def _hunt(self, reason: str) -> None:
        self._hunting, self._broken = True, reason

    def _step(self, decoded: List[Decoded]) -> bool:
        return self._find_sync(decoded) if self._hunting else self._read_frame(decoded)

    def _read_frame(self, decoded: List[Decoded]) -> bool:
        self._skip_padding()
        if len(self._buffer) < _HEADER.size:
            return False
        length, word, stream = _HEADER.unpack_from(self._buffer)
        kind = _KINDS.get(word >> 24)
        if kind is None or length > MAX_PAYLOAD_BYTES:
            self._hunt(f"a frame of kind {word >> 24} with {length} bytes")
            return True
        end = _HEADER.size + length
        if len(self._buffer) < end:
            return False
        # One copy; the view must be gone before the buffer may shrink.
        with memoryview(self._buffer) as view:
            payload = bytes(view[_HEADER.size : end])
        del self._buffer[:end]
        if _check(length, kind, stream, payload) == word & 0xFFFFFF:
            decoded.append(Frame(kind, stream, payload))
        else:
            self._hunt("a frame that fails its check")
        return True

    def _skip_padding(self) -> None:
        if self._buffer and self._buffer[0] == 0xFF:
            self._buffer = self._buffer.lstrip(_PAD)

    def _find_sync(self, decoded: List[Decoded]) -> bool:
        place = self._buffer.find(_SYNC)
        if place < 0 and len(self._buffer) < _HEADER.size + len(_SYNC):
            return False
        self._report(decoded, interrupted=0 <= place <= _HEADER.size)
        if place < 0:
            del self._buffer[: 1 - len(_SYNC)]
            return False
        del self._buffer[:place]
        self._hunting = False
        return True

    def _report(self, decoded: List[Decoded], interrupted: bool) -> None:
        if self._broken is not None:
            reason, self._broken = self._broken, None
            decoded.append(Interruption(reason) if interrupted else Fault(reason))
