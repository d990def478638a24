"""Footers are read and written as the specification says."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.disks.footer import CHECKSUM_AT, Damaged, Footer, checksum, vhd_time, with_checksum
from innkeeper.disks.geometry import Geometry
from innkeeper.disks.kind import Kind

numbers = st.integers(min_value=0, max_value=2**32 - 1)
footers = st.builds(
    Footer,
    kind=st.sampled_from([Kind.FIXED, Kind.DYNAMIC, Kind.DIFFERENCING]),
    current_size=st.integers(min_value=0, max_value=2**64 - 1),
    original_size=st.integers(min_value=0, max_value=2**64 - 1),
    unique_id=st.uuids(),
    data_offset=st.integers(min_value=0, max_value=2**64 - 1),
    timestamp=numbers,
    creator=st.binary(min_size=4, max_size=4),
    creator_version=numbers,
    creator_host=st.binary(min_size=4, max_size=4),
    geometry=st.builds(
        Geometry,
        cylinders=st.integers(0, 65535),
        heads=st.integers(0, 255),
        sectors_per_track=st.integers(0, 255),
    ),
    features=numbers,
    saved_state=st.booleans(),
    reserved=st.binary(min_size=427, max_size=427),
)


@given(footers)
def test_a_footer_survives_the_way_to_the_file_and_back(footer: Footer) -> None:
    """Nothing a footer says is lost, not even what Innkeeper does not know."""
    assert Footer.decode(footer.encode()) == footer


@given(footers, st.integers(0, 511), st.integers(1, 255))
def test_one_changed_byte_is_noticed(footer: Footer, at: int, change: int) -> None:
    """Whatever byte of a footer is changed, it is refused."""
    data = bytearray(footer.encode())
    data[at] ^= change
    with pytest.raises(Damaged):
        Footer.decode(bytes(data))


def test_the_footer_of_an_old_writer_lacks_its_last_byte() -> None:
    """The 511 bytes of Virtual PC before 2004 are a footer."""
    footer = Footer.new(Kind.DYNAMIC, 1 << 30)
    assert Footer.decode(footer.encode()[:511]) == footer


def test_fields_are_where_the_specification_puts_them() -> None:
    """The bytes of a known footer are the known bytes."""
    footer = Footer(
        kind=Kind.FIXED,
        current_size=0x1122334455667788,
        original_size=0x0102030405060708,
        unique_id=uuid.UUID("00112233-4455-6677-8899-aabbccddeeff"),
        data_offset=2**64 - 1,
        timestamp=0xA1A2A3A4,
        geometry=Geometry(cylinders=0x0305, heads=7, sectors_per_track=17),
    )
    data = footer.encode()
    assert data[:16].hex() == "636f6e6563746978" + "00000002" + "00010000"
    assert data[16:28].hex() == "ffffffffffffffff" + "a1a2a3a4"
    assert data[40:64].hex() == "0102030405060708" + "1122334455667788" + "03050711" + "00000002"
    assert data[68:85].hex() == "00112233445566778899aabbccddeeff" + "00"


@pytest.mark.parametrize(
    ("size_bytes", "chs"),
    [
        # Sizes that their geometry fits exactly, as qemu-img 7.2 makes them, and the cap.
        (1 * 4 * 17 * 512, (1, 4, 17)),
        (1015 * 4 * 17 * 512, (1015, 4, 17)),
        (1000 * 16 * 31 * 512, (1000, 16, 31)),
        (10_000 * 16 * 63 * 512, (10_000, 16, 63)),
        (65535 * 16 * 255 * 512, (65535, 16, 255)),
        (2040 << 30, (65535, 16, 255)),
    ],
)
def test_the_geometry_is_the_documented_one(size_bytes: int, chs: tuple[int, int, int]) -> None:
    """Cylinders, heads and sectors follow the specification's appendix, to its cap of 127.5 GiB."""
    geometry = Geometry.of(size_bytes)
    assert (geometry.cylinders, geometry.heads, geometry.sectors_per_track) == chs


@given(st.integers(min_value=6144, max_value=2040 << 21))
def test_no_geometry_is_larger_than_its_disk(sectors: int) -> None:
    """A reader that trusts the geometry never reads past the disk's end."""
    assert Geometry.of(sectors * 512).size_bytes <= sectors * 512


def test_time_begins_with_the_year_2000() -> None:
    """The first second of 2000 is zero, and what is earlier is zero too."""
    assert vhd_time(946_684_800) == 0
    assert vhd_time(946_684_800 + 1234.9) == 1234
    assert vhd_time(0) == 0


def test_the_checksum_is_the_complement_of_the_sum() -> None:
    """The checksum of a block of ones is the complement of how many there are."""
    data = with_checksum(b"\1" * 512, CHECKSUM_AT)
    assert checksum(data, CHECKSUM_AT) == 0xFFFF_FFFF - 508
