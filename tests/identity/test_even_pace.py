"""A wrong log-in takes as long for a name that is not there as for one that is."""

from __future__ import annotations

import asyncio

from innkeeper.identity.even_pace import EvenPace
from innkeeper.tasks.clock import FakeClock


async def _seconds_of_a_no(clock: FakeClock, pace: EvenPace, work_seconds: float) -> float:
    """How long somebody waits for a no that took the realm so long."""
    began = clock.monotonic()
    await clock.advance(work_seconds)
    refused = asyncio.create_task(pace.refuse(began))
    while not refused.done():
        await clock.advance(0.01)
    return round(clock.monotonic() - began, 1)


async def test_every_no_takes_as_long_as_the_slowest_answer_before() -> None:
    """Whoever the realm looked further for is not told by the time."""
    clock = FakeClock()
    pace = EvenPace(clock)
    began = clock.monotonic()
    await clock.advance(0.5)
    pace.note(began)
    took = {await _seconds_of_a_no(clock, pace, work) for work in (0.0, 0.1, 0.3, 0.5)}
    assert took <= {0.5, 0.6}


async def test_tries_that_the_realm_never_saw_change_no_pace() -> None:
    """However many: they would make it forget how long it looks."""
    clock = FakeClock()
    pace = EvenPace(clock)
    began = clock.monotonic()
    await clock.advance(0.5)
    pace.note(began)
    for _ in range(64):
        refused = asyncio.create_task(pace.refuse(clock.monotonic(), asked=False))
        while not refused.done():
            await clock.advance(0.25)
    assert await _seconds_of_a_no(clock, pace, 0) >= 0.5


async def test_a_realm_that_hung_once_makes_nobody_wait_for_ever() -> None:
    """The slowest is forgotten after a while, and never counts for more than three seconds."""
    clock = FakeClock()
    pace = EvenPace(clock)
    assert await _seconds_of_a_no(clock, pace, 60) == 60
    assert await _seconds_of_a_no(clock, pace, 0) <= 3.1
    for _ in range(64):
        await _seconds_of_a_no(clock, pace, 0.2)
    assert await _seconds_of_a_no(clock, pace, 0.2) <= 3.1
