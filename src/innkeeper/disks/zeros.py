"""Test whether bytes are all zero, at the speed of memory.

A range is zero when its first eight bytes are and it equals itself shifted by eight: one ``memcmp``, which
stops at the first difference and lets other threads run meanwhile.
"""

from __future__ import annotations

import ctypes

from innkeeper.disks.file import ImageFile

#: Fits the second-level cache: what was just read is compared before it is gone.
WINDOW_BYTES = 512 << 10
PROBE_BYTES = 4096

_memcmp = ctypes.CDLL(None).memcmp
_memcmp.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]


def is_zero(data: bytes | memoryview) -> bool:
    """Return whether all bytes are zero."""
    if len(data) < PROBE_BYTES:
        return not any(data)
    data = bytes(data) if isinstance(data, memoryview) else data
    return data.startswith(bytes(8)) and data[8:] == data[:-8]


class ZeroFinder:
    """Search for zeros in files, through one buffer of its own."""

    def __init__(self) -> None:
        self._buffer = memoryview(bytearray(WINDOW_BYTES))
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self._buffer))

    def is_zero(self, file: ImageFile, offset: int, length: int) -> bool:
        """Return whether a range of the file reads as zero; data mostly shows in the first page."""
        part = min(PROBE_BYTES, length)
        while length:
            file.read_into(self._buffer[:part], offset)
            if not self._is_clear(part):
                return False
            offset, length = offset + part, length - part
            part = min(WINDOW_BYTES, length)
        return True

    def _is_clear(self, length: int) -> bool:
        if any(self._buffer[:8]):
            return False
        return length <= 8 or _memcmp(self._address, self._address + 8, length - 8) == 0
