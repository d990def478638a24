"""The clock that tests and simulations hold in their hand."""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest

from innkeeper.tasks.clock import FakeClock, SystemClock

NIGHT = dt.datetime(2026, 1, 10, 22, 0, tzinfo=dt.UTC)


async def test_time_stands_still_until_it_is_stepped() -> None:
    """Both of its times move with the step, and by nothing else."""
    clock = FakeClock(NIGHT)
    assert (clock.now(), clock.monotonic()) == (NIGHT, 0.0)
    await clock.advance(90.5)
    assert (clock.now(), clock.monotonic()) == (NIGHT + dt.timedelta(seconds=90.5), 90.5)


async def test_sleepers_wake_in_order_and_on_time() -> None:
    """Also those that go to sleep again on the way."""
    clock = FakeClock(NIGHT)
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, *naps: float) -> None:
        for nap in naps:
            await clock.sleep(nap)
            woken.append((name, clock.monotonic()))

    async with asyncio.TaskGroup() as group:
        group.create_task(sleeper("a", 10, 10, 10))
        group.create_task(sleeper("b", 15))
        group.create_task(sleeper("c", 100))
        await clock.advance(29)
        assert woken == [("a", 10), ("b", 15), ("a", 20)]
        assert clock.next_waking == pytest.approx(1)
        await clock.advance(1000)
    assert woken[3:] == [("a", 30), ("c", 100)]
    assert clock.next_waking is None


async def test_a_sleep_of_nothing_lets_others_run() -> None:
    """It returns without a step of the clock."""
    clock = FakeClock()
    await asyncio.wait_for(clock.sleep(0), 5)
    await asyncio.wait_for(clock.sleep(-1), 5)


async def test_a_cancelled_sleep_wakes_nobody() -> None:
    """The clock forgets it."""
    clock = FakeClock()
    sleeping = asyncio.create_task(clock.sleep(5))
    await clock.advance(1)
    sleeping.cancel()
    await clock.advance(10)
    assert sleeping.cancelled()
    assert clock.next_waking is None


async def test_a_whole_night_passes_in_no_time() -> None:
    """Twelve hours of a hundred machines that look around once a minute."""
    clock = FakeClock()
    looks = 0

    async def look_around() -> None:
        nonlocal looks
        while True:
            await clock.sleep(60)
            looks += 1

    watching = [asyncio.create_task(look_around()) for _ in range(100)]
    await clock.advance(12 * 3600)
    assert looks == 12 * 60 * 100
    for task in watching:
        task.cancel()


async def test_time_can_run_fast_by_itself() -> None:
    """An hour passes by itself, in far less than an hour, and its sleepers wake in order."""
    clock = FakeClock(speed=36_000)
    began, woken = clock.monotonic(), list[float]()

    async def sleep(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    async with asyncio.timeout(120):
        await asyncio.gather(sleep(3600), sleep(1800), sleep(10))
    assert woken == [10, 1800, 3600]
    assert clock.monotonic() - began >= 3600


async def test_a_leap_of_time_wakes_who_slept_before_it_in_time() -> None:
    """Also where time runs by itself: the wait is as much shorter as the leap was long."""
    clock = FakeClock(speed=100.0)
    sleeping = asyncio.create_task(clock.sleep(100_000))
    await clock.advance(99_999)
    async with asyncio.timeout(20):
        await asyncio.gather(sleeping, clock.sleep(200))


async def test_the_system_s_clock_is_aware_and_in_utc() -> None:
    """A wall time without a zone would be nobody's time."""
    clock = SystemClock()
    assert clock.now().utcoffset() == dt.timedelta(0)
    before = clock.monotonic()
    await clock.sleep(0)
    assert clock.monotonic() >= before
