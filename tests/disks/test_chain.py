"""A chain of disks reads and writes as one flat disk would."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from innkeeper import disks
from innkeeper.disks.kind import Kind
from innkeeper.errors import DiskError, ErrorCode, InvalidArgument

SIZE = 3 << 20
BLOCK = 64 << 10

offsets = st.integers(0, SIZE - 1)
lengths = st.one_of(
    st.integers(1, 2000), st.sampled_from([512, 4096, BLOCK, BLOCK + 512]), st.integers(1, 4 * BLOCK)
)
writes = st.tuples(st.just("write"), offsets, lengths, st.binary(min_size=1, max_size=3))
zeroes = st.tuples(st.just("zero"), offsets, lengths, st.just(b"\0"))
layers = st.tuples(st.just("child"), st.just(0), st.just(0), st.just(b""))
merges = st.tuples(st.sampled_from(["merge", "compact", "reopen"]), st.just(0), st.just(0), st.just(b""))
steps = st.lists(st.one_of(writes, writes, writes, zeroes, layers, merges), min_size=4, max_size=30)


class Machine:
    """A chain and the flat bytes it should read as; the bytes of every layer are kept for after a merge."""

    def __init__(self, folder: Path, kind: Kind) -> None:
        self.folder = folder
        self.paths = [folder / "0.vhd"]
        self.model = bytearray(SIZE)
        if kind is Kind.FIXED:
            disks.create_fixed(self.paths[0], SIZE, durable=False)
        else:
            disks.create_dynamic(self.paths[0], SIZE, block_bytes=BLOCK, durable=False)
        self.disk = disks.open(self.paths[0], writable=True)

    def step(self, name: str, offset: int, length: int, pattern: bytes) -> None:
        """Do one thing to both."""
        length = min(length, SIZE - offset)
        if name == "write":
            data = (pattern * (length // len(pattern) + 1))[:length]
            self.disk.pwrite(data, offset)
            self.model[offset : offset + length] = data
        elif name == "zero":
            self.disk.write_zeroes(length, offset)
            self.model[offset : offset + length] = bytes(length)
        else:
            self.disk.close()
            getattr(self, f"_{name}")()
            self.disk = disks.open(self.paths[-1], writable=True)

    def _child(self) -> None:
        if len(self.paths) < 8:
            self.paths.append(self.folder / f"{len(self.paths)}.vhd")
            disks.create_differencing(self.paths[-1], self.paths[-2], durable=False)

    def _merge(self) -> None:
        if len(self.paths) > 1:
            disks.open(self.paths.pop()).merge()

    def _compact(self) -> None:
        if disks.open(self.paths[-1]).kind is not Kind.FIXED:
            disks.open(self.paths[-1]).compact()

    def _reopen(self) -> None:
        pass


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(steps, st.sampled_from([Kind.FIXED, Kind.DYNAMIC]))
def test_a_chain_is_a_flat_disk(story: list[tuple[str, int, int, bytes]], root: Kind) -> None:
    """What is written through up to eight layers, merged and compacted on the way, reads as on one disk."""
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine(Path(folder), root)
        for step in story:
            machine.step(*step)
        assert machine.disk.pread(SIZE, 0) == machine.model
        extents = list(machine.disk.extents())
        assert sum(extent.length for extent in extents) == SIZE
        for extent in extents:
            if not extent.is_data:
                assert not any(machine.model[extent.offset : extent.offset + extent.length])
        machine.disk.close()


def test_every_layer_keeps_what_it_read(tmp_path: Path, scribble: Callable[..., None]) -> None:
    """Writing to a child changes none of its parents."""
    model = bytearray(SIZE)
    disks.create_dynamic(tmp_path / "0.vhd", SIZE)
    frozen = []
    for depth in range(1, 8):
        scribble(tmp_path / f"{depth - 1}.vhd", model, 5)
        frozen.append(bytes(model))
        disks.create_differencing(tmp_path / f"{depth}.vhd", tmp_path / f"{depth - 1}.vhd")
    scribble(tmp_path / "7.vhd", model, 5)
    with disks.open(tmp_path / "7.vhd") as disk:
        assert disk.pread(SIZE, 0) == model
        parent = disk.parent
        for expected in reversed(frozen):
            assert parent is not None
            assert parent.pread(SIZE, 0) == expected
            parent = parent.parent
        assert parent is None


def test_a_zero_write_hides_the_parents_data(tmp_path: Path) -> None:
    """Zeros written over a parent's data read as zeros, in a block the child did not have before."""
    disks.create_dynamic(tmp_path / "p.vhd", SIZE)
    with disks.open(tmp_path / "p.vhd", writable=True) as parent:
        parent.pwrite(b"x" * 8192, 4096)
    disks.create_differencing(tmp_path / "c.vhd", tmp_path / "p.vhd")
    with disks.open(tmp_path / "c.vhd", writable=True) as child:
        child.pwrite(bytes(512), 4608)
        child.write_zeroes(512, 8192)
        assert child.pread(8192, 4096) == b"x" * 512 + bytes(512) + b"x" * 3072 + bytes(512) + b"x" * 3584


