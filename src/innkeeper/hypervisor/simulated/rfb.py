"""Serve a simulated screen by RFB 3.8, as QEMU's VNC server would: bytes in, events out."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable, Iterator, Sequence

from PIL import Image

VERSION = b"RFB 003.008\n"
_SECURITY_NONE = 1
_DESKTOP_SIZE = -223
_EXTENDED_DESKTOP_SIZE = -308
_RAW = 0
_MAX_CUT_TEXT = 64 * 1024


class Malformed(Exception):
    """The client said what no RFB client says; the connection ends."""


@dataclasses.dataclass(frozen=True, slots=True)
class KeyEvent:
    """A key went down or up; ``keysym`` is X11's number of what is on it."""

    keysym: int
    down: bool


@dataclasses.dataclass(frozen=True, slots=True)
class PointerEvent:
    """The pointer is there, with these buttons down."""

    x: int
    y: int
    buttons: int


@dataclasses.dataclass(frozen=True, slots=True)
class UpdateAsked:
    """The client wants the screen: whatever it shows, or (``incremental``) when it has changed."""

    incremental: bool


@dataclasses.dataclass(frozen=True, slots=True)
class SizeAsked:
    """The client wants another size."""

    width: int
    height: int


ClientEvent = KeyEvent | PointerEvent | UpdateAsked | SizeAsked


@dataclasses.dataclass(frozen=True, slots=True)
class PixelFormat:
    """The client's pixel format: four bytes each, a byte a colour."""

    red_shift: int = 16
    green_shift: int = 8
    blue_shift: int = 0
    big_endian: bool = False

    #: As it travels in the server's greeting.
    DEFAULT = struct.pack(">BBBBHHHBBB3x", 32, 24, 0, 1, 255, 255, 255, 16, 8, 0)

    @classmethod
    def parse(cls, data: bytes) -> PixelFormat:
        """Read the client's wish. Raises ``Malformed`` for other than 32 bits of true colour."""
        bits, _, big, true_colour, *maxima, red, green, blue = struct.unpack(">BBBBHHHBBB3x", data)
        if bits != 32 or not true_colour or maxima != [255] * 3 or {red, green, blue} - {0, 8, 16, 24}:
            raise Malformed("pixels of another form than 32 bits")
        return cls(red, green, blue, bool(big))

    def pixels(self, image: Image.Image) -> bytes:
        """The picture's bytes in this form."""
        blank = Image.new("L", image.size)
        red, green, blue = image.split()
        planes = {self.red_shift: red, self.green_shift: green, self.blue_shift: blue}
        ordered = [planes.get(shift, blank) for shift in (0, 8, 16, 24)]
        return Image.merge("RGBA", ordered[::-1] if self.big_endian else ordered).tobytes()


