"""No mutated image crashes, hangs, or reads outside its bounds.

The everyday run is short and always the same; ``INNKEEPER_FUZZ=100000`` makes it long (``make bench`` does).
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from innkeeper import disks
from innkeeper.disks.chain import open_chain
from innkeeper.disks.check import check
from innkeeper.disks.file import ImageFile
from innkeeper.disks.footer import CHECKSUM_AT as FOOTER_CHECKSUM_AT
from innkeeper.disks.footer import with_checksum
from innkeeper.disks.header import CHECKSUM_AT as HEADER_CHECKSUM_AT
from innkeeper.errors import DiskError

Answer = TypeVar("Answer")

ROUNDS = int(os.environ.get("INNKEEPER_FUZZ", "2500"))
SIZE = 3 << 20
BLOCK = 64 << 10
SECRET = b"secret-of-the-host"
#: Where the numbers are: footer, header, table, locators.
TELLING = 4096
NUMBERS = (0, 1, 2, 3, 0x7F, 0xFF, 0x200, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFE, 0xFFFF_FFFF)


@pytest.fixture
def images(in_memory: Path) -> dict[str, bytes]:
    """Make a fixed, a dynamic and a differencing image, small ones, as bytes."""
    disks.create_fixed(in_memory / "fixed.vhd", SIZE, durable=False)
    disks.create_dynamic(in_memory / "parent.vhd", SIZE, block_bytes=BLOCK, durable=False)
    with disks.open(in_memory / "parent.vhd", writable=True) as disk:
        for block in (0, 5, 9):
            disk.pwrite(b"d" * 3000, block * BLOCK + 100)
    disks.create_differencing(in_memory / "child.vhd", in_memory / "parent.vhd", durable=False)
    with disks.open(in_memory / "child.vhd", writable=True) as disk:
        disk.pwrite(b"c" * 3000, 5 * BLOCK + 1000)
    found = {path.name: path.read_bytes() for path in in_memory.glob("*.vhd")}
    (in_memory / "secret").write_bytes(SECRET * 1000)
    return found


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Change bytes, put in telling numbers, cut off, repeat; and mostly make the checksums right again."""
    image = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 4, 8])):
        at = _place(len(image), chance)
        what = chance.randrange(6)
        if what == 0:
            image[at : at + 1] = chance.randbytes(1)
        elif what == 1:
            size = chance.choice([2, 4, 8])
            image[at : at + size] = (chance.choice(NUMBERS) & ((1 << 8 * size) - 1)).to_bytes(size, "big")
        elif what == 2:
            image[at : at + 16] = chance.randbytes(16)
        elif what == 3:
            del image[at : at + chance.choice([1, 512, 5000, 1 << 20])]
        elif what == 4:
            source = _place(len(image), chance)
            image[at : at + 512] = image[source : source + 512]
        else:
            image[at:at] = bytes(chance.choice([1, 511, 512, 4096]))
    if chance.random() < 0.8:
        _mend(image)
    return bytes(image)


def _place(length: int, chance: random.Random) -> int:
    """Choose a place, mostly among the numbers at the start and the end."""
    if not length:
        return 0
    kind = chance.random()
    if kind < 0.6:
        return chance.randrange(min(TELLING, length))
    return max(0, length - chance.randrange(1, 600)) if kind < 0.85 else chance.randrange(length)


def _mend(image: bytearray) -> None:
    """Make checksums right, so that the numbers behind them are believed."""
    for at in (0, len(image) - 512):
        if at >= 0 and image[at : at + 8] == b"conectix" and len(image) >= at + 512:
            image[at : at + 512] = with_checksum(bytes(image[at : at + 512]), FOOTER_CHECKSUM_AT)
    if image[512:520] == b"cxsparse" and len(image) >= 1536:
        image[512:1536] = with_checksum(bytes(image[512:1536]), HEADER_CHECKSUM_AT)


@pytest.fixture
def bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail on any read that begins before a file, or asks for more than a piece of it."""
    real_read, real_fill = ImageFile.pread, ImageFile.read_into

    def pread(self: ImageFile, size: int, offset: int) -> bytes:
        assert offset >= 0
        assert 0 <= size <= 1 << 20
        return real_read(self, size, offset)

    def read_into(self: ImageFile, buffer: memoryview, offset: int) -> None:
        # What is read of a block lies inside the file; its last one may be cut off at the disk's end.
        assert 0 <= offset <= self.size
        real_fill(self, buffer, offset)

    monkeypatch.setattr(ImageFile, "pread", pread)
    monkeypatch.setattr(ImageFile, "read_into", read_into)


@pytest.mark.timeout(60 + ROUNDS)
def test_mutated_images_are_read_or_refused(
    in_memory: Path, images: dict[str, bytes], bounded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Open, read and check of any mutated image end, with data of the chain or a documented error."""
    monkeypatch.chdir(in_memory)
    chance = random.Random(int(os.environ.get("INNKEEPER_FUZZ_SEED", "1")))
    opened = 0
    for number in range(ROUNDS):
        name = chance.choice(list(images))
        path = in_memory / f"m{number % 4}.vhd"
        path.write_bytes(mutated(images[name], chance))
        try:
            opened += _exercise(path)
        except Exception:
            shutil.copy(path, Path(tempfile.gettempdir()) / f"innkeeper-fuzz-{number}.vhd")
            raise
    assert opened > ROUNDS // 20


def _exercise(path: Path) -> bool:
    """Open, read and check; says whether it opened."""
    for finding in _documented(lambda: check(path)) or []:
        assert finding.sentence
    chain = _documented(lambda: open_chain(path, ignore_parent_time=True))
    if chain is None:
        return False
    with disks.Disk(chain) as disk:
        for offset in (0, 5 * BLOCK, disk.size_bytes - 4096, disk.size_bytes // 2):
            data = _documented(lambda offset=offset: disk.pread(4096, max(0, offset)))  # type: ignore[misc]
            assert data is None or SECRET not in data
        for number, extent in enumerate(_bearing(disk)):
            assert extent.length > 0
            if number == 100:
                break
    return True


def _bearing(disk: disks.Disk) -> list[disks.Extent]:
    return _documented(lambda: list(disk.extents(0, min(disk.size_bytes, 64 << 20)))) or []


def _documented(work: Callable[[], Answer]) -> Answer | None:
    """Do it; a documented error is an answer too."""
    try:
        return work()
    except DiskError:
        return None
