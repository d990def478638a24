"""The bus: who listens gets all, in order, from where they left off, or is told that some is lost."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import threading
from collections.abc import AsyncGenerator

from structlog.testing import capture_logs

from innkeeper.server.events.bus import EventBus
from innkeeper.server.events.log import MemoryLog, Numbered
from innkeeper.wire.events import Event, EventKind

_AT = dt.datetime(2026, 11, 21, 22, tzinfo=dt.UTC)


def _event(number: int, kind: EventKind = EventKind.TASK_CHANGED) -> Event:
    return Event(kind=kind, subject=str(number), at=_AT)


async def _bus(ring_size: int = 100) -> EventBus:
    bus = EventBus(MemoryLog("life", ring_size))
    bus.attach(asyncio.get_running_loop())
    return bus


async def _take(events: AsyncGenerator[Numbered, None], count: int) -> list[Numbered]:
    async with asyncio.timeout(5):
        return [await anext(events) for _ in range(count)]


async def test_a_listener_gets_every_event_in_order() -> None:
    """Nothing is lost between two reads, however they interleave with publishing."""
    bus = await _bus()
    async with contextlib.aclosing(bus.listen()) as events:
        first = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        for number in range(5):
            bus.publish(_event(number))
        read = [await first, *await _take(events, 4)]
    assert [numbered.event.subject for numbered in read] == ["0", "1", "2", "3", "4"]


async def test_a_listener_resumes_after_the_last_id_it_saw() -> None:
    """A connection that was lost loses no event."""
    bus = await _bus()
    for number in range(5):
        bus.publish(_event(number))
    async with contextlib.aclosing(bus.listen("life-2")) as events:
        read = await _take(events, 3)
    assert [numbered.id for numbered in read] == ["life-3", "life-4", "life-5"]


async def test_events_that_the_ring_let_go_of_are_said_to_be_lost() -> None:
    """A listener that was away too long reads anew instead of believing an old picture."""
    bus = await _bus(ring_size=3)
    for number in range(10):
        bus.publish(_event(number))
    async with contextlib.aclosing(bus.listen("life-1")) as events:
        read = await _take(events, 4)
    assert read[0].event.kind == EventKind.EVENTS_LOST
    assert [numbered.event.subject for numbered in read[1:]] == ["7", "8", "9"]


async def test_an_id_of_another_life_is_answered_with_lost_and_all_that_is_known() -> None:
    """After a restart of the service no listener waits for numbers that will never come."""
    bus = await _bus()
    bus.publish(_event(1))
    async with contextlib.aclosing(bus.listen("former-99")) as events:
        read = await _take(events, 2)
    assert [numbered.event.kind for numbered in read] == [EventKind.EVENTS_LOST, EventKind.TASK_CHANGED]


async def test_an_id_of_another_life_is_answered_with_lost_where_nothing_has_happened_yet() -> None:
    """The listener is told at once, not at the first event."""
    bus = await _bus()
    async with contextlib.aclosing(bus.listen("former-99")) as events:
        (lost,) = await _take(events, 1)
        bus.publish(_event(1))
        (following,) = await _take(events, 1)
    assert (lost.event.kind, following.event.kind) == (EventKind.EVENTS_LOST, EventKind.TASK_CHANGED)


async def test_only_the_kinds_asked_for_are_told() -> None:
    """Patterns choose, as in ``task.*``."""
    bus = await _bus()
    for kind in (EventKind.MACHINE_STARTED, EventKind.TASK_CHANGED, EventKind.UPDATE_BOOKED):
        bus.publish(_event(1, kind))
    async with contextlib.aclosing(bus.listen("life-0", ("task.*", "update.*"))) as events:
        read = await _take(events, 2)
    assert [numbered.event.kind for numbered in read] == [EventKind.TASK_CHANGED, EventKind.UPDATE_BOOKED]


async def test_a_listener_is_woken_from_another_thread() -> None:
    """libvirt's event thread publishes too."""
    bus = await _bus()
    async with contextlib.aclosing(bus.listen()) as events:
        waiting = asyncio.ensure_future(_take(events, 1))
        await asyncio.sleep(0)
        thread = threading.Thread(target=bus.publish, args=(_event(1),))
        thread.start()
        assert (await waiting)[0].event.subject == "1"
        thread.join()


async def test_closing_ends_every_stream() -> None:
    """A service that stops does not wait for its listeners."""
    bus = await _bus()
    async with contextlib.aclosing(bus.listen()) as events:
        waiting = asyncio.ensure_future(anext(events, None))
        await asyncio.sleep(0)
        bus.close()
        async with asyncio.timeout(5):
            assert await waiting is None


def test_publishing_where_nobody_listens_does_nothing() -> None:
    """Rooms may tell things before the doors are open, and after they are shut."""
    EventBus(MemoryLog("life")).publish(_event(1))


async def test_a_subscriber_that_fails_keeps_no_event_from_the_others() -> None:
    """Those after it hear every event, and the log says which one failed."""
    bus, heard = await _bus(), list[str]()

    def broken(event: Event) -> None:
        raise RuntimeError("It broke.")

    bus.subscribe(broken)
    bus.subscribe(lambda event: heard.append(event.subject))
    with capture_logs() as logs:
        for number in range(2):
            bus.publish(_event(number))
        await asyncio.sleep(0)
    assert heard == ["0", "1"]
    failures = [each for each in logs if each["event"] == "events.subscriber_failed"]
    assert [each["kind"] for each in failures] == ["task.changed"] * 2
    assert all("broken" in each["subscriber"] for each in failures)
