"""Ways to wait: what comes first wins, what loses lets go, and no wake-up is missed."""

from __future__ import annotations

import asyncio

import pytest

from innkeeper.tasks.clock import FakeClock
from innkeeper.tasks.waiting import Outrun, Signal, first_of, unless, until, within


async def _never() -> None:
    await asyncio.get_running_loop().create_future()


async def _value(value: int) -> int:
    return value


async def _raises() -> None:
    raise ValueError("broken")


async def test_work_that_comes_first_has_its_result() -> None:
    """And what it raised is raised."""
    assert await unless(_value(7), _never()) == 7
    with pytest.raises(ValueError, match="broken"):
        await unless(_raises(), _never())


async def test_work_that_is_outrun_says_by_what() -> None:
    """By the number among the others; what those raised is raised too."""
    with pytest.raises(Outrun) as caught:
        await unless(_never(), _never(), _value(1))
    assert caught.value.number == 1
    with pytest.raises(ValueError, match="broken"):
        await unless(_never(), _raises())


async def test_what_loses_has_let_go_when_the_wait_ends() -> None:
    """Its ``finally`` has run: a lock that it held is free."""
    let_go: list[str] = []

    async def holds() -> None:
        try:
            await _never()
        finally:
            await asyncio.sleep(0)
            let_go.append("lock")

    await first_of(holds(), _value(1))
    assert let_go == ["lock"]


async def test_a_wait_that_is_cancelled_cancels_all() -> None:
    """Nobody is left behind."""
    others = [asyncio.create_task(_never()) for _ in range(2)]
    waiting = asyncio.create_task(first_of(*others))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    assert all(other.cancelled() for other in others)


async def test_within_the_time_is_told_from_too_late() -> None:
    """By the given clock."""
    clock = FakeClock()
    assert await within(clock, 5, _value(0))
    late = asyncio.create_task(within(clock, 5, _never()))
    await clock.advance(4.9)
    assert not late.done()
    await clock.advance(0.2)
    assert await late is False


async def test_until_looks_once_more_at_the_end() -> None:
    """What became true during the last wait is seen."""
    clock = FakeClock()

    async def look() -> bool:
        return clock.monotonic() >= 5

    assert not await until(clock, look, every=2, seconds=0)
    waiting = asyncio.create_task(until(clock, look, every=2, seconds=5))
    await clock.advance(10)
    assert await waiting


async def test_a_wake_up_during_the_look_ends_the_next_wait() -> None:
    """It is kept for a waiter that is busy, and taken once."""
    signal, looks = Signal(is_set=True), []

    async def look_again_and_again() -> None:
        while True:
            await signal.wait()
            looks.append("look")
            if len(looks) == 1:
                signal.set()
            await asyncio.sleep(0)

    looking = asyncio.create_task(look_again_and_again())
    for _ in range(20):
        await asyncio.sleep(0)
    assert looks == ["look", "look"]
    looking.cancel()


async def test_a_wait_that_was_given_up_takes_no_wake_up_away() -> None:
    """What came in the turn in which the time ran out is there for the next wait."""
    clock, signal = FakeClock(), Signal()
    waiting = asyncio.create_task(signal.wait_within(clock, 1))
    await asyncio.sleep(0)
    waiting.cancel()
    signal.set()
    await asyncio.wait([waiting])
    async with asyncio.timeout(5):
        await signal.wait()
