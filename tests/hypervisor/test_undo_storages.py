"""Undo disks over every storage, of one machine that has them all, on real QEMU."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path

import pytest

from innkeeper.machines.ports.host import Host
from innkeeper.machines.undo.fitness import UndoRules, plan_undo_point
from innkeeper.machines.undo.point import UndoPlan
from innkeeper.machines.undo.undoable import existing_plan
from tests.hypervisor import storages
from tests.hypervisor.storages import Stored
from tests.hypervisor.undo_definitions import canonical

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.skipif(bool(storages.MISSING), reason=f"{storages.MISSING} are not installed"),
]
NAME = "mixed"


class Mixed:
    """A machine with a file, two network disks and two linked clones, and its undo point."""

    def __init__(self, host: Host, golden: Path, disks: list[Stored]) -> None:
        self.host = host
        self.golden = golden
        self.disks = disks

    async def plan(self) -> UndoPlan:
        """The undo point of a run."""
        return await plan_undo_point(self.host, await self.host.inventory.get(NAME), 7, UndoRules())

    async def write(self) -> None:
        """Write to every disk."""
        await storages.write(self.host, NAME, [disk.target for disk in self.disks])


@pytest.fixture
async def mixed(embedded_hypervisor: Host, tmp_path: Path) -> AsyncIterator[Mixed]:
    """The machine, off."""
    golden, clones = await asyncio.to_thread(storages.clones, tmp_path, ["vdd", "vde"])
    first = await asyncio.to_thread(storages.file_disk, tmp_path, "vda")
    with storages.network_disks(tmp_path, ["vdb", "vdc"]) as remote:
        disks = [first, *remote, *clones]
        await embedded_hypervisor.definitions.define(storages.machine_xml(NAME, disks))
        yield Mixed(embedded_hypervisor, golden, disks)
        await embedded_hypervisor.lifecycle.turn_off(NAME)
        await embedded_hypervisor.definitions.undefine(NAME)


async def keep(mixed: Mixed, plan: UndoPlan) -> None:
    """Merge, with the machine as it is."""
    await mixed.host.undo_disks.merge(NAME, plan.bases)


async def roll_back(mixed: Mixed, plan: UndoPlan) -> None:
    """Go back to the former disks."""
    await mixed.host.lifecycle.turn_off(NAME)
    await mixed.host.undo_disks.drop(NAME, plan.bases)


End = Callable[[Mixed, UndoPlan], Coroutine[None, None, None]]


@pytest.mark.parametrize(("end", "written"), [(keep, True), (roll_back, False)])
@pytest.mark.parametrize("running", [False, True])
async def test_all_storages_are_kept_or_rolled_back_together(
    mixed: Mixed, running: bool, end: End, written: bool
) -> None:
    """The definition is the one from before, and the golden image is as it was."""
    before, sources = await canonical(mixed.host, NAME), await storages.sources(mixed.host, NAME)
    golden = storages.digest(mixed.golden)
    plan = await mixed.plan()
    if running:
        await mixed.host.lifecycle.start(NAME, paused=True)
    for _ in range(2):
        await mixed.host.undo_disks.add(NAME, plan.overlays)
        assert await storages.sources(mixed.host, NAME) == plan.overlays
    assert await existing_plan(mixed.host, await mixed.host.inventory.get(NAME)) == plan
    if not running:
        await mixed.host.lifecycle.start(NAME, paused=True)
    await mixed.write()
    if not running:
        await mixed.host.lifecycle.turn_off(NAME)
    for _ in range(2):
        await end(mixed, plan)
    await mixed.host.lifecycle.turn_off(NAME)
    assert await canonical(mixed.host, NAME) == before
    assert await storages.sources(mixed.host, NAME) == sources == plan.bases
    assert await storages.contents(mixed.disks) == dict.fromkeys(sources, written)
    assert storages.digest(mixed.golden) == golden
