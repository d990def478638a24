"""Calls that hang behind QEMUs hold up others for a moment at most."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import libvirt
import pytest

from innkeeper.hypervisor.libvirt import lanes
from innkeeper.hypervisor.libvirt.lanes import Lanes


class Hanging:
    """Calls that hang until they are let go on, and what they have begun."""

    def __init__(self) -> None:
        self._go_on = threading.Event()
        self._lock = threading.Lock()
        self.begun = 0

    def call(self, connect: libvirt.virConnect) -> str:
        """Hang, as behind a QEMU that does not answer."""
        with self._lock:
            self.begun += 1
        self._go_on.wait()
        return str(connect.getURI())

    def go_on(self) -> None:
        """Let all come to their ends."""
        self._go_on.set()


@pytest.fixture
async def hanging() -> AsyncIterator[Hanging]:
    """Calls that are let go on at the end, so that no thread stays."""
    made = Hanging()
    yield made
    made.go_on()


def _answer(connect: libvirt.virConnect) -> str:
    return str(connect.getHostname())


async def _begun(hanging: Hanging, count: int) -> None:
    async with asyncio.timeout(30):
        while hanging.begun < count:
            await asyncio.sleep(0.01)


async def test_commands_that_last_give_their_turns_to_others(
    hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as may: the next one waits; and once they have ended, so many wait no more and no less."""
    monkeypatch.setattr(lanes, "_LASTS_SECONDS", 0.05)
    made = Lanes("test:///default", "command", 2, most_lasting=3)
    calls = [asyncio.create_task(made.run(hanging.call)) for _ in range(3)]
    await _begun(hanging, 3)
    async with asyncio.timeout(30):
        for _ in range(4):
            assert await made.run(_answer)
    calls += [asyncio.create_task(made.run(hanging.call)) for _ in range(3)]
    await _begun(hanging, 5)
    waiting = asyncio.create_task(made.run(_answer))
    await asyncio.sleep(0.3)
    assert hanging.begun == 5
    assert not waiting.done()
    hanging.go_on()
    async with asyncio.timeout(30):
        assert await asyncio.gather(*calls) == ["test:///default"] * 6
        assert await waiting
    again = Hanging()
    calls = [asyncio.create_task(made.run(again.call)) for _ in range(2)]
    await _begun(again, 2)
    again.go_on()
    await asyncio.gather(*calls)
    made.end()


async def test_commands_that_were_kept_from_giving_their_turns_do_so_once_others_end(
    hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that hang on then hold up nobody, and no turn is given twice."""
    monkeypatch.setattr(lanes, "_LASTS_SECONDS", 0.05)
    made = Lanes("test:///default", "command", 2, most_lasting=2)
    first = Hanging()
    ending = [asyncio.create_task(made.run(first.call)) for _ in range(2)]
    await _begun(first, 2)
    calls = [asyncio.create_task(made.run(hanging.call)) for _ in range(2)]
    await _begun(hanging, 2)
    await asyncio.sleep(0.3)
    first.go_on()
    async with asyncio.timeout(30):
        await asyncio.gather(*ending)
    async with asyncio.timeout(5):
        assert await made.run(_answer)
    calls += [asyncio.create_task(made.run(hanging.call)) for _ in range(3)]
    await _begun(hanging, 4)
    await asyncio.sleep(0.3)
    assert hanging.begun == 4
    hanging.go_on()
    async with asyncio.timeout(30):
        await asyncio.gather(*calls)
    again = Hanging()
    calls = [asyncio.create_task(made.run(again.call)) for _ in range(2)]
    await _begun(again, 2)
    again.go_on()
    await asyncio.gather(*calls)
    made.end()


async def test_questions_keep_their_turns(hanging: Hanging, monkeypatch: pytest.MonkeyPatch) -> None:
    """They wait for no QEMU: what is slow is the daemon, which gets no more of them at once."""
    monkeypatch.setattr(lanes, "_LASTS_SECONDS", 0.01)
    made = Lanes("test:///default", "question", 2)
    calls = [asyncio.create_task(made.run(hanging.call)) for _ in range(3)]
    await _begun(hanging, 2)
    await asyncio.sleep(0.2)
    assert hanging.begun == 2
    hanging.go_on()
    async with asyncio.timeout(30):
        await asyncio.gather(*calls)
    made.end()