class RfbServer:
    """One connection's protocol. What is to be sent is taken with ``take_output``."""

    def __init__(self, name: str, size: tuple[int, int]) -> None:
        self._name = name.encode()
        self._size = size
        self._buffer = bytearray()
        self._output = bytearray(VERSION)
        self._step: Callable[[], Sequence[ClientEvent] | None] = self._version
        self._format = PixelFormat()
        self._encodings: frozenset[int] = frozenset()

    def receive(self, data: bytes) -> Iterator[ClientEvent]:
        """Parse what the client sent into events. Raises ``Malformed``."""
        self._buffer += data
        while (events := self._step()) is not None:
            yield from events

    def take_output(self) -> bytes:
        """The bytes to be sent now."""
        data = bytes(self._output)
        self._output.clear()
        return data

    def show(self, image: Image.Image) -> None:
        """Send the whole screen."""
        rectangles: list[bytes] = []
        if image.size != self._size:
            self._size = image.size
            rectangles += self._resized()
        rectangles.append(struct.pack(">HHHHi", 0, 0, *self._size, _RAW) + self._format.pixels(image))
        self._output += struct.pack(">BxH", 0, len(rectangles)) + b"".join(rectangles)

    def _resized(self) -> list[bytes]:
        width, height = self._size
        if _EXTENDED_DESKTOP_SIZE in self._encodings:
            screen = struct.pack(">B3xIHHHHI", 1, 0, 0, 0, width, height, 0)
            return [struct.pack(">HHHHi", 0, 0, width, height, _EXTENDED_DESKTOP_SIZE) + screen]
        if _DESKTOP_SIZE in self._encodings:
            return [struct.pack(">HHHHi", 0, 0, width, height, _DESKTOP_SIZE)]
        raise Malformed("a client that cannot follow another size")

    # One method a message; each returns nothing while it has not all of it

    def _take(self, count: int) -> bytes | None:
        if len(self._buffer) < count:
            return None
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    def _version(self) -> Sequence[ClientEvent] | None:
        message = self._take(len(VERSION))
        if message is None:
            return None
        if message != VERSION:
            raise Malformed("another version than RFB 3.8")
        self._output += bytes([1, _SECURITY_NONE])
        self._step = self._security
        return ()

    def _security(self) -> Sequence[ClientEvent] | None:
        message = self._take(1)
        if message is None:
            return None
        if message[0] != _SECURITY_NONE:
            raise Malformed("a password that nobody asked for")
        self._output += struct.pack(">I", 0)
        self._step = self._initialise
        return ()

    def _initialise(self) -> Sequence[ClientEvent] | None:
        if self._take(1) is None:
            return None
        self._output += struct.pack(">HH", *self._size) + PixelFormat.DEFAULT
        self._output += struct.pack(">I", len(self._name)) + self._name
        self._step = self._message
        return ()

    def _message(self) -> Sequence[ClientEvent] | None:
        if not self._buffer:
            return None
        read = {
            0: self._set_pixel_format,
            2: self._set_encodings,
            3: self._update_request,
            4: self._key,
            5: self._pointer,
            6: self._cut_text,
            251: self._set_size,
        }.get(self._buffer[0])
        if read is None:
            raise Malformed(f"a message of kind {self._buffer[0]}")
        return read()

    def _set_pixel_format(self) -> Sequence[ClientEvent] | None:
        message = self._take(20)
        if message is None:
            return None
        self._format = PixelFormat.parse(message[4:])
        return ()

    def _set_encodings(self) -> Sequence[ClientEvent] | None:
        if len(self._buffer) < 4:
            return None
        count = struct.unpack_from(">H", self._buffer, 2)[0]
        message = self._take(4 + 4 * count)
        if message is None:
            return None
        self._encodings = frozenset(struct.unpack_from(f">{count}i", message, 4))
        return ()

    def _update_request(self) -> Sequence[ClientEvent] | None:
        message = self._take(10)
        return None if message is None else (UpdateAsked(incremental=bool(message[1])),)

    def _key(self) -> Sequence[ClientEvent] | None:
        message = self._take(8)
        if message is None:
            return None
        down, keysym = struct.unpack(">xBxxI", message)
        return (KeyEvent(keysym, bool(down)),)

    def _pointer(self) -> Sequence[ClientEvent] | None:
        message = self._take(6)
        if message is None:
            return None
        buttons, x, y = struct.unpack(">xBHH", message)
        return (PointerEvent(x, y, buttons),)

    def _cut_text(self) -> Sequence[ClientEvent] | None:
        if len(self._buffer) < 8:
            return None
        length = struct.unpack_from(">I", self._buffer, 4)[0]
        if length > _MAX_CUT_TEXT:
            raise Malformed("a text without an end")
        return None if self._take(8 + length) is None else ()

    def _set_size(self) -> Sequence[ClientEvent] | None:
        if len(self._buffer) < 8:
            return None
        width, height, screens = struct.unpack_from(">xxHHB", self._buffer)
        if self._take(8 + 16 * screens) is None:
            return None
        return (SizeAsked(width, height),)
