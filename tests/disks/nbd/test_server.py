"""QEMU and libnbd see through an export what the disk holds."""

from __future__ import annotations

import json
import random
import socket
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from innkeeper import disks
from innkeeper.disks.nbd.server import NbdServer, exported

SIZE = 24 << 20


@pytest.fixture
def content() -> bytes:
    """Make data with holes: three pieces, one of them over the edge of a block."""
    data = bytearray(SIZE)
    chance = random.Random(4)
    for offset, length in ((0, 5000), ((4 << 20) - 3000, 1 << 20), (20 << 20, 700_000)):
        data[offset : offset + length] = chance.randbytes(length)
    return bytes(data)


@pytest.fixture
def child(tmp_path: Path, content: bytes) -> Path:
    """Make a chain of two: the parent has the first half, the child the second."""
    parent = disks.create_dynamic(tmp_path / "p.vhd", SIZE)
    half = SIZE // 2
    with disks.open(parent, writable=True) as disk:
        disk.pwrite(content[:half], 0)
    path = disks.create_differencing(tmp_path / "c.vhd", parent)
    with disks.open(path, writable=True) as disk:
        disk.pwrite(content[half:], half)
    return path


def test_qemu_reads_a_chain_as_raw(
    child: Path, content: bytes, tmp_path: Path, run: Callable[..., str]
) -> None:
    """What qemu-img copies from an export is the disk, parents and all, holes kept."""
    with disks.open(child) as disk, exported(disk.chain) as url:
        run("qemu-img", "convert", "-f", "raw", "-O", "raw", url, tmp_path / "out.raw")
        holes = json.loads(run("qemu-img", "map", "--output=json", "-f", "raw", url))
    assert (tmp_path / "out.raw").read_bytes() == content
    assert any(extent["zero"] and not extent["data"] for extent in holes)
    assert sum(extent["length"] for extent in holes) == SIZE


def test_nbdcopy_reads_it_with_several_connections(
    child: Path, content: bytes, tmp_path: Path, run: Callable[..., str]
) -> None:
    """nbdcopy copies an export over four connections at once."""
    with disks.open(child) as disk, exported(disk.chain) as url:
        run("nbdcopy", "--connections=4", url, tmp_path / "out.raw")
    assert (tmp_path / "out.raw").read_bytes() == content


def test_nbdinfo_is_told_what_an_export_can(child: Path, run: Callable[..., str]) -> None:
    """An export is read-only unless made writable, and tells its size, flags and holes."""
    with disks.open(child) as disk, exported(disk.chain) as url:
        facts = json.loads(run("nbdinfo", "--json", url))["exports"][0]
        extents = json.loads(run("nbdinfo", "--map", "--json", url))
    assert facts["export-size"] == SIZE
    assert facts["is_read_only"]
    assert not facts["can_trim"]
    assert facts["can_multi_conn"]
    assert "base:allocation" in facts["contexts"]
    assert {extent["type"] for extent in extents} == {0, 3}
    with disks.open(child, writable=True) as disk, exported(disk.chain, writable=True) as url:
        facts = json.loads(run("nbdinfo", "--json", url))["exports"][0]
    assert not facts["is_read_only"]
    assert facts["can_trim"]
    assert facts["can_zero"]
    assert facts["can_fua"]


def test_what_qemu_writes_is_on_the_disk(child: Path, content: bytes, run: Callable[..., str]) -> None:
    """Writes, zeroes and trims through QEMU are in the child, and the parent is untouched."""
    expected = bytearray(content)
    before = child.with_name("p.vhd").read_bytes()
    with disks.open(child, writable=True) as disk, exported(disk.chain, writable=True) as url:
        run(
            "qemu-io", "-f", "raw", "-t", "writeback",
            "-c", "write -P 17 1M 3M", "-c", "write -P 18 9999936 1024", "-c", "write -z 4M 64k",
            "-c", "write -z -u 0 4096", "-c", "discard 20M 64k", "-c", "write -f -P 19 23M 512",
            "-c", "flush", url,
        )  # fmt: skip
    expected[1 << 20 : 4 << 20] = b"\x11" * (3 << 20)
    expected[9999936 : 9999936 + 1024] = b"\x12" * 1024
    expected[4 << 20 : (4 << 20) + 65536] = bytes(65536)
    expected[:4096] = bytes(4096)
    expected[20 << 20 : (20 << 20) + 65536] = bytes(65536)
    expected[23 << 20 : (23 << 20) + 512] = b"\x13" * 512
    with disks.open(child) as disk:
        assert disk.pread(SIZE, 0) == expected
    assert child.with_name("p.vhd").read_bytes() == before


def test_a_read_only_export_takes_no_writes(child: Path, run: Callable[..., str]) -> None:
    """QEMU cannot open a read-only export for writing."""
    with disks.open(child) as disk, exported(disk.chain) as url:
        assert "Permission denied" in run("qemu-io", "-f", "raw", "-c", "write 0 512", url, check=False)


def test_clients_that_break_the_protocol_disturb_nobody(child: Path, content: bytes, tmp_path: Path) -> None:
    """A client that talks nonsense, leaves in the middle or goes silent loses its connection alone."""
    with disks.open(child) as disk, NbdServer(disk.chain, tmp_path / "nbd") as server:
        silent = _connect(server.path)
        for nonsense in (
            b"",
            b"x" * 100,
            b"\0\0\0\3" + b"y" * 500,
            b"\0\0\0\3IHAVEOPT\0\0\0\7\xff\xff\xff\xff",
        ):
            with _connect(server.path) as client:
                client.sendall(nonsense)
        out = subprocess.run(["nbdcopy", server.url, "-"], capture_output=True, timeout=60, check=True).stdout
        silent.close()
    assert out == content
    assert not (tmp_path / "nbd").exists()


def test_a_socket_is_its_owners_alone(child: Path, tmp_path: Path) -> None:
    """Nobody else on the host may connect."""
    with disks.open(child) as disk, NbdServer(disk.chain, tmp_path / "nbd") as server:
        assert stat.S_IMODE(server.path.stat().st_mode) == 0o600


def test_a_server_that_closes_ends_its_connections(child: Path, tmp_path: Path) -> None:
    """Closing does not wait for clients to leave."""
    with disks.open(child) as disk:
        server = NbdServer(disk.chain, tmp_path / "nbd")
        client = _connect(server.path)
        assert client.recv(18).startswith(b"NBDMAGIC")
        server.close()
        assert client.recv(1) == b""
        client.close()


def _connect(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(10)
    client.connect(str(path))
    return client
