"""Supervision: a loop that fails is logged, restarted after a growing pause, and reported as failing."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from innkeeper.tasks.clock import FakeClock
from innkeeper.tasks.supervision import LONGEST_PAUSE_SECONDS, STEADY_SECONDS, Loops


class _Work:
    """A loop that fails as often as it is told to, and then runs on."""

    def __init__(self, clock: FakeClock, failures: int, lasts: float = 0.0) -> None:
        self.begun: list[float] = []
        self._clock = clock
        self._failures = failures
        self._lasts = lasts

    async def __call__(self) -> None:
        self.begun.append(self._clock.monotonic())
        await self._clock.sleep(self._lasts)
        if len(self.begun) <= self._failures:
            raise RuntimeError("It broke.")
        await asyncio.Event().wait()


async def test_a_loop_that_fails_is_restarted_after_a_growing_pause() -> None:
    """1, 2, 4 … seconds, and never more than the longest pause."""
    clock = FakeClock()
    work = _Work(clock, failures=9)
    task = Loops(clock).start("work", work)
    await clock.advance(400)
    pauses = [later - earlier for earlier, later in zip(work.begun, work.begun[1:], strict=False)]
    assert pauses == pytest.approx([1, 2, 4, 8, 16, 32, *[LONGEST_PAUSE_SECONDS] * 3])
    task.cancel()


async def test_a_failure_is_logged_with_its_traceback() -> None:
    """No loop ends without a line that says which one, and of what."""
    clock = FakeClock()
    with capture_logs() as logs:
        task = Loops(clock).start("work", _Work(clock, failures=1))
        await clock.advance(0.5)
    (line,) = [each for each in logs if each["event"] == "loop.failed"]
    assert line["loop"] == "work"
    assert "RuntimeError: It broke." in line["traceback"]
    task.cancel()


async def test_a_failing_loop_is_reported_until_it_has_run_for_a_while() -> None:
    """Its name, the count of its failures and the last error; well again once it runs steadily."""
    clock = FakeClock()
    loops = Loops(clock)
    tasks = [loops.start("work", _Work(clock, failures=2)), loops.start("other", _Work(clock, failures=0))]
    await clock.advance(3.5)
    assert loops.failing == ["work"]
    assert [(each.name, each.failures, each.error) for each in loops.health] == [
        ("other", 0, ""),
        ("work", 2, "It broke."),
    ]
    await clock.advance(STEADY_SECONDS)
    assert loops.failing == []
    for task in tasks:
        task.cancel()


async def test_a_loop_that_failed_after_a_long_time_is_restarted_soon() -> None:
    """The pauses begin anew once a loop has run steadily."""
    clock = FakeClock()
    work = _Work(clock, failures=5, lasts=STEADY_SECONDS)
    task = Loops(clock).start("work", work)
    await clock.advance(4 * STEADY_SECONDS + 10)
    pauses = [later - earlier for earlier, later in zip(work.begun, work.begun[1:], strict=False)]
    assert pauses == pytest.approx([STEADY_SECONDS + 1] * 4)
    task.cancel()


async def test_a_loop_is_restarted_when_something_inside_it_was_cancelled() -> None:
    """Only a cancellation of the loop's own task ends it."""
    clock = FakeClock()
    begun = 0

    async def work() -> None:
        nonlocal begun
        begun += 1
        inner = asyncio.ensure_future(asyncio.Event().wait())
        if begun == 1:
            inner.cancel()
        await inner

    loops = Loops(clock)
    task = loops.start("work", work)
    await clock.advance(5)
    assert (begun, loops.failing) == (2, ["work"])
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert loops.health == []


async def test_a_loop_that_returns_is_done() -> None:
    """It is neither restarted nor reported."""
    clock = FakeClock()
    loops = Loops(clock)

    async def work() -> None:
        return

    task = loops.start("work", work)
    await clock.advance(5)
    assert task.done()
    assert loops.health == []
