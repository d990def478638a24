"""Give the tests of the disks room small disks, and a model to hold them against."""

from __future__ import annotations

import os
import random
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from innkeeper import disks

MIB = 1 << 20

#: Writes ``count`` random pieces into a disk and into the model of its content.
Scribble = Callable[[Path, bytearray, int], None]


@pytest.fixture
def in_memory() -> Iterator[Path]:
    """Give a folder in memory, for tests that sync thousands of times and need no disk behind it."""
    shared = Path("/dev/shm")
    base = shared if os.access(shared, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="innkeeper-test-", dir=base) as folder:
        yield Path(folder)


@pytest.fixture
def scribble() -> Scribble:
    """Write the same random pieces into a disk and into its model, edges of sectors among them."""
    chance = random.Random(7)

    def write(path: Path, model: bytearray, count: int = 20) -> None:
        with disks.open(path, writable=True) as disk:
            for _ in range(count):
                offset = chance.randrange(len(model))
                wanted = chance.choice([1, 511, 512, 513, 4096, 70_000, 2 * MIB + 1])
                length = min(wanted, len(model) - offset)
                data = bytes(length) if chance.random() < 0.2 else chance.randbytes(length)
                disk.pwrite(data, offset)
                model[offset : offset + length] = data

    return write


@pytest.fixture
def content() -> Callable[[Path], bytes]:
    """Read a whole disk."""

    def read(path: Path) -> bytes:
        with disks.open(path) as disk:
            return disk.pread(disk.size_bytes, 0)

    return read


@pytest.fixture
def run() -> Callable[..., str]:
    """Run a program to its end; a failure fails the test with what it said."""

    def call(*command: str | Path, check: bool = True) -> str:
        done = subprocess.run(
            [str(word) for word in command], capture_output=True, text=True, timeout=120, check=False
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    return call
