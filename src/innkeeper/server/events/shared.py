"""Events of several servers on one database: written in batches, read at every door by number.

What a server tells is numbered as it is written, under the lock of one row: numbers become visible in their
order, and a reader who asks for what comes after the last misses nothing.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import itertools
import threading
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Final, Protocol, TypeVar

import structlog

from innkeeper.errors import ServiceError
from innkeeper.server.events.log import (
    RING_SIZE,
    Found,
    Numbered,
    Ring,
    Watchers,
    event_id,
    events_lost,
    lost,
    parsed_id,
)
from innkeeper.wire.events import Event

#: Events in one write, and in one read.
_BATCH: Final = 500
#: What happens within this of a write goes with the next one.
_WRITE_SECONDS: Final = 0.05
#: Events that wait for a database that is away; beyond them the oldest are let go of.
_MAX_WAITING: Final = 20_000
#: A reader looks so often, also where it is told of nothing.
_LOOK_SECONDS: Final = 1.0
#: A reader stays for so long after the last viewer has gone: pages come and go.
_LINGER_SECONDS: Final = 10.0
#: Seconds before the first new attempt, and at most.
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0
#: What is read this soon after a read goes with the next one.
_READ_SECONDS: Final = 0.01
#: Who needs to be up to date waits so long at most for the reader: the database may be away.
_CATCH_UP_SECONDS: Final = 1.0
#: Seconds between two looks for events that nobody will ask for any more.
_RETENTION_SECONDS: Final = 60.0
#: More than a listener may lag behind.
_KEPT: Final = 2 * RING_SIZE
#: A service that stops waits so long for its last events to be written.
_LAST_SECONDS: Final = 2.0

_log = structlog.get_logger(__name__)

T = TypeVar("T")


class Told(Protocol):
    """An event with its number in the inn, and the process that told it."""

    @property
    def number(self) -> int: ...
    @property
    def source(self) -> str: ...
    @property
    def event(self) -> Event: ...


class Outbox(Protocol):
    """Events of all servers in the database. Every method raises ``ServiceError`` where that fails."""

    async def newest(self) -> tuple[str, int]:
        """Return the life of the numbers, and the newest."""

    async def append(self, source: str, events: Sequence[tuple[int, Event]]) -> None:
        """Number and keep events of a server, each with its number there; done again, it does nothing."""

    async def after(self, number: int, limit: int) -> Sequence[Told]:
        """Return the events after a number, in order."""

    def following(self) -> contextlib.AbstractAsyncContextManager[Following]:
        """Connect a reader, which is told of new events from then on."""

    async def bookings_between(self, number: int, last: int) -> Sequence[Told]:
        """Return what was booked or taken back after a number, up to another, in order."""

    async def forget(self, keep: int) -> None:
        """Forget all but the newest."""


class Following(Protocol):
    """A reader with a connection of its own."""

    async def newest(self) -> tuple[str, int]:
        """Return the life of the numbers, and the newest."""

    async def after(self, number: int, limit: int) -> Sequence[Told]:
        """Return the events after a number, in order."""

    async def told(self, timeout_seconds: float) -> None:
        """Return when something new was written since the last read, or after the time."""


class SharedLog:
    """The events of an inn of several servers (``EventLog``).

    One connection reads for all viewers of this server, and only while there are some.
    """

    def __init__(self, outbox: Outbox, *, max_waiting: int = _MAX_WAITING) -> None:
        self._outbox = outbox
        self._source = uuid.uuid4().hex
        self._waiting = _Waiting(max_waiting)
        self._to_write = asyncio.Event()
        self._hear: Callable[[Event], None] = lambda event: None
        self._watchers = Watchers()
        self._watched = asyncio.Event()
        #: What the reader has read; nothing while it is away.
        self._ring: Ring | None = None
        self._watched_at = float("-inf")
        self._life = ""
        self._is_closed = False
        # A former process under this server's name may have been killed before it told its last events.
        self.add(events_lost())

    # What is told here

    def add(self, event: Event) -> None:
        """Take an event that is to be written."""
        self._waiting.add(event)

    def added(self) -> None:
        """Begin to write."""
        self._to_write.set()

    async def write_for_ever(self) -> None:
        """Write what is told here, in order; runs while the service is open."""
        self._to_write.set()
        while True:
            await self._to_write.wait()
            self._to_write.clear()
            await self._write_all()

    async def write_last(self) -> None:
        """Write what is left once ``write_for_ever`` has ended; gives up where the database is away."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_SECONDS):
                await self._write_all()

    async def _write_all(self) -> None:
        while batch := self._waiting.first(_BATCH):
            await _insist("events.not_written", lambda: self._outbox.append(self._source, batch))
            self._waiting.written(batch[-1][0])
            await asyncio.sleep(0 if self._is_closed else _WRITE_SECONDS)

    async def forget_for_ever(self) -> None:
        """Forget what no listener may ask for any more; runs while the service is open."""
        while True:
            await _insist("events.not_forgotten", lambda: self._outbox.forget(_KEPT))
            await asyncio.sleep(_RETENTION_SECONDS)

    # Who listens

    def on_others(self, hear: Callable[[Event], None]) -> None:
        """Call ``hear`` with what other servers tell."""
        self._hear = hear

    @contextlib.contextmanager
    def watch(self) -> Iterator[asyncio.Event]:
        """Watch the log, which keeps the reader reading."""
        with self._watchers.one() as waker:
            self._watched.set()
            try:
                yield waker
            finally:
                self._watched_at = time.monotonic()

    @contextlib.asynccontextmanager
    async def up_to_date(self) -> AsyncIterator[None]:
        """Wait until the reader reads, for a moment at most."""
        with self.watch() as waker:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CATCH_UP_SECONDS):
                    while self._ring is None:
                        waker.clear()
                        await waker.wait()
            yield

    async def newest_id(self) -> str:
        """Return the id of the newest event that was read here, or else of the newest in the database."""
        if self._ring is not None:
            return event_id(self._life, self._ring.last)
        return event_id(*await self._outbox.newest())  # a request has no time to insist

    async def place_of(self, last_id: str) -> int:
        """Return the place of an id, −1 for an unknown or too old one; without one, that of the newest."""
        life, newest = await self._newest()
        if not last_id:
            return newest
        theirs, number = parsed_id(last_id)
        return number if theirs == life and newest - RING_SIZE <= number <= newest else -1

    async def after(self, place: int) -> Found:
        """Return what comes after a place: what was read already, or what is in the database."""
        if place < 0:
            life, newest = await self._newest()
            return newest, [lost(life, newest)]
        if self._ring is not None and self._ring.reaches(place):
            return max(place, self._ring.last), self._ring.after(place)
        told = await _insist("events.not_read", lambda: self._outbox.after(place, _BATCH))
        return (told[-1].number if told else place), self._numbered(place, told)

    def close(self) -> None:
        """Wake who listens, and write what is left without waiting for company."""
        self._is_closed = True
        self._watchers.wake()

    async def _newest(self) -> tuple[str, int]:
        self._life, newest = await _insist("events.not_read", self._outbox.newest)
        return self._life, newest

    def _numbered(self, place: int, told: Sequence[Told]) -> Sequence[Numbered]:
        events = [Numbered.of(self._life, each.number, each.event) for each in told]
        if told and told[0].number != place + 1:
            events.insert(0, lost(self._life, told[0].number - 1))
        return events

    # The reader

    async def read_for_ever(self) -> None:
        """Read what all servers tell, while somebody watches; runs while the service is open."""
        pauses = _Pauses("events.not_read")
        while True:
            await self._watched.wait()
            try:
                async with self._outbox.following() as following:
                    ring = self._begin(*await following.newest())
                    pauses.over()
                    await self._keep_up(following, ring)
            except ServiceError as error:  # what was read stays; what came meanwhile is read when it is back
                await pauses.rest(error)

    async def follow_bookings(self) -> None:
        """Hear of bookings made at other doors, also while nobody watches; runs while the service is open.

        A look a second at one row, instead of a connection that does nothing but listen.
        """
        place = None
        while True:
            if self._ring is not None:  # the reader hears of everything
                place = self._ring.last
            else:
                place = await self._followed_to(place)
            await asyncio.sleep(_LOOK_SECONDS)

    async def _followed_to(self, place: int | None) -> int:
        _, newest = await _insist("events.not_read", self._outbox.newest)
        if place is not None and newest > place:
            after = place
            told = await _insist("events.not_read", lambda: self._outbox.bookings_between(after, newest))
            self._hear_of(told)
        return newest

    def _hear_of(self, told: Sequence[Told]) -> None:
        for each in told:
            if each.source != self._source:
                self._hear(each.event)

    def _begin(self, life: str, newest: int) -> Ring:
        """Go on after what was read last, or from now on."""
        ring = self._ring
        if ring is None or life != self._life or newest < ring.last:
            ring = Ring(start=newest)
        self._life, self._ring = life, ring
        self._watchers.wake()
        return ring

    async def _keep_up(self, following: Following, ring: Ring) -> None:
        while self._is_watched():
            told = await following.after(ring.last, _BATCH)
            if told:
                self._take(ring, told)
                await asyncio.sleep(_READ_SECONDS)
            else:
                await following.told(_LOOK_SECONDS)
        self._ring = None
        self._watched.clear()

    def _take(self, ring: Ring, told: Sequence[Told]) -> None:
        ring.add(self._numbered(ring.last, told))
        self._watchers.wake()
        self._hear_of(told)

    def _is_watched(self) -> bool:
        return len(self._watchers) > 0 or time.monotonic() - self._watched_at < _LINGER_SECONDS


