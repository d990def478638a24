"""Carry events from the rooms to whoever listens: one ring, and a place in it for each listener.

A slow listener costs nothing but its place: what the ring has let go of, it is told to have lost.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import datetime as dt
import itertools
import threading
from collections.abc import AsyncGenerator, Callable
from fnmatch import fnmatchcase

from innkeeper.wire.events import Event, Publish

#: How many events a listener may lag behind, or have missed while it was away.
RING_SIZE = 20_000

#: Told to a listener in place of events that can no longer be had.
LOST = "events.lost"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Numbered:
    """An event with its place in the stream."""

    #: ``<life of the bus>-<number>``.
    id: str
    event: Event


class EventBus:
    """The stream of all events of this life of the service.

    Ids name the life, so that one from before a restart is known to be from before.
    """

    def __init__(self, life: str, ring_size: int = RING_SIZE) -> None:
        self._life = life
        self._ring: collections.deque[tuple[int, Event]] = collections.deque(maxlen=ring_size)
        self._numbers = itertools.count(1)
        self._last = 0
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wakers: set[asyncio.Event] = set()
        self._heeding: list[Publish] = []
        self._closed = False

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Say on which loop the listeners wait."""
        self._loop = loop

    def tell(self, heed: Publish) -> None:
        """Call ``heed`` with every event, on the loop: for rooms that act on what others do."""
        self._heeding.append(heed)

    def publish(self, event: Event) -> None:
        """Take an event from any thread. Never blocks, never raises."""
        with self._lock:
            self._last = next(self._numbers)
            self._ring.append((self._last, event))
        self._on_loop(lambda: self._spread(event))

    def close(self) -> None:
        """End every listener's stream."""
        self._closed = True
        self._on_loop(self._wake)

    async def listen(
        self, last_id: str = "", kinds: tuple[str, ...] = ("*",)
    ) -> AsyncGenerator[Numbered, None]:
        """Every event from now on, or after ``last_id``, of kinds such as ``task.*``; ends at ``close``."""
        waker = asyncio.Event()
        self._wakers.add(waker)
        try:
            place = self._last if not last_id else self._place(last_id)
            while not self._closed:
                waker.clear()
                place, events = self._after(place)
                for numbered in events:
                    if numbered.event.kind == LOST or _matches(numbered.event.kind, kinds):
                        yield numbered
                if not events:
                    await waker.wait()
        finally:
            self._wakers.discard(waker)

    def _place(self, last_id: str) -> int:
        """The number of an id; −1 for one of another life, or of none."""
        life, _, number = last_id.rpartition("-")
        return int(number) if life == self._life and number.isdecimal() else -1

    def _after(self, place: int) -> tuple[int, list[Numbered]]:
        """What follows a place, and the place then."""
        with self._lock:
            last = self._last
            newest = itertools.islice(reversed(self._ring), last - place)
            found = list(newest)[::-1]
        events = [Numbered(id=f"{self._life}-{number}", event=event) for number, event in found]
        first = found[0][0] if found else last + 1
        if place < 0 or place + 1 < first:
            lost = Event(kind=LOST, subject="", at=dt.datetime.now(dt.UTC))
            events.insert(0, Numbered(id=f"{self._life}-{first - 1}", event=lost))
        return last, events

    def _on_loop(self, call: Callable[[], None]) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has gone, and with it all listeners
                self._loop.call_soon_threadsafe(call)

    def _spread(self, event: Event) -> None:
        self._wake()
        for heed in self._heeding:
            heed(event)

    def _wake(self) -> None:
        for waker in tuple(self._wakers):
            waker.set()


def _matches(kind: str, kinds: tuple[str, ...]) -> bool:
    return any(fnmatchcase(kind, pattern) for pattern in kinds)
