"""The guest's free room is found where its file system can be relied on, and nowhere else."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from innkeeper import disks
from innkeeper.disks.chain import Chain
from innkeeper.disks.guest.free import free_ranges
from innkeeper.disks.kind import Kind
from innkeeper.disks.raw import open_raw

SIZE = 48 << 20
START = 1 << 20

Make = Callable[[Path], None]


def free_of(path: Path) -> list[tuple[int, int]]:
    """Find the free ranges of a raw disk."""
    chain: Chain = open_raw(path)
    try:
        return list(free_ranges(chain))
    finally:
        chain.close()


def in_a_partition(volume: Path, disk: Path, *, table: str) -> None:
    """Put a volume into a partition that begins at one megabyte."""
    length = volume.stat().st_size
    content = bytearray(START) + volume.read_bytes() + bytes(1 << 20)
    if table == "gpt":
        content[450] = 0xEE
        struct.pack_into("<II", content, 454, 1, len(content) // 512 - 1)
        content[512:520] = b"EFI PART"
        struct.pack_into("<QII", content, 512 + 72, 2, 128, 128)
        content[1024:1040] = b"\1" * 16
        struct.pack_into("<QQ", content, 1024 + 32, START // 512, (START + length) // 512 - 1)
    else:
        content[450] = 0x83
        struct.pack_into("<II", content, 454, START // 512, length // 512)
    content[510:512] = b"\x55\xaa"
    disk.write_bytes(content)


@pytest.fixture
def ext4(tmp_path: Path, run: Callable[..., str]) -> tuple[Path, bytes]:
    """Make an ext4 volume with one file in it, its free blocks full of what was deleted: (volume, file)."""
    volume, kept = tmp_path / "ext4.raw", tmp_path / "kept"
    chance = random.Random(6)
    kept.write_bytes(chance.randbytes(5 << 20))
    volume.write_bytes(chance.randbytes(SIZE))
    # Without uninit_bg the bitmaps of all groups are written, as they are on a volume that was once full.
    features = "^metadata_csum,^uninit_bg"
    run("mkfs.ext4", "-q", "-F", "-O", features, "-E", "nodiscard,lazy_itable_init=0", volume)
    run("debugfs", "-w", "-R", f"write {kept} kept", volume)
    return volume, kept.read_bytes()


@pytest.mark.parametrize("table", ["none", "mbr", "gpt"])
def test_free_blocks_of_ext4_are_given_back(
    ext4: tuple[Path, bytes], tmp_path: Path, run: Callable[..., str], table: str
) -> None:
    """After compacting, the file system is whole, its file is there, and the disk is small."""
    volume, kept = ext4
    raw = tmp_path / "disk.raw"
    if table == "none":
        shutil.copy(volume, raw)
    else:
        in_a_partition(volume, raw, table=table)
    path = disks.convert(raw, tmp_path / "d.vhd", Kind.DYNAMIC, source_kind=Kind.RAW)
    with disks.open(path) as disk:
        assert disk.compact() < 4 << 20
        assert disk.compact(free_blocks=True) > SIZE // 2
        back = disk.convert(tmp_path / "back.raw", "raw")
    start = 0 if table == "none" else START
    (tmp_path / "volume").write_bytes(back.read_bytes()[start : start + SIZE])
    run("e2fsck", "-fn", tmp_path / "volume")
    run("debugfs", "-R", f"dump kept {tmp_path / 'out'}", tmp_path / "volume")
    assert (tmp_path / "out").read_bytes() == kept


def test_an_ext4_that_was_not_closed_is_left_alone(ext4: tuple[Path, bytes]) -> None:
    """With its journal to be replayed, or errors in it, a volume's bitmaps are not relied on."""
    volume, _ = ext4
    assert free_of(volume)
    whole = volume.read_bytes()
    for offset, mask in ((1024 + 96, 0x04), (1024 + 58, 0x02)):
        content = bytearray(whole)
        content[offset] |= mask
        volume.write_bytes(content)
        assert free_of(volume) == []


@pytest.mark.skipif(not shutil.which("mkntfs"), reason="ntfs-3g is not installed")
def test_free_clusters_of_ntfs_are_given_back(tmp_path: Path, run: Callable[..., str]) -> None:
    """The same for NTFS, and a volume that was not closed in order is left alone."""
    volume, kept = tmp_path / "ntfs.raw", tmp_path / "kept"
    chance = random.Random(8)
    kept.write_bytes(chance.randbytes(5 << 20))
    volume.write_bytes(chance.randbytes(SIZE))
    run("mkntfs", "-q", "-Q", "-F", "-p", "2048", "-s", "512", "-H", "255", "-S", "63", volume)
    run("ntfscp", volume, kept, "kept")
    path = disks.convert(volume, tmp_path / "d.vhd", Kind.DYNAMIC, source_kind=Kind.RAW)
    with disks.open(path) as disk:
        assert disk.compact(free_blocks=True) > SIZE // 2
        back = disk.convert(tmp_path / "back.raw", "raw")
    run("ntfsfix", "-n", back)
    out = subprocess.run(["ntfscat", back, "kept"], capture_output=True, check=True, timeout=60).stdout
    assert out == kept.read_bytes()
    assert free_of(volume)
    # mkntfs leaves an empty journal; Windows' begins with a page that says whether it was closed in order.
    content = bytearray(volume.read_bytes())
    at = content.index(b"\xff" * (64 << 10))
    for flags, is_closed in ((0, False), (2, True)):
        struct.pack_into("<4s20xH22xHH", content, at, b"RSTR", 36, 0, flags)
        volume.write_bytes(content)
        assert bool(free_of(volume)) == is_closed


def test_hostile_volumes_are_survived(ext4: tuple[Path, bytes]) -> None:
    """Whatever the numbers in a volume say, the search ends, inside the disk and in order."""
    volume, _ = ext4
    head = volume.read_bytes()[: 2 << 20]
    chance = random.Random(9)
    for _ in range(60):
        content = bytearray(head)
        for _ in range(chance.choice([1, 3, 10])):
            content[1024 + chance.randrange(1024)] = chance.randrange(256)
            content[4096 + chance.randrange(4096)] = chance.randrange(256)
        with volume.open("r+b") as stream:
            stream.write(content)
        ranges = free_of(volume)
        assert all(0 <= offset < offset + length <= SIZE for offset, length in ranges)
        assert ranges == sorted(ranges)
