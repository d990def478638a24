"""Ways to wait: for the first of several, for so long at most, until something is true, for a wake-up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from innkeeper.tasks.ports import Clock

T = TypeVar("T")


class Outrun(Exception):
    """Something else came before what was waited for."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        #: Which of the others it was, from 0.
        self.number = number


async def unless(work: Awaitable[T], *others: Awaitable[object]) -> T:
    """The result of ``work``, unless one of the others comes first: then ``Outrun``.

    Raises what the first of them raised. The rest are cancelled, and have let go when this ends. Work that
    ends in the same turn as another has won.
    """
    racers = [asyncio.ensure_future(work), *(asyncio.ensure_future(other) for other in others)]
    first, *rest = racers
    try:
        await asyncio.wait(racers, return_when=asyncio.FIRST_COMPLETED)
        if first.done():
            return racers[0].result()  # type: ignore[return-value]  # the work's own
        number = next(number for number, other in enumerate(rest) if other.done())
        rest[number].result()
        raise Outrun(number)
    finally:
        for racer in racers:
            racer.cancel()
        await asyncio.wait(racers)


async def first_of(*awaited: Awaitable[object]) -> None:
    """Return when the first of them has come; the rest are cancelled. Raises what it raised."""
    first, *rest = awaited
    try:
        await unless(first, *rest)
    except Outrun:
        return


async def within(clock: Clock, seconds: float, awaited: Awaitable[object]) -> bool:
    """Whether the work ended within so many seconds of the clock; otherwise it is cancelled."""
    try:
        await unless(awaited, clock.sleep(seconds))
    except Outrun:
        return False
    return True


async def until(clock: Clock, look: Callable[[], Awaitable[T]], *, every: float, seconds: float) -> T:
    """Look now, and again every so often, until what is seen is true or the time is over.

    Returns what was seen last. There is a look after the last wait, so nothing that came in time is missed.
    """
    give_up = clock.monotonic() + seconds
    while True:
        seen = await look()
        if seen or clock.monotonic() >= give_up:
            return seen
        await clock.sleep(every)


class Signal:
    """Wakes one waiter, and keeps a wake-up that comes while it is busy: none is missed.

    Wait first and look then: what happens between the look and the next wait ends that wait at once.
    """

    def __init__(self, *, is_set: bool = False) -> None:
        """``is_set``: the first wait ends at once."""
        self._event = asyncio.Event()
        if is_set:
            self._event.set()

    def set(self) -> None:
        """Wake the waiter, now or at its next wait."""
        self._event.set()

    def clear(self) -> None:
        """Take a wake-up that has come already: the look that follows sees what it was about."""
        self._event.clear()

    async def wait(self) -> None:
        """Return at the next wake-up. A wait that is cancelled takes none away."""
        await self._event.wait()
        self._event.clear()

    async def wait_within(self, clock: Clock, seconds: float) -> bool:
        """As ``wait``, for so many seconds of the clock at most; whether there was a wake-up.

        Not ``within`` over ``wait``: that would take a wake-up away when the whole is cancelled.
        """
        if self._event.is_set():
            await asyncio.sleep(0)
            self._event.clear()
            return True
        is_woken = await within(clock, seconds, self._event.wait())
        if is_woken:
            self._event.clear()
        return is_woken
