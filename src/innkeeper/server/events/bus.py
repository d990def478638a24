"""Event bus: tells each event to the rooms of this server, and to those who listen at its doors.

A slow listener costs nothing but its place in the log: what the log has let go of, it is told to have lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from fnmatch import fnmatchcase

import structlog

from innkeeper.server.events.log import EventLog, Numbered
from innkeeper.tasks import patience
from innkeeper.tasks.outcome import traceback_of
from innkeeper.wire.events import Event, EventKind, Publish

_log = structlog.get_logger(__name__)


class EventBus:
    """The stream of all events.

    Subscribers are rooms of this server: they hear at once what happens here. Listeners are at its doors:
    they hear what happens anywhere in the inn, by the numbers of the log.
    """

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._loop: asyncio.AbstractEventLoop | None = None
        self._subscribers: list[Publish] = []
        self._subscribers_to_others: list[Publish] = []
        self._closed = False
        #: Gives events of machines their titles and keys, in whatever thread they come.
        self.place: Callable[[Event], Event] = lambda event: event
        log.on_others(lambda event: _tell(self._subscribers_to_others, event))

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Set the event loop on which listeners wait."""
        self._loop = loop

    def subscribe(self, on_event: Publish) -> None:
        """Call ``on_event`` with every event of this server, on the event loop."""
        self._subscribers.append(on_event)

    def subscribe_to_others(self, on_event: Publish) -> None:
        """Call ``on_event`` with the events of other servers while somebody watches, on the event loop."""
        self._subscribers_to_others.append(on_event)

    def publish(self, event: Event) -> None:
        """Publish an event from any thread. Never blocks, never raises."""
        placed = self.place(event)
        self._log.add(placed)
        self._on_loop(lambda: self._spread(placed))

    def close(self) -> None:
        """End every listener's stream."""
        self._closed = True
        self._on_loop(self._log.close)

    async def newest_id(self) -> str:
        """Return an id after which a listener hears all that happens from now on."""
        return await self._log.newest_id()

    def up_to_date(self) -> contextlib.AbstractAsyncContextManager[None]:
        """Hear the events of other servers from the moment this is entered."""
        return self._log.up_to_date()

    async def listen(
        self, last_id: str = "", kinds: tuple[str, ...] = ("*",)
    ) -> AsyncGenerator[Numbered, None]:
        """Yield events from now on, or after ``last_id``, of kinds such as ``task.*``; ends at ``close``."""
        async with contextlib.aclosing(self.batches(last_id, kinds)) as batches:
            async for batch in batches:
                for numbered in batch:
                    yield numbered

    async def batches(
        self,
        last_id: str = "",
        kinds: tuple[str, ...] = ("*",),
        *,
        gather_seconds: float = 0.0,
        timeout_seconds: float | None = None,
    ) -> AsyncGenerator[Sequence[Numbered], None]:
        """Yield events as ``listen`` does, in batches gathered within ``gather_seconds`` of the first.

        Empty after each ``timeout_seconds`` in which nothing came.
        """
        with self._log.watch() as waker:
            place = await self._log.place_of(last_id)
            while not self._closed:
                waker.clear()
                place, events = await self._log.after(place)
                found = [numbered for numbered in events if _matches(numbered.event.kind, kinds)]
                if found:
                    yield found
                elif not events and not await _wakes(waker, timeout_seconds):
                    yield ()
                elif gather_seconds and not self._closed:
                    await asyncio.sleep(gather_seconds)

    def _on_loop(self, call: Callable[[], None]) -> None:
        if self._loop is None:
            return
        if asyncio._get_running_loop() is self._loop:
            self._loop.call_soon(call)  # in the same order, and without a byte that wakes the loop
            return
        with contextlib.suppress(RuntimeError):  # the loop has gone, and with it all listeners
            self._loop.call_soon_threadsafe(call)

    def _spread(self, event: Event) -> None:
        self._log.added()
        with patience.endless():  # what it sets off is no part of the request that it came of
            _tell(self._subscribers, event)


def _tell(subscribers: Iterable[Publish], event: Event) -> None:
    for on_event in subscribers:
        try:
            on_event(event)
        except Exception as exc:  # one that fails must not keep the event from the others
            _log.error(
                "events.subscriber_failed",
                subscriber=_name(on_event),
                kind=event.kind,
                traceback=traceback_of(exc),
            )


async def _wakes(waker: asyncio.Event, timeout_seconds: float | None) -> bool:
    """Whether the waker was set within the time."""
    try:
        async with asyncio.timeout(timeout_seconds):
            await waker.wait()
    except TimeoutError:
        return False
    return True


def _name(on_event: Publish) -> str:
    return str(getattr(on_event, "__qualname__", on_event))


@functools.lru_cache(maxsize=4096)
def _matches(kind: str, kinds: tuple[str, ...]) -> bool:
    return kind == EventKind.EVENTS_LOST or any(fnmatchcase(kind, pattern) for pattern in kinds)
