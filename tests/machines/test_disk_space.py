"""Machines are told of, and paused, before their disks run out of room."""

from __future__ import annotations

from pathlib import Path

import pytest

from innkeeper.machines.disk_space import CRITICAL_BYTES, LOW_BYTES, DiskSpaceWatch
from innkeeper.machines.machine import MachineState
from innkeeper.wire.events import EventKind
from tests.updates.inn import Inn


@pytest.fixture
async def inn(tmp_path: Path) -> Inn:
    """An inn with one running machine and one that is off."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(MachineState.RUNNING)
    await inn.add(MachineState.TURNED_OFF, name="off-1")
    return inn


def _told(inn: Inn) -> list[tuple[str, object]]:
    return [
        (e.subject.rpartition("/")[2], e.data["critically_low"])
        for e in inn.events
        if e.kind is EventKind.MACHINE_DISK_OUT_OF_SPACE
    ]


async def test_a_machine_is_warned_once_and_paused_at_the_end(inn: Inn) -> None:
    """Below 100 MB a word, below 20 MB another, and no write that would fail."""
    watch = DiskSpaceWatch(inn.machines, clock=inn.clock, publish=inn.events.append)
    inn.host.simulation.room_bytes = LOW_BYTES
    await watch.look()
    assert _told(inn) == []
    inn.host.simulation.room_bytes = LOW_BYTES - 1
    await watch.look()
    await watch.look()
    assert _told(inn) == [("web-1", False)]
    inn.host.simulation.room_bytes = CRITICAL_BYTES - 1
    await watch.look()
    assert _told(inn) == [("web-1", False), ("web-1", True)]
    await inn.clock.advance(10)
    assert (await inn.machine()).state is MachineState.PAUSED


async def test_room_that_comes_back_is_watched_anew(inn: Inn) -> None:
    """The next time is told again."""
    watch = DiskSpaceWatch(inn.machines, clock=inn.clock, publish=inn.events.append)
    for room in (LOW_BYTES - 1, LOW_BYTES, LOW_BYTES - 1):
        inn.host.simulation.room_bytes = room
        await watch.look()
    assert _told(inn) == [("web-1", False)] * 2
