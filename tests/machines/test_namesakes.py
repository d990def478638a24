"""What is heard of namesakes elsewhere is what was asked for last."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import cast

from innkeeper.machines.directory import Directory
from innkeeper.machines.namesakes import Namesakes
from innkeeper.machines.places import Place, Places


def _place(host: str, name: str) -> Place:
    return Place(host=host, host_id=f"id-{host}", name=name, uuid=f"{host}-{name}")


class _SlowDirectory:
    """A directory whose answers come when the test gives them."""

    def __init__(self) -> None:
        self.answers: list[asyncio.Future[Sequence[Place]]] = []

    async def namesakes(self, hosts: Collection[str], new: Collection[Place] = ()) -> Sequence[Place]:
        self.answers.append(asyncio.get_running_loop().create_future())
        return await self.answers[-1]


async def test_an_older_answer_does_not_overwrite_a_newer_one() -> None:
    """It comes later, and knows less; the newer one waits for nothing."""
    places, directory = Places(shared=True), _SlowDirectory()
    namesakes = Namesakes(places, cast("Directory", directory), {})
    first = asyncio.create_task(namesakes.hear())
    await asyncio.sleep(0)
    second = asyncio.create_task(namesakes.hear())
    await asyncio.sleep(0)
    older, newer = directory.answers
    newer.set_result([_place("cellar", "web-1")])
    assert await second
    older.set_result([])
    assert not await first
    assert places.called("web-1") == [_place("cellar", "web-1")]
