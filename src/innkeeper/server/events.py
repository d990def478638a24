"""Event bus: one ring buffer, and a position in it for each listener.

A slow listener costs nothing but its place: what the ring has let go of, it is told to have lost.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import datetime as dt
import functools
import itertools
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from fnmatch import fnmatchcase

import structlog

from innkeeper.tasks.outcome import traceback_of
from innkeeper.wire.documented_events import documented
from innkeeper.wire.events import Event, EventKind, Publish
from innkeeper.wire.messages import EventMessage

_log = structlog.get_logger(__name__)

#: How many events a listener may lag behind, or have missed while it was away.
RING_SIZE = 20_000


@dataclasses.dataclass(kw_only=True, slots=True, eq=False)
class Numbered:
    """An event with its number in the stream, which is the same for every listener."""

    #: ``<life of the bus>-<number>``.
    id: str
    number: int
    event: Event
    _json: bytes = b""

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


class EventBus:
    """The stream of all events since the service started.

    Ids name the life, so that one from before a restart is known to be from before.
    """

    def __init__(self, life: str, ring_size: int = RING_SIZE) -> None:
        self._life = life
        self._ring: collections.deque[Numbered] = collections.deque(maxlen=ring_size)
        self._numbers = itertools.count(1)
        self._last = 0
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wakers: set[asyncio.Event] = set()
        self._subscribers: list[Publish] = []
        self._closed = False

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Set the event loop on which listeners wait."""
        self._loop = loop

    def subscribe(self, on_event: Publish) -> None:
        """Call ``on_event`` with every event, on the event loop."""
        self._subscribers.append(on_event)

    def publish(self, event: Event) -> None:
        """Publish an event from any thread. Never blocks, never raises."""
        with self._lock:
            self._last = next(self._numbers)
            self._ring.append(self._numbered(self._last, event))
        self._on_loop(lambda: self._spread(event))

    def close(self) -> None:
        """End every listener's stream."""
        self._closed = True
        self._on_loop(self._wake)

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
        waker = asyncio.Event()
        self._wakers.add(waker)
        try:
            place = self._last if not last_id else self._place(last_id)
            while not self._closed:
                waker.clear()
                place, events = self._after(place)
                found = [numbered for numbered in events if _matches(numbered.event.kind, kinds)]
                if found:
                    yield found
                elif not events and not await _wakes(waker, timeout_seconds):
                    yield ()
                elif gather_seconds and not self._closed:
                    await asyncio.sleep(gather_seconds)
        finally:
            self._wakers.discard(waker)

    @property
    def last_id(self) -> str:
        """The id of the newest event, for listeners that want all that follows."""
        return f"{self._life}-{self._last}"

    def _place(self, last_id: str) -> int:
        """Return the number of an event id; −1 for one of an earlier start of the service, or of none."""
        life, _, number = last_id.rpartition("-")
        return int(number) if life == self._life and number.isdecimal() else -1

    def _after(self, place: int) -> tuple[int, list[Numbered]]:
        """Return the events after a position, and the new position."""
        with self._lock:
            last = self._last
            events = list(itertools.islice(reversed(self._ring), last - place))[::-1]
        first = events[0].number if events else last + 1
        if place < 0 or place + 1 < first:
            lost = Event(kind=EventKind.EVENTS_LOST, subject="", at=dt.datetime.now(dt.UTC))
            events.insert(0, self._numbered(first - 1, lost))
        return last, events

    def _numbered(self, number: int, event: Event) -> Numbered:
        return Numbered(id=f"{self._life}-{number}", number=number, event=event)

    def _on_loop(self, call: Callable[[], None]) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has gone, and with it all listeners
                self._loop.call_soon_threadsafe(call)

    def _spread(self, event: Event) -> None:
        self._wake()
        for on_event in self._subscribers:
            try:
                on_event(event)
            except Exception as exc:  # one that fails must not keep the event from the others
                _log.error(
                    "events.subscriber_failed",
                    subscriber=_name(on_event),
                    kind=event.kind,
                    traceback=traceback_of(exc),
                )

    def _wake(self) -> None:
        for waker in tuple(self._wakers):
            waker.set()


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
