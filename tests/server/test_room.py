"""Health tells how much room the folders have that the service writes to."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from innkeeper.server.room import Rooms


async def test_the_room_of_each_folder_is_told_once(tmp_path: Path) -> None:
    """As the file system has it for who is not root; a folder that is not there is left out."""
    (found,) = await Rooms([tmp_path, tmp_path, tmp_path / "none"]).look()
    assert (found.path, found.trouble) == (str(tmp_path), "")
    assert (
        0
        < found.free_bytes
        < found.total_bytes
        == os.statvfs(tmp_path).f_blocks * os.statvfs(tmp_path).f_frsize
    )


async def test_a_folder_that_cannot_be_looked_at_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a disk that is lost, or that hangs, alone: the others are told as they are."""
    lost, hung, well = (tmp_path / name for name in ("lost", "hung", "well"))
    real, goes_on = os.statvfs, threading.Event()

    def statvfs(folder: Path) -> os.statvfs_result:
        if folder == lost:
            raise OSError(errno.ESTALE, "Stale file handle")
        if folder == hung:
            goes_on.wait()
        return real(tmp_path)

    monkeypatch.setattr(os, "statvfs", statvfs)
    rooms = Rooms([lost, hung, well])
    found = [await rooms.look(0.2), await rooms.look(0.2)]
    hanging = [thread for thread in threading.enumerate() if thread.name == "innkeeper-room"]
    goes_on.set()
    told = ["Stale file handle.", "The disk does not tell how much room it has.", ""]
    assert [[room.trouble for room in each] for each in found] == [told, told]
    assert len(hanging) == 1


async def test_little_room_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what is left, in one sentence."""
    real = os.statvfs(tmp_path)
    nearly_full = os.statvfs_result((*real[:3], 100, 100, *real[5:]))
    monkeypatch.setattr(os, "statvfs", lambda _: nearly_full)
    (found,) = await Rooms([tmp_path]).look()
    assert found.trouble.startswith("0 MiB of ")
