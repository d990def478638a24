"""Cut the bytes of a guest's port into frames, and find the way back after any crash.

A frame is ``u32 length | u8 kind | u24 check | u32 stream | payload``, big-endian; the check is the
low part of a CRC-32 over the rest (of a long DATA frame over its end: see ``_covered``). Its first byte
is always 0, so 0xFF where a frame should begin is padding. Whoever begins anew sends a flood of 0xFF
longer than any frame: a half-read frame swallows some of it, fails its check, and the next frame after
the flood is read cleanly.

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
#: A decoder's own: a window of a stream, and a frame's beginning before it.
_BUFFER_BYTES = 5 * MAX_PAYLOAD_BYTES
_PAD = b"\xff"
#: This many padding bytes in a row end the hunt for a frame's beginning.
_SYNC = _PAD * 64
#: Of a longer DATA frame this much of its end is checked.
_WHOLE_BYTES = 4096
_END_BYTES = 512
_END_OF_PADDING = _PAD * _END_BYTES
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
#: As a plain number: looking a member up costs a guest more than comparing it.
_DATA = int(FrameKind.DATA)
_pack, _pack_into, _unpack_from, _crc32 = _HEADER.pack, _HEADER.pack_into, _HEADER.unpack_from, zlib.crc32


class Frame(NamedTuple):
    """One whole frame, its check passed."""

    kind: FrameKind
    stream: int
    #: Of DATA that was read in place: good until the next is read. See ``Decoder.filled``.
    payload: Bytes


class Fault(NamedTuple):
    """The other side broke the protocol."""

    reason: str


class Interruption(NamedTuple):
    """The other side stopped in the middle of a frame and began anew: a crash, not an offence."""

    reason: str


Decoded = Union[Frame, Fault, Interruption]
_new = tuple.__new__


def encode(kind: FrameKind, stream: int = 0, payload: Bytes = b"") -> bytes:
    """Return one frame's bytes; the payload is at most ``MAX_PAYLOAD_BYTES``."""
    length = len(payload)
    if length > MAX_PAYLOAD_BYTES:
        raise ValueError(f"a frame carries at most {MAX_PAYLOAD_BYTES} bytes")
    return b"".join((_pack(length, _word(kind, stream, payload), stream), payload))


def seal(frame: memoryview, kind: FrameKind, stream: int) -> None:
    """Make a frame of a payload that lies behind the place for its header: nothing is copied."""
    payload = frame[HEADER_BYTES:]
    _pack_into(frame, 0, len(payload), _word(kind, stream, payload), stream)


def _word(kind: int, stream: int, payload: Bytes) -> int:
    """Return a header's second word: the kind, and the check."""
    length, word = len(payload), kind << 24
    covered = payload if length <= _WHOLE_BYTES else _covered(word >> 24, payload)
    return word | _crc32(covered, _crc32(_pack(length, word, stream))) & 0xFFFFFF


def _covered(kind: int, payload: Bytes) -> Bytes:
    """Return what of a payload is checked: all, or the end of much data.

    A frame is only ever broken by its sender's end, and then filled up by the flood. So an end that is not
    padding proves that the whole arrived; one that is may be the flood's, and all is checked. Under
    emulation, the check of all data would cost a guest a fifth of its throughput.
    """
    if kind != _DATA or len(payload) <= _WHOLE_BYTES:
        return payload
    end = payload[-_END_BYTES:]
    return payload if end == _END_OF_PADDING else end


class Decoder:
    """Turns bytes, cut anywhere, into frames. Never holds more than its own buffer.

    Bytes are fed, or read by their source straight into ``room`` and then ``filled``.
    """

    def __init__(self) -> None:
        # Of one size for ever: a buffer that grows and shrinks is copied each time.
        self._buffer = bytearray(_BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        #: Where the bytes begin that are not decoded yet, and where they end.
        self._begin = 0
        self._end = 0
        #: Why it hunts for a sync, until that is reported.
        self._broken: Optional[str] = None
        self._hunting = False
        #: How many bytes are still to come of the frame that has begun; 0 where none has.
        self.wanted = 0

    def room(self) -> memoryview:
        """Return where the next bytes belong: never nothing, and enough for the frame in hand."""
        if self._begin == self._end:
            self._begin = self._end = 0
            return self._view
        if self._end > _BUFFER_BYTES - MAX_PAYLOAD_BYTES - _HEADER.size:
            size = self._end - self._begin
            self._view[:size] = self._view[self._begin : self._end]
            self._begin, self._end = 0, size
        return self._view[self._end :]

    def filled(self, size: int) -> List[Decoded]:
        """Take so many bytes that were put into ``room``, and return what they complete.

        The payload of DATA is not copied: it lies where it was read until ``room`` is asked for again.
        """
        self._end += size
        self.wanted = 0
        decoded: List[Decoded] = []
        while self._find_sync(decoded) if self._hunting else self._read_frame(decoded):
            pass
        return decoded

    def feed(self, data: Bytes) -> List[Decoded]:
        """Take the next bytes and return what they complete."""
        decoded: List[Decoded] = []
        while len(data):
            room = self.room()
            size = min(len(data), len(room))
            room[:size] = data[:size]
            data = data[size:]
            decoded += map(_kept, self.filled(size))
        return decoded

    def _hunt(self, reason: str) -> None:
        self._hunting, self._broken = True, reason

    def _read_frame(self, decoded: List[Decoded]) -> bool:
        filled = self._end
        if self._begin < filled and self._buffer[self._begin] == 0xFF:
            self._skip_padding()
        begin = self._begin + HEADER_BYTES
        if begin > filled:
            return False
        length, word, stream = _unpack_from(self._buffer, self._begin)
        code = word >> 24
        kind = _KINDS.get(code)
        if kind is None or length > MAX_PAYLOAD_BYTES:
            self._hunt(f"a frame of kind {code} with {length} bytes")
            return True
        end: int = begin + length
        if end > filled:
            self.wanted = end - filled
            return False
        payload: Bytes = self._view[begin:end]
        self._begin = end
        covered = payload if length <= _WHOLE_BYTES else _covered(code, payload)
        if (_crc32(covered, _crc32(_pack(length, code << 24, stream))) ^ word) & 0xFFFFFF:
            self._hunt("a frame that fails its check")
        else:
            decoded.append(_new(Frame, (kind, stream, payload if code == _DATA else bytes(payload))))
        return end < filled

    def _skip_padding(self) -> None:
        self._begin = self._end - len(self._buffer[self._begin : self._end].lstrip(_PAD))

    def _find_sync(self, decoded: List[Decoded]) -> bool:
        place = self._buffer.find(_SYNC, self._begin, self._end)
        size = self._end - self._begin
        if place < 0 and size < _HEADER.size + len(_SYNC):
            return False
        self._report(decoded, interrupted=0 <= place <= self._begin + _HEADER.size)
        if place < 0:
            self._begin = self._end - len(_SYNC) + 1
            return False
        self._begin = place
        self._hunting = False
        return True

    def _report(self, decoded: List[Decoded], interrupted: bool) -> None:
        if self._broken is not None:
            reason, self._broken = self._broken, None
            decoded.append(Interruption(reason) if interrupted else Fault(reason))


def _kept(decoded: Decoded) -> Decoded:
    """Return what may be kept for as long as one likes."""
    if isinstance(decoded, Frame) and decoded.kind is FrameKind.DATA:
        return Frame(decoded.kind, decoded.stream, bytes(decoded.payload))
    return decoded
