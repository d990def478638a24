"""Change bytes as a fuzzer does: flip, cut, repeat, splice, and put in what formats stumble over."""

from __future__ import annotations

import random
from collections.abc import Sequence

#: Numbers at the edges of their sizes, and texts that mean something to somebody.
_WORDS = (
    b"\x00", b"\xff", b"\x7f", b"\x80", b"\x00\x00\x00\x00", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff",
    b"-1", b"0", b"99999999999999999999", b"1e999", b"NaN", b"null", b"{}", b"[]", b'""', b"\r\n", b"%00",
    b"\xed\xa0\x80", b"\\ud800", b"\xe2\x80\xae", b"<", b">", b"&", b"&#0;",
    b"<!DOCTYPE a [<!ENTITY b 'c'>]>",
    b"]]>", b"'", b'"', b"(", b")", b"[", b"]", b";", b"../", b"=", b",", b"P1D", b"PT9999999999H",
    b"9999-12-31T23:59:59", b"0000-00-00",
)  # fmt: skip
_LONGEST = 64 * 1024


def mutated(seeds: Sequence[bytes], chance: random.Random) -> bytes:
    """Return one of the seeds, changed a few times."""
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.choice((1, 1, 2, 3, 5, 8))):
        _change(data, seeds, chance)
    return bytes(data[:_LONGEST])


def _change(data: bytearray, seeds: Sequence[bytes], chance: random.Random) -> None:
    at = chance.randrange(len(data) + 1)
    end = min(len(data), at + chance.choice((1, 2, 4, 16, 64)))
    match chance.randrange(7):
        case 0:
            data[at:end] = bytes(byte ^ (1 << chance.randrange(8)) for byte in data[at:end])
        case 1:
            del data[at:end]
        case 2:
            data[at:at] = data[at:end] * chance.choice((1, 2, 7, 50))
        case 3:
            data[at:end] = chance.choice(_WORDS)
        case 4:
            data[at:at] = chance.choice(_WORDS)
        case 5:
            other = chance.choice(seeds)
            start = chance.randrange(len(other) + 1)
            data[at:end] = other[start : start + chance.randrange(64)]
        case _:
            data[at:end] = chance.randbytes(end - at)
