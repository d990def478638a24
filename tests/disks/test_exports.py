"""Exports are processes of their own: they outlive the service, and lose no acknowledged write to a kill."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from innkeeper import disks
from innkeeper.disks import maps
from innkeeper.disks.export_files import ExportFiles
from innkeeper.disks.exports import Exports
from innkeeper.disks.roots import Roots
from innkeeper.errors import DiskError, ErrorCode
from tests.disks.nbd.client import connected

MIB = 1 << 20
SIZE = 16 * MIB


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where the exports meet: a short path, as sockets want it. No export is left at the end."""
    with tempfile.TemporaryDirectory(prefix="ik-", dir="/tmp") as short:
        yield Path(short)
        for files in ExportFiles.all(Path(short)):
            if (process := files.process()) is not None:
                os.kill(process, signal.SIGKILL)


@pytest.fixture
def child(tmp_path: Path) -> Path:
    """A differencing disk over a parent with data."""
    disks.create_dynamic(tmp_path / "p.vhd", SIZE)
    with disks.open(tmp_path / "p.vhd", writable=True) as disk:
        disk.pwrite(b"parent" * 1000, 0)
    return disks.create_differencing(tmp_path / "c.vhd", tmp_path / "p.vhd")


def process_of(folder: Path, path: Path) -> int | None:
    """The process that offers an image."""
    return ExportFiles.of(folder, str(path)).process()


def until(condition: Callable[[], bool]) -> None:
    """Wait for it."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def content(path: Path) -> bytes:
    """The start of a disk."""
    with disks.open(path) as disk:
        return disk.pread(8 * MIB, 0)


def test_an_export_lives_as_long_as_it_is_used(folder: Path, child: Path) -> None:
    """It is there when it is held, stays for its clients, and goes when the last one has left."""
    exports = Exports(folder)

    async def use() -> None:
        async with exports.held([str(child)]):
            with connected(exports.address_of(str(child))) as client:
                assert client.size_bytes == SIZE
                assert client.read(6, 0) == b"parent"
                client.write(b"written", 0)

    asyncio.run(use())
    until(lambda: process_of(folder, child) is None)
    assert not list(folder.iterdir()), "nothing is left behind"
    assert not maps.journal_path(child).exists()
    assert content(child)[:12] == b"writtenarent"


def test_a_disk_that_is_exported_is_in_use(folder: Path, child: Path) -> None:
    """Nobody else changes it, until the export is released."""
    exports = Exports(folder)

    async def use() -> None:
        await exports.offer(str(child), writable=True)
        with pytest.raises(DiskError) as refused:
            await asyncio.to_thread(disks.open, child, writable=True)
        assert refused.value.code is ErrorCode.ERROR_SHARING_VIOLATION
        assert [order.path for order in await exports.offered()] == [str(child)]
        assert await exports.release(str(child))

    asyncio.run(use())
    disks.open(child, writable=True).close()


def test_an_export_with_clients_is_not_ended(folder: Path, child: Path) -> None:
    """Asked to end it goes on, and ends when they have left."""
    exports = Exports(folder)
    address = asyncio.run(exports.offer(str(child), writable=True))
    with connected(address) as client:
        process = process_of(folder, child)
        assert process is not None
        os.kill(process, signal.SIGTERM)
        for _ in range(2000):
            client.write(b"still here", 0)
    until(lambda: process_of(folder, child) is None)
    assert content(child).startswith(b"still here")


def test_what_is_in_the_way_of_an_export_is_told(folder: Path, child: Path) -> None:
    """With its documented identifier; and nothing is left of the attempt."""
    child.with_name("p.vhd").rename(child.with_name("gone.vhd"))
    with pytest.raises(DiskError) as refused:
        asyncio.run(Exports(folder).offer(str(child)))
    assert refused.value.code is ErrorCode.VM_E_PARENT_PATH_NOT_FOUND
    assert not list(folder.glob("*.json"))


def test_a_machines_disk_leads_its_export_to_no_parent_elsewhere(
    folder: Path, child: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """They lie in the service's folders or beside the disk that the definition names, or are refused."""
    away = tmp_path_factory.mktemp("away")
    parent = child.with_name("p.vhd").rename(away / "p.vhd")
    disks.reparent(child, parent)
    exports = Exports(folder, roots=Roots([away / "disks"]))

    async def hold() -> None:
        async with exports.held([str(child)]):
            pass

    refusals: Sequence[Callable[[], None]] = (
        lambda: asyncio.run(hold()), lambda: exports.require_sound(str(child))
    )  # fmt: skip
    for refuse in refusals:
        with pytest.raises(DiskError) as refused:
            refuse()
        assert refused.value.code is ErrorCode.ERROR_BAD_PATHNAME
        assert str(parent) in str(refused.value)
        assert "disk_roots" in refused.value.advice
    assert not list(folder.glob("*.json"))
    exports = Exports(folder, roots=Roots([away]))
    exports.require_sound(str(child))
    asyncio.run(hold())
    until(lambda: process_of(folder, child) is None)


