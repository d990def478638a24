"""Room on the disks that the service writes to: its state, its database, its folders for disks."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

#: A file system with less than this free, and less than a tenth of it, is short of room.
LEAST_BYTES: Final = 1 << 30
#: A disk that takes longer to tell is not well.
_TIMEOUT_SECONDS: Final = 3.0


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
        self._folders = tuple(dict.fromkeys(folders))
        self._looking: asyncio.Future[Sequence[Room]] | None = None

    async def look(self) -> Sequence[Room]:
        """Return the room of each folder; a disk that hangs holds one thread, however many ask."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(asyncio.to_thread(self._look))
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                return await asyncio.shield(self._looking)
        except TimeoutError:
            trouble = "The disk does not tell how much room it has."
            return [
                Room(path=str(each), free_bytes=0, total_bytes=0, trouble=trouble) for each in self._folders
            ]

    def _look(self) -> Sequence[Room]:
        return [_room(folder) for folder in self._folders if folder.is_dir()]


def _room(folder: Path) -> Room:
    try:
        found = os.statvfs(folder)
    except OSError as error:
        return Room(path=str(folder), free_bytes=0, total_bytes=0, trouble=f"{error.strerror}.")
    free, total = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
    is_short = free < LEAST_BYTES and free * 10 < total
    trouble = f"{free >> 20:,} MiB of {total >> 20:,} MiB are free." if is_short else ""
    return Room(path=str(folder), free_bytes=free, total_bytes=total, trouble=trouble)
