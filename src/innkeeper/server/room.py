"""Room on the disks that the service writes to: its state, its database, its folders for disks."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from innkeeper.server.shared_look import SharedLook

#: A file system with less than this free, and less than a tenth of it, is short of room.
LEAST_BYTES: Final = 1 << 30
#: A disk that takes longer to tell is not well.
_TIMEOUT_SECONDS: Final = 3.0
#: What was seen is not looked at again for so long.
_BELIEVED_SECONDS: Final = 2.0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Room:
    """Room of one folder's file system."""

    path: str
    #: For who is not root.
    free_bytes: int
    total_bytes: int
    #: What is wrong, in one sentence; empty where there is room.
    trouble: str = ""


class Rooms:
    """Looks at the folders that the service writes to; who asks meanwhile shares the answer."""

    def __init__(self, folders: Iterable[Path]) -> None:
        """A folder that is not there takes nothing, and is left out."""
        self._looks = {folder: SharedLook(_looking_at(folder), _BELIEVED_SECONDS) for folder in folders}

    async def look(self, seconds: float = _TIMEOUT_SECONDS) -> Sequence[Room]:
        """Return the room of each folder; what a disk does not tell in so many seconds is its trouble."""
        found = await asyncio.gather(*(_within(seconds, *each) for each in self._looks.items()))
        return [room for room in found if room is not None]


async def _within(seconds: float, folder: Path, look: SharedLook[Room | None]) -> Room | None:
    try:
        async with asyncio.timeout(seconds):
            return await look()
    except TimeoutError:
        return _without(folder, "The disk does not tell how much room it has.")


def _looking_at(folder: Path) -> Callable[[], Awaitable[Room | None]]:
    """Return the look in a thread of its own, which may hang with the disk, and then holds up nobody."""

    async def look() -> Room | None:
        loop, seen = asyncio.get_running_loop(), asyncio.Event()
        found: list[Room | None] = []

        def ask() -> None:
            found.append(_room(folder))
            with contextlib.suppress(RuntimeError):  # the service has ended
                loop.call_soon_threadsafe(seen.set)

        threading.Thread(target=ask, name="innkeeper-room", daemon=True).start()
        await seen.wait()
        return found[0]

    return look


def _room(folder: Path) -> Room | None:
    try:
        found = os.statvfs(folder)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return _without(folder, f"{error.strerror}.")
    free, total = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
    is_short = free < LEAST_BYTES and free * 10 < total
    trouble = f"{free >> 20:,} MiB of {total >> 20:,} MiB are free." if is_short else ""
    return Room(path=str(folder), free_bytes=free, total_bytes=total, trouble=trouble)


def _without(folder: Path, trouble: str) -> Room:
    return Room(path=str(folder), free_bytes=0, total_bytes=0, trouble=trouble)