def test_a_read_only_export_is_not_taken_for_a_writable_one(folder: Path, child: Path) -> None:
    """A machine would find its disk read-only."""
    exports = Exports(folder)

    async def use() -> None:
        await exports.offer(str(child))
        with pytest.raises(DiskError) as refused:
            await exports.offer(str(child), writable=True)
        assert refused.value.code is ErrorCode.ERROR_SHARING_VIOLATION
        await exports.release(str(child))

    asyncio.run(use())


_SERVICE = """
import asyncio, sys, time
from pathlib import Path
from innkeeper.disks.exports import Exports
async def main():
    print(await Exports(Path(sys.argv[1])).offer(sys.argv[2], writable=True), flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


def test_an_export_outlives_a_killed_service(folder: Path, child: Path) -> None:
    """Its clients notice nothing, and the next service finds it."""
    service = subprocess.Popen(
        [sys.executable, "-c", _SERVICE, folder, child], stdout=subprocess.PIPE, text=True
    )
    assert service.stdout is not None
    address = service.stdout.readline().strip()
    with connected(address) as client:
        client.write(b"before", 0)
        process = process_of(folder, child)
        service.kill()
        service.communicate()
        client.write(b"after", 6)
        exports = Exports(folder)

        async def adopt() -> None:
            assert await exports.revive() == []
            async with exports.held([str(child)]):
                assert process_of(folder, child) == process

        asyncio.run(adopt())
    assert asyncio.run(exports.release(str(child)))
    assert content(child).startswith(b"beforeafter")


@pytest.mark.parametrize("flushed", [False, True])
def test_a_killed_export_loses_no_acknowledged_write(folder: Path, child: Path, flushed: bool) -> None:
    """Started again it has all, flushed or not; so has whoever opens the image meanwhile."""
    exports = Exports(folder)
    address = asyncio.run(exports.offer(str(child), writable=True))
    with connected(address) as client:
        for number in range(6):
            client.write(bytes([65 + number]) * 700, number * MIB + 300)
            if flushed and number == 3:
                client.flush()
        process = process_of(folder, child)
        assert process is not None
        os.kill(process, signal.SIGKILL)
    until(lambda: process_of(folder, child) is None)
    expected = bytearray(b"parent" * 1000).ljust(8 * MIB, b"\0")
    for number in range(6):
        expected[number * MIB + 300 : number * MIB + 1000] = bytes([65 + number]) * 700
    assert content(child) == expected, "read only, with the journal beside it"
    assert asyncio.run(exports.revive()) == [str(child)]
    with connected(address) as client:
        assert client.read(8 * MIB, 0) == expected
        client.write(b"more", 0)
    assert asyncio.run(exports.release(str(child)))
    expected[:4] = b"more"
    assert content(child) == expected
    assert not maps.journal_path(child).exists()


def test_what_a_killed_export_left_is_for_its_own_image_and_boot(child: Path) -> None:
    """A journal of another image, of another life of the host, or cut short, changes nothing."""
    with disks.open(child, writable=True) as disk:
        disk.chain.top.keep_maps()
        disk.pwrite(b"x" * 512, 4 * MIB)
        journal = maps.journal_path(child)
        kept = journal.read_bytes()
    before = content(child)
    header = 60
    for data in (
        kept[:8] + b"0" * 36 + kept[44:],
        kept[:44] + b"0" * 16 + kept[60:],
        kept[:header] + b"\x01" + b"\xff" * 12,
        kept[:header] + b"\x02\0\0\0\0" + b"\xff" * 8,
        kept[: header + 5],
        b"nonsense",
        b"",
    ):
        journal.write_bytes(data)
        assert content(child) == before
    journal.unlink()
