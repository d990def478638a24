"""The files of this computer's images are looked at without reading what is not there."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

from innkeeper.errors import DiskError
from innkeeper.hypervisor.files import LocalFiles

MIB = 1 << 20


async def test_a_checksum_does_not_depend_on_holes(tmp_path: Path) -> None:
    """A sparse file and its full copy are the same content, and anybody's ``sha256sum`` agrees."""
    sparse, full = tmp_path / "sparse", tmp_path / "full"
    with sparse.open("wb") as image:
        image.seek(3 * MIB + 5)
        image.write(b"data across a block" * 5000)
        image.truncate(9 * MIB + 1)
    full.write_bytes(sparse.read_bytes())
    assert sparse.stat().st_blocks < full.stat().st_blocks
    files = LocalFiles()
    ours = await files.checksum(str(sparse))
    assert ours == await files.checksum(str(full))
    assert ours == f"sha256:{hashlib.sha256(full.read_bytes()).hexdigest()}"


@pytest.mark.parametrize("offset", [0, 65535, 65536, 2 * MIB + 1])
async def test_a_checksum_sees_every_byte_and_its_place(tmp_path: Path, offset: int) -> None:
    """One byte changed, moved or added is another content."""
    files, path = LocalFiles(), tmp_path / "image"
    seen = set()
    for content in ({}, {offset: b"x"}, {offset: b"y"}, {offset + 1: b"x"}, {3 * MIB: b"\0"}):
        with path.open("wb") as image:
            image.truncate(3 * MIB)
            for place, data in content.items():
                image.seek(place)
                image.write(data)
        seen.add(await files.checksum(str(path)))
    assert len(seen) == 5


async def test_progress_is_told_on_the_event_loop(tmp_path: Path) -> None:
    """The file is read in a thread, and whoever listens may not be asked from there."""
    path, told = tmp_path / "image", []
    path.write_bytes(b"x" * MIB)

    def listen(done: int, total: int) -> None:
        asyncio.get_running_loop()
        told.append((done, total))

    await LocalFiles().checksum(str(path), listen)
    await asyncio.sleep(0)
    assert told[0] == (0, MIB)
    assert told[-1] == (MIB, MIB)


async def test_a_file_that_is_missing_has_no_identity_and_cannot_be_read(tmp_path: Path) -> None:
    """The first is an answer, the second an error that names the file."""
    files, path = LocalFiles(), str(tmp_path / "missing")
    assert await files.identity(path) is None
    with pytest.raises(DiskError, match="missing cannot be read"):
        await files.checksum(path)


async def test_the_virtual_size_is_what_the_guest_sees(tmp_path: Path) -> None:
    """From a qcow2's header, or the size of a raw file."""
    raw, qcow2 = tmp_path / "raw", tmp_path / "disk.qcow2"
    with raw.open("wb") as image:
        image.truncate(5 * MIB)
    made = await asyncio.create_subprocess_exec("qemu-img", "create", "-q", "-f", "qcow2", str(qcow2), "7M")
    assert await made.wait() == 0
    assert await LocalFiles().virtual_size(str(raw), "raw") == 5 * MIB
    assert await LocalFiles().virtual_size(str(qcow2), "qcow2") == 7 * MIB
    assert await LocalFiles().virtual_size(str(qcow2), "raw") == qcow2.stat().st_size  # its guest wrote it


async def test_files_are_found_by_their_mark(tmp_path: Path) -> None:
    """And only files of that name."""
    files = LocalFiles()
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "b.mark-1").write_bytes(b"")
    (tmp_path / "dir.mark-2").mkdir()
    assert await files.find(str(tmp_path), ".mark-") == [str(tmp_path / "b.mark-1")]
