"""A machine that was announced stays in the directory until a look that can know of it finds it gone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from innkeeper.hypervisor.simulated.machines import SimulatedMachine
from innkeeper.machines.machine import Machine
from innkeeper.server.board import Notice
from innkeeper.server.relay.keeper import DirectoryKeeper
from tests.server.relay.two_servers import Server


async def test_a_look_that_began_before_a_machine_came_does_not_take_it_away(
    inn: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another look, which begins after it has gone, does."""
    _, south = inn
    board, machines, look = south.house.board, south.house.machines, DirectoryKeeper.look
    monkeypatch.setattr(DirectoryKeeper, "look", _look_at_nothing)
    has_listed, is_shared, go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()
    everything, all_of_them = machines.everything, board.all

    async def slowly() -> Sequence[Machine]:
        found = await everything()
        has_listed.set()
        await go_on.wait()
        return found

    async def shared() -> Sequence[Notice]:
        board.look_again()
        is_shared.set()
        return await all_of_them()

    async def is_written() -> bool:
        return bool(await south.directory.with_uuid("cellar-late"))

    async with asyncio.timeout(60):
        with monkeypatch.context() as slow:
            slow.setattr(machines, "everything", slowly)
            board.look_again()
            first = asyncio.create_task(board.all())
            await has_listed.wait()
            await south.host.simulation.add(SimulatedMachine(name="late", uuid="cellar-late"))
            await south.keeper.announce("cellar/late")
            assert await is_written()
            slow.setattr(board, "all", shared)
            looking = asyncio.create_task(look(south.keeper))
            await is_shared.wait()
            go_on.set()
            await asyncio.gather(first, looking)
        assert await is_written()
        await south.host.simulation.forget("late")
        board.look_again()
        await look(south.keeper)
        assert not await is_written()


async def _look_at_nothing(self: DirectoryKeeper) -> None:
    pass
