"""Innkeeper's own events as a source for event triggers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from innkeeper.schedule.events import inn
from innkeeper.schedule.registered import Watch
from innkeeper.schedule.running.occasions import EventWritten
from innkeeper.schedule.running.sources import OnOccasion
from innkeeper.tasks.outcome import traceback_of
from innkeeper.wire.events import Event

#: How many events may wait; what comes on top of them, when nobody can keep up, is not heard.
_MOST_WAITING: Final = 10_000

_log = structlog.get_logger(__name__)


class InnEvents:
    """Source of Innkeeper's events; passes on those whose channel a task listens to."""

    watches = Watch.EVENT
    missing = ""

    def __init__(
        self, channels: Callable[[], Awaitable[frozenset[str]]], *, life: str, computer: str
    ) -> None:
        """``life`` distinguishes the events of this start of the service from earlier ones."""
        self._channels = channels
        self._life = life
        self._computer = computer
        self._number = 0
        self._waiting: asyncio.Queue[Event] = asyncio.Queue(_MOST_WAITING)

    def on_event(self, event: Event) -> None:
        """Queue an event, on the loop. Never blocks, never raises."""
        try:
            self._waiting.put_nowait(event)
        except asyncio.QueueFull:
            _log.warning("schedule.event_not_heard", kind=event.kind)

    async def run(self, on_occasion: OnOccasion) -> None:
        """Pass events on until cancelled."""
        while True:
            event = await self._waiting.get()
            self._number += 1
            try:
                await self._pass_on(event, on_occasion)
            except Exception as exc:  # an event that fails must not keep back those that wait behind it
                _log.error("schedule.event_failed", kind=event.kind, traceback=traceback_of(exc))

    async def _pass_on(self, event: Event, on_occasion: OnOccasion) -> None:
        wanted = await self._channels()
        if inn.CHANNEL.casefold() in wanted or inn.channel_of(event.kind).casefold() in wanted:
            record = inn.of_event(event, identifier=f"{self._life}-{self._number}", computer=self._computer)
            words = f"{event.kind} of {event.subject}" if event.subject else event.kind
            await on_occasion(
                EventWritten(key=f"event:{record.id}", at=event.at, words=words[:200], record=record)
            )