def test_zeros_over_nothing_take_no_room(tmp_path: Path) -> None:
    """Zeros written where nothing is leave the file as long as it was."""
    path = disks.create_dynamic(tmp_path / "d.vhd", 64 << 20)
    before = path.stat().st_size
    with disks.open(path, writable=True) as disk:
        disk.pwrite(bytes(10 << 20), 12345)
    assert path.stat().st_size == before


def test_reads_end_with_the_disk_and_writes_must_lie_inside(tmp_path: Path) -> None:
    """A read past the end is short, a write past it is refused, and neither changes the disk."""
    disks.create_dynamic(tmp_path / "d.vhd", SIZE)
    with disks.open(tmp_path / "d.vhd", writable=True) as disk:
        assert disk.pread(1000, SIZE - 10) == bytes(10)
        assert disk.pread(10, SIZE + 10) == b""
        with pytest.raises(InvalidArgument):
            disk.pwrite(b"xx", SIZE - 1)
        with pytest.raises(InvalidArgument):
            disk.pread(-1, 0)
    with disks.open(tmp_path / "d.vhd") as disk, pytest.raises(DiskError) as refused:
        disk.pwrite(b"x", 0)
    assert refused.value.code == ErrorCode.VM_E_FILE_READ_ONLY


def test_threads_share_a_disk(tmp_path: Path) -> None:
    """Threads that write and read their own parts at the same time each find what they wrote."""
    disks.create_dynamic(tmp_path / "p.vhd", 16 << 20)
    disks.create_differencing(tmp_path / "c.vhd", tmp_path / "p.vhd")
    wrong: list[int] = []
    with disks.open(tmp_path / "c.vhd", writable=True) as disk:

        def work(mine: int) -> None:
            for number in range(60):
                offset = (number * 8 + mine) * 4096
                disk.pwrite(bytes([mine + 1]) * 4096, offset)
                if disk.pread(4096, offset) != bytes([mine + 1]) * 4096:
                    wrong.append(offset)

        threads = [threading.Thread(target=work, args=[mine]) for mine in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong
        assert disk.pread(480 * 4096, 0) == b"".join(bytes([n % 8 + 1]) * 4096 for n in range(480))


def test_hard_disk_members_are_the_documented_ones(tmp_path: Path) -> None:
    """File, type, parent, size in guest, size on host and host free space say what is so."""
    parent = disks.create_fixed(tmp_path / "p.vhd", SIZE)
    disks.create_differencing(tmp_path / "c.vhd", parent)
    with disks.open(tmp_path / "c.vhd") as disk:
        assert disk.file == tmp_path / "c.vhd"
        assert disk.type is disks.HardDiskType.DIFFERENCING
        assert disk.parent is not None
        assert disk.parent.file == parent
        assert disk.parent.type is disks.HardDiskType.FIXED_SIZE
        assert disk.size_in_guest == SIZE
        assert disk.size_on_host == (tmp_path / "c.vhd").stat().st_size
        room = os.statvfs(tmp_path)
        assert abs(disk.host_free_disk_space - room.f_bavail * room.f_frsize) < 1 << 30
