"""Frames, cut anywhere, and the way back after anything."""

from __future__ import annotations

import random
import struct
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.wire.frames import (
    FLOOD,
    HEADER_BYTES,
    MAX_PAYLOAD_BYTES,
    Decoded,
    Decoder,
    Fault,
    Frame,
    FrameKind,
    Interruption,
    encode,
    seal,
)

FRAMES = st.lists(
    st.builds(
        Frame,
        st.sampled_from(FrameKind),
        st.integers(0, 2**32 - 1),
        st.one_of(st.binary(max_size=300), st.just(b"\xff" * 5000), st.just(bytes(MAX_PAYLOAD_BYTES))),
    ),
    max_size=6,
)


def decode(data: bytes, cuts: list[int]) -> list[Decoded]:
    """Feed the bytes in pieces."""
    decoder, decoded, begin = Decoder(), [], 0
    for cut in [*sorted(cut % (len(data) + 1) for cut in cuts), len(data)]:
        decoded += decoder.feed(data[begin:cut])
        begin = max(begin, cut)
    return decoded


@given(FRAMES, st.lists(st.integers(0, 10**6), max_size=20))
def test_frames_come_out_as_they_went_in(frames: list[Frame], cuts: list[int]) -> None:
    """However the bytes are cut, and whatever padding lies between, the frames are the same."""
    data = b"\xff\xff".join(encode(*frame) for frame in frames)
    assert decode(data, cuts) == frames


@given(FRAMES, st.lists(st.integers(0, 10**6), max_size=20))
def test_frames_read_in_place_are_the_same(frames: list[Frame], cuts: list[int]) -> None:
    """A port that reads into the decoder's own room gets the same frames, and is told what is to come."""
    data, decoder, got = b"".join(encode(*frame) for frame in frames), Decoder(), []
    while data:
        room = decoder.room()
        size = min(len(data), len(room), cuts.pop() if cuts else len(room))
        room[:size] = data[:size]
        data = data[size:]
        got += [
            Frame(f.kind, f.stream, bytes(f.payload)) for f in decoder.filled(size) if isinstance(f, Frame)
        ]
        assert decoder.wanted <= len(data)
    assert got == frames


@given(st.one_of(st.binary(max_size=300), st.sampled_from((bytes(60000), b"\xff" * 5000))))
def test_sealed_frame_is_an_encoded_one(payload: bytes) -> None:
    """A frame that is made where its payload lies has the same bytes as one that is built."""
    frame = bytearray(HEADER_BYTES) + payload
    seal(memoryview(frame), FrameKind.DATA, 7)
    assert frame == encode(FrameKind.DATA, 7, payload)


@given(FRAMES, st.integers(0, 10**6), st.lists(st.integers(0, 10**6), max_size=20))
def test_flood_frees_a_reader_from_any_half_frame(frames: list[Frame], end: int, cuts: list[int]) -> None:
    """A sender that died anywhere is heard again after its flood, and its death is no offence."""
    stream = b"".join(encode(*frame) for frame in frames)
    cut = end % (len(stream) + 1)
    hello = Frame(FrameKind.HELLO, 0, b"nonce")
    decoded = decode(stream[:cut] + FLOOD + encode(*hello), cuts)
    assert decoded[-1] == hello
    assert not any(isinstance(event, Fault) for event in decoded)
    assert sum(isinstance(event, Interruption) for event in decoded) <= 1


@given(
    st.integers(4000, 20_000),
    st.integers(0, 2000),
    st.sampled_from([0x00, 0x41, 0xFF]),
    st.integers(0, 10**6),
)
def test_data_cut_off_anywhere_is_never_delivered_changed(
    size: int, padding: int, byte: int, end: int
) -> None:
    """However much of a long frame's end is padding itself, what the flood filled up does not pass for it."""
    payload = bytes([byte]) * size + b"\xff" * padding
    whole = encode(FrameKind.DATA, 1, payload)
    cut = end % len(whole)
    for event in decode(whole[:cut] + FLOOD + encode(FrameKind.HELLO, 0, b"nonce"), []):
        assert not isinstance(event, Frame) or event.kind is FrameKind.HELLO or event.payload == payload


@given(st.binary(max_size=2000), st.lists(st.integers(0, 10**6), max_size=20))
def test_reader_finds_its_way_out_of_any_garbage(garbage: bytes, cuts: list[int]) -> None:
    """After any bytes at all, the frame behind a flood is read."""
    hello = Frame(FrameKind.HELLO, 7, b"nonce")
    assert decode(garbage + FLOOD + encode(*hello), cuts)[-1] == hello


@pytest.mark.parametrize(
    "header",
    [
        struct.pack(">III", 0x7FFFFFFF, FrameKind.DATA << 24, 1),
        struct.pack(">III", MAX_PAYLOAD_BYTES + 1, FrameKind.DATA << 24, 1),
        struct.pack(">III", 0, 0, 1),
        struct.pack(">III", 0, 99 << 24, 1),
        struct.pack(">III", 3, FrameKind.DATA << 24, 1) + b"abc",
    ],
    ids=["2 GiB", "one too many", "kind 0", "kind 99", "wrong check"],
)
def test_lie_in_a_header_is_a_fault(header: bytes) -> None:
    """A length, kind or check that cannot be is reported once, without waiting for more than a sync."""
    decoded = decode(header + b"x" * 200, [])
    assert [type(event) for event in decoded] == [Fault]


def test_changed_byte_never_passes_for_a_frame() -> None:
    """No single changed byte of a frame goes unseen."""
    good = encode(FrameKind.DATA, 3, b"hello, world")
    for at in range(len(good)):
        bad = bytearray(good)
        bad[at] ^= 0x41
        assert not [e for e in decode(bytes(bad), []) if isinstance(e, Frame)]


def test_check_covers_the_header() -> None:
    """The check is the low part of a CRC-32 over length, kind, stream and payload: no stream is another's."""
    header = struct.pack(">III", 2, FrameKind.DATA << 24, 9)
    check = zlib.crc32(header + b"ab") & 0xFFFFFF
    assert encode(FrameKind.DATA, 9, b"ab")[4:8] == struct.pack(">I", (FrameKind.DATA << 24) | check)


def test_decoder_holds_no_more_than_a_frame() -> None:
    """Endless lies, half frames and noise leave memory where it was."""
    noise = random.Random(11)
    decoder = Decoder()
    tracemalloc.start()
    try:
        for _ in range(300):
            decoder.feed(noise.randbytes(8192))
            decoder.feed(struct.pack(">III", 65536, FrameKind.DATA << 24, 1))
            decoder.feed(b"\x00" * 4096)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 512 * 1024


def test_too_long_a_payload_is_our_own_mistake() -> None:
    """A sender may not build what no receiver takes."""
    with pytest.raises(ValueError, match="at most"):
        encode(FrameKind.DATA, 1, bytes(MAX_PAYLOAD_BYTES + 1))
