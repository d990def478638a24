"""The occasion "the computer has started"."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from innkeeper.schedule.ports import ScheduleStore
from innkeeper.schedule.registered import Watch
from innkeeper.schedule.running.occasions import Booted
from innkeeper.schedule.running.sources import OnOccasion
from innkeeper.tasks.ports import Clock

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class Boots:
    """Source of one occasion for each start of the computer, and none for a start of the service."""

    watches = Watch.BOOT

    def __init__(
        self, *, store: ScheduleStore, clock: Clock, computer: str, boot_id: Path = _BOOT_ID
    ) -> None:
        self._store = store
        self._clock = clock
        self._computer = computer
        self._path = boot_id
        self.missing = ""

    async def run(self, on_occasion: OnOccasion) -> None:
        """Report this start of the computer unless it was reported already, then return."""
        try:
            boot_id = (await asyncio.to_thread(self._path.read_text)).strip()
        except OSError as problem:
            self.missing = f"the kernel does not tell the boot's id ({problem.strerror})"
            return
        if boot_id != await self._store.boot_id(self._computer):
            await on_occasion(
                Booted(key=f"boot:{boot_id}", at=self._clock.now(), words="the computer has started")
            )
            # Last: where a crash comes between, it is told again, and starts nothing twice.
            await self._store.set_boot_id(self._computer, boot_id)
        await asyncio.Event().wait()


def boot_id() -> str:
    """Return the id of this start of the computer; empty where the kernel has none. Blocks."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""
