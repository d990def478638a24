"""Logs of numbered events, as listeners read them."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import datetime as dt
import itertools
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Protocol

from innkeeper.wire.documented_events import documented
from innkeeper.wire.events import Event, EventKind
from innkeeper.wire.messages import EventMessage

#: How many events a listener may lag behind, or have missed while it was away.
RING_SIZE = 20_000


@dataclasses.dataclass(kw_only=True, slots=True, eq=False)
class Numbered:
    """An event with its number in the stream, which is the same for every listener."""

    #: ``<life of the log>-<number>``.
    id: str
    number: int
    event: Event
    _json: bytes = b""

    @classmethod
    def of(cls, life: str, number: int, event: Event) -> Numbered:
        """Return the event with its id."""
        return cls(id=event_id(life, number), number=number, event=event)

    @property
    def json(self) -> bytes:
        """The event as JSON, serialised once for all listeners."""
        if not self._json:
            event = self.event
            message = EventMessage(
                id=self.id,
                kind=event.kind,
                subject=event.subject,
                at=event.at,
                data=dict(event.data),
                documented=documented(event.kind, event.data),
            )
            self._json = message.model_dump_json().encode()
        return self._json


#: A place in a log, and the events that were found between it and the place before.
Found = tuple[int, Sequence[Numbered]]


class EventLog(Protocol):
    """Where events get their numbers, and are read by them.

    A *place* is the number of the last event that a listener has seen.
    """

    def add(self, event: Event) -> None:
        """Take an event, from any thread. Never blocks, never raises."""

    def added(self) -> None:
        """Pass on what was added; called on the event loop after ``add``."""

    def on_others(self, hear: Callable[[Event], None]) -> None:
        """Call ``hear`` with the events of other servers, while somebody watches."""

    def watch(self) -> contextlib.AbstractContextManager[asyncio.Event]:
        """Watch the log: the event in hand is set whenever there may be something new."""

    def up_to_date(self) -> contextlib.AbstractAsyncContextManager[None]:
        """Watch the log; events of other servers arrive from the moment this is entered."""

    async def newest_id(self) -> str:
        """Return an id after which a listener hears all that happens from now on."""

    async def place_of(self, last_id: str) -> int:
        """Return the place of an event id, or of the newest event without one."""

    async def after(self, place: int) -> Found:
        """Return what comes after a place, as far as it is at hand; ``events.lost`` where some is gone."""

    def close(self) -> None:
        """Wake every watcher a last time."""


class Watchers:
    """Those who wait for something new."""

    def __init__(self) -> None:
        self._wakers: set[asyncio.Event] = set()

    def __len__(self) -> int:
        return len(self._wakers)

    @contextlib.contextmanager
    def one(self) -> Iterator[asyncio.Event]:
        """Add one of them."""
        waker = asyncio.Event()
        self._wakers.add(waker)
        try:
            yield waker
        finally:
            self._wakers.discard(waker)

    def wake(self) -> None:
        """Wake them all."""
        for waker in self._wakers:
            waker.set()


class Ring:
    """The newest events, and the place before the first of them."""

    def __init__(self, size: int = RING_SIZE, *, start: int = 0) -> None:
        self._events: collections.deque[Numbered] = collections.deque(maxlen=size)
        self._start = start
        self.last = start

    def add(self, events: Iterable[Numbered]) -> None:
        """Add events with growing numbers."""
        for numbered in events:
            if len(self._events) == self._events.maxlen:
                self._start = self._events[0].number
            self._events.append(numbered)
            self.last = numbered.number

    def reaches(self, place: int) -> bool:
        """Whether all that came after the place is still here."""
        return place >= self._start

    def after(self, place: int) -> list[Numbered]:
        """Return the events after a place, as far as they are here."""
        newer = itertools.takewhile(lambda numbered: numbered.number > place, reversed(self._events))
        return list(newer)[::-1]


class MemoryLog:
    """Events since the service started, in its own memory (``EventLog`` of a server that is alone).

    Ids name the life, so that one from before a restart is known to be from before.
    """

    def __init__(self, life: str, ring_size: int = RING_SIZE) -> None:
        self._life = life
        self._ring = Ring(ring_size)
        self._lock = threading.Lock()
        self._watchers = Watchers()

    def add(self, event: Event) -> None:
        """Number an event."""
        with self._lock:
            self._ring.add([Numbered.of(self._life, self._ring.last + 1, event)])

    def added(self) -> None:
        """Wake who listens."""
        self._watchers.wake()

    def on_others(self, hear: Callable[[Event], None]) -> None:
        """Leave it: there are no other servers."""

    def watch(self) -> contextlib.AbstractContextManager[asyncio.Event]:
        """Watch the ring."""
        return self._watchers.one()

    @contextlib.asynccontextmanager
    async def up_to_date(self) -> AsyncIterator[None]:
        """Enter at once."""
        yield

    async def newest_id(self) -> str:
        """Return the id of the newest event."""
        return event_id(self._life, self._ring.last)

    async def place_of(self, last_id: str) -> int:
        """Return the place of an id; −1 for one of an earlier start of the service, or of none."""
        if not last_id:
            return self._ring.last
        life, number = parsed_id(last_id)
        return number if life == self._life else -1

    async def after(self, place: int) -> Found:
        """Return the events after a place, and the new place."""
        with self._lock:
            events, last = self._ring.after(place), self._ring.last
        first = events[0].number if events else last + 1
        if place < 0 or place + 1 < first:
            events.insert(0, lost(self._life, first - 1))
        return last, events

    def close(self) -> None:
        """Wake who listens."""
        self._watchers.wake()


def event_id(life: str, number: int) -> str:
    """Return the id of an event."""
    return f"{life}-{number}"


def parsed_id(text: str) -> tuple[str, int]:
    """Return the life and the number of an event's id; −1 where it is the id of none."""
    life, _, number = text.rpartition("-")
    return life, int(number) if number.isascii() and number.isdecimal() and len(number) < 19 else -1


def lost(life: str, number: int) -> Numbered:
    """Return the event that says that some before it are gone."""
    return Numbered.of(life, number, events_lost())


def events_lost() -> Event:
    """``events.lost``: some events before it cannot be had."""
    return Event(kind=EventKind.EVENTS_LOST, subject="", at=dt.datetime.now(dt.UTC))
