"""Take undo points of machines with disks on several storages, write to them, and end them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Coroutine
from pathlib import Path

from innkeeper.machines.ports.host import Host
from innkeeper.machines.undo.fitness import UndoRules, plan_undo_point
from innkeeper.machines.undo.leftovers import find_leftovers
from innkeeper.machines.undo.point import UndoPlan
from innkeeper.machines.undo.undoable import existing_plan
from tests.hypervisor import storages
from tests.hypervisor.storages import Stored
from tests.hypervisor.undo_definitions import canonical

NAME = "mixed"
#: What one round trip leaves in the folder for undo disks is in the way of no other.
_RUNS = itertools.count(7)


class Mixed:
    """A machine with disks on several storages, and its undo point."""

    def __init__(self, host: Host, disks: list[Stored]) -> None:
        self.host = host
        self.disks = disks

    async def plan(self) -> UndoPlan:
        """The undo point of a run."""
        return await plan_undo_point(self.host, await self.host.inventory.get(NAME), next(_RUNS), UndoRules())

    async def write(self) -> None:
        """Write to every disk."""
        await storages.write(self.host, NAME, [disk.target for disk in self.disks])


async def keep(mixed: Mixed, plan: UndoPlan) -> None:
    """Merge, with the machine as it is."""
    await mixed.host.undo_disks.merge(NAME, plan.bases)


async def roll_back(mixed: Mixed, plan: UndoPlan) -> None:
    """Go back to the former disks."""
    await mixed.host.lifecycle.turn_off(NAME)
    await mixed.host.undo_disks.drop(NAME, plan.bases)


End = Callable[[Mixed, UndoPlan], Coroutine[None, None, None]]


async def round_trip(mixed: Mixed, running: bool, end: End, written: bool) -> None:
    """Take an undo point, each step twice, write to the disks on it, and end it."""
    before, sources = await canonical(mixed.host, NAME), await storages.sources(mixed.host, NAME)
    plan = await mixed.plan()
    if running:
        await mixed.host.lifecycle.start(NAME, paused=True)
    for _ in range(2):
        await mixed.host.undo_disks.add(NAME, plan.overlays)
        assert await storages.sources(mixed.host, NAME) == plan.overlays
    assert await existing_plan(mixed.host, await mixed.host.inventory.get(NAME)) == plan
    assert {each.target: storages.is_encrypted(Path(plan.overlays[each.target])) for each in mixed.disks} == {
        each.target: each.key is not None for each in mixed.disks
    }
    for target, overlay in plan.overlays.items():
        chain = await mixed.host.disks.backing_chain(overlay)
        assert chain[0] == overlay
        assert len(chain) > 1, target
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
    left = {each.path: each.machine for each in await find_leftovers(mixed.host)}
    assert left == dict.fromkeys(plan.overlays.values(), "")
    for overlay in plan.overlays.values():
        await mixed.host.disks.delete(overlay)
