"""A guest waits for what it sends itself, and for nothing that others or the service do."""

from __future__ import annotations

import asyncio

from innkeeper.channels.allowance import Offences
from innkeeper.channels.throttle import SLICE_BYTES, Processor, Slice, Throttle
from innkeeper.tasks.clock import FakeClock

_FRAME_BYTES = 12


class Guest:
    """A guest of which every slice takes as long as the test says."""

    def __init__(self, clock: FakeClock, processor: Processor) -> None:
        self._clock = clock
        self.offences = Offences(clock)
        self._throttle = Throttle(clock, processor, self.offences)

    async def send(self, frames: int, *, seconds: float) -> None:
        """Send so many frames, a slice at a time, each of which takes so long."""
        while frames > 0 and not self.offences.are_too_many:
            some = min(frames, SLICE_BYTES // _FRAME_BYTES)
            self._throttle.charge(
                Slice(size_bytes=some * _FRAME_BYTES, due_bytes=0, frames=some, seconds=seconds)
            )
            await self._throttle.pay()
            frames -= some

    async def flood(self, after: float) -> None:
        """Send without end, from some time on."""
        await self._clock.sleep(after)
        await self.send(10_000_000, seconds=0.01)

    async def talk(self) -> None:
        """Send much at once, and then little for two minutes."""
        await self._clock.sleep(12)
        await self.send(3800, seconds=0.0005)
        for _ in range(120 * 50):
            await self._clock.sleep(0.02)
            await self.send(1, seconds=0.00005)


async def test_an_honest_guest_is_not_left_alone_for_the_floods_of_others() -> None:
    """It had more than its share once, and waits since by what it sends itself."""
    clock = FakeClock()
    processor = Processor(clock)
    good, *evil = (Guest(clock, processor) for _ in range(9))
    async with asyncio.TaskGroup() as group:
        talking = group.create_task(good.talk())
        for number, each in enumerate(evil):
            group.create_task(each.flood(number * 6))
        await clock.advance(240)
        assert talking.done()
    assert not good.offences.are_too_many
    assert all(each.offences.are_too_many for each in evil)


async def test_a_collection_of_garbage_is_charged_to_no_guest() -> None:
    """One slice during which the thread was busy with something else is no flood."""
    clock = FakeClock()
    guest = Guest(clock, Processor(clock))
    sending = asyncio.create_task(guest.send(1, seconds=0.41))
    await clock.advance(1)
    assert sending.done()
    assert not guest.offences.are_too_many
