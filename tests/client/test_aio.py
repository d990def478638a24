"""The inn on an event loop: the same objects, many at once, no thread for each."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

import innkeeper
from innkeeper.errors import InvalidArgument, MachineNotFound, ServiceError
from tests.serving import Service


async def test_everything_of_an_inn_is_used_inside_run(service: Service) -> None:
    """Properties, collections, commands and waits; errors arrive as they are."""
    async with innkeeper.connect_async(socket=service.socket) as inn:
        assert inn.connected
        assert inn.target_server
        names = await inn.run(lambda inn: [machine.name for machine in inn.machines])
        assert "web-1" in names
        assert await inn.run(lambda inn: inn.machines["web-1"].state.name) == "RUNNING"
        task = await inn.run(lambda inn: inn.machines["web-1"].pause())
        assert await inn.run(lambda _: task.wait(30))
        back = await inn.run(lambda inn: inn.machines["web-1"].resume())
        assert await inn.run(lambda _: back.wait(30))
        with pytest.raises(MachineNotFound):
            await inn.run(lambda inn: inn.machines["nobody"])
    assert not inn.connected


async def test_many_wait_at_once_without_threads(service: Service) -> None:
    """A hundred waits for one task cost no thread; the loop goes on meanwhile."""
    async with innkeeper.connect_async(socket=service.socket) as inn:
        task = await inn.run(lambda inn: inn.machines["web-1"].save())
        waits = [asyncio.create_task(inn.run(lambda _: task.wait(60))) for _ in range(100)]
        await asyncio.sleep(0)
        threads = threading.active_count()
        assert all(await asyncio.gather(*waits))
        assert threading.active_count() <= threads
        back = await inn.run(lambda inn: inn.machines["web-1"].startup())
        assert await inn.run(lambda _: back.wait(60))


async def test_events_are_gone_through_one_by_one(service: Service) -> None:
    """While something else happens on the same loop; leaving off early closes the stream."""
    async with innkeeper.connect_async(socket=service.socket) as inn:

        async def first() -> str:
            async for event in inn.iterate(lambda inn: inn.events(("task.created",))):
                return event.subject
            raise AssertionError("the stream ended")

        def pause_and_resume(inn: innkeeper.Inn) -> None:
            machine = inn.machines["web-1"]
            machine.pause().wait(30)
            machine.resume().wait(30)

        heard = asyncio.create_task(first())
        while not heard.done():
            await inn.run(pause_and_resume)
        assert int(await heard) > 0


async def test_a_cancel_reaches_what_waits(service: Service) -> None:
    """And the connection is good afterwards."""
    async with innkeeper.connect_async(socket=service.socket) as inn:
        stream = asyncio.create_task(inn.run(lambda inn: next(inn.events(("nothing.ever",)))))
        await asyncio.sleep(0.2)
        stream.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stream
        assert await inn.run(lambda inn: inn.read().version)


async def test_connecting_raises_what_it_raises_in_scripts(tmp_path: Path) -> None:
    """The documented identifiers: some but not all of an account, and a service that does not run."""
    with pytest.raises(InvalidArgument) as partial:
        async with innkeeper.connect_async(user="ana"):
            pass
    assert partial.value.hresult == 0x8007000E
    with pytest.raises(ServiceError) as stopped:
        async with innkeeper.connect_async(socket=tmp_path / "none.sock"):
            pass
    assert stopped.value.hresult == 0x80041315


async def test_outside_of_run_nothing_waits(service: Service) -> None:
    """What would block the loop says so instead."""
    async with innkeeper.connect_async(socket=service.socket) as inn:
        machine = await inn.run(lambda inn: inn.machines["web-1"])
        with pytest.raises(RuntimeError, match="run"):
            machine.read()
