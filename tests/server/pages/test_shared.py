"""What is made once for many: nobody gets another's, and an error is everybody's."""

from __future__ import annotations

import asyncio

import pytest

from innkeeper.server.pages.shared import Shared


async def test_those_who_ask_at_once_get_what_was_made_once() -> None:
    """Each for their own key."""
    shared: Shared[str] = Shared(60)
    made: list[str] = []

    async def make(name: str) -> str:
        made.append(name)
        await asyncio.sleep(0)
        return name

    asked = [shared.get(name, lambda name=name: make(name)) for name in ("ana", "bob", "ana", "ana")]  # type: ignore[misc]
    assert await asyncio.gather(*asked) == ["ana", "bob", "ana", "ana"]
    assert made == ["ana", "bob"]


async def test_it_is_made_anew_when_its_moment_is_over() -> None:
    """Nobody sees an old one."""
    shared: Shared[int] = Shared(-1)
    numbers = iter(range(10))

    async def make() -> int:
        return next(numbers)

    assert [await shared.get("x", make) for _ in range(3)] == [0, 1, 2]


async def test_whoever_stops_waiting_does_not_take_it_from_the_others() -> None:
    """A page that is closed while it loads."""
    shared: Shared[str] = Shared(60)
    ready = asyncio.Event()

    async def make() -> str:
        await ready.wait()
        return "made"

    gone, stays = (asyncio.ensure_future(shared.get("x", make)) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    ready.set()
    assert await stays == "made"


async def test_what_could_not_be_made_is_told_to_all_who_asked() -> None:
    """With the error as it was raised."""
    shared: Shared[str] = Shared(60)

    async def make() -> str:
        raise LookupError("no")

    for answer in await asyncio.gather(*(shared.get("x", make) for _ in range(2)), return_exceptions=True):
        assert isinstance(answer, LookupError)
    with pytest.raises(LookupError):
        await shared.get("x", make)


async def test_memory_is_bounded_whatever_is_asked_for() -> None:
    """The oldest are forgotten first."""
    shared: Shared[int] = Shared(60)

    async def make() -> int:
        return 1

    for number in range(2000):
        await shared.get(number, make)
    assert len(shared._making) <= 256