class _Waiting:
    """Events that are to be written, numbered in the order in which this server told them."""

    def __init__(self, most: int) -> None:
        self._events: collections.deque[tuple[int, Event]] = collections.deque()
        self._most = most
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def add(self, event: Event) -> None:
        """Add an event. Where there are too many, the oldest give way to one that says so."""
        with self._lock:
            if len(self._events) >= self._most:
                self._events.popleft()
                number, _ = self._events.popleft()
                self._events.appendleft((number, events_lost()))
            self._events.append((next(self._numbers), event))

    def first(self, count: int) -> Sequence[tuple[int, Event]]:
        """Return the oldest."""
        with self._lock:
            return list(itertools.islice(self._events, count))

    def written(self, number: int) -> None:
        """Forget those up to a number."""
        with self._lock:
            while self._events and self._events[0][0] <= number:
                self._events.popleft()


class _Pauses:
    """Growing pauses between attempts, and one word in the log for all of them."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._seconds = 0.0

    async def rest(self, error: ServiceError) -> None:
        """Wait before the next attempt."""
        if not self._seconds:
            _log.warning(self._name, error=str(error))
        self._seconds = min(2 * self._seconds, _LONGEST_PAUSE) or _FIRST_PAUSE
        await asyncio.sleep(self._seconds)

    def over(self) -> None:
        """Begin anew: an attempt has succeeded."""
        self._seconds = 0.0


async def _insist(name: str, call: Callable[[], Awaitable[T]]) -> T:
    """Call until the database answers."""
    pauses = _Pauses(name)
    while True:
        try:
            return await call()
        except ServiceError as error:
            await pauses.rest(error)
