"""Wake-up of the computer for tasks that ask for it (``WakeToRun``)."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Final, Protocol

from innkeeper.schedule.ports import ScheduleStore
from innkeeper.schedule.registered import Watch
from innkeeper.tasks.ports import Clock

#: What has moved on, or another server has registered, is seen by then.
_LOOK_SECONDS: Final = 30.0
#: The computer is woken so much earlier: the service is to be there when the task is due.
_EARLY: Final = dt.timedelta(seconds=15)


class Alarm(Protocol):
    """Wakes the computer."""

    def missing(self) -> str:
        """Why the computer cannot be woken; empty where it can."""

    def set(self, moment: dt.datetime | None) -> None:
        """Set the alarm to a moment; ``None`` is never."""


class Waker:
    """Sets the alarm to the next start of all tasks that wake the computer."""

    def __init__(self, *, store: ScheduleStore, clock: Clock, alarm: Alarm) -> None:
        self._store = store
        self._clock = clock
        self._alarm = alarm

    async def run(self) -> None:
        """Keep the alarm set while the service runs."""
        if await asyncio.to_thread(self._alarm.missing):
            return
        while True:
            await self.look()
            await self._clock.sleep(_LOOK_SECONDS)

    async def look(self) -> None:
        """Set the alarm by what is registered now."""
        moments = [task.next_due for task in await self._store.watching(Watch.WAKE)]
        now = self._clock.now()
        ahead = min((each for each in moments if each is not None and each > now), default=None)
        await asyncio.to_thread(self._alarm.set, None if ahead is None else max(ahead - _EARLY, now))
