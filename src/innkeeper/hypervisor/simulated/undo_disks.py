"""Undo disks of a simulated host's machines."""

from __future__ import annotations

from collections.abc import Mapping

from innkeeper.hypervisor.simulated import acts
from innkeeper.hypervisor.simulated import disks as fake_disks
from innkeeper.hypervisor.simulated.machines import SimulatedMachine, with_paths
from innkeeper.hypervisor.simulated.simulation import PIECES, Simulation
from innkeeper.machines.ports.progress import OnProgress

#: How long a merge takes the host, in simulated seconds.
MERGE_SECONDS = 4.0


class SimulatedUndoDisks:
    """The undo disks of simulated machines (``machines.ports.undo_disks.UndoDisks``)."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    async def add(self, name: str, overlays: Mapping[str, str]) -> None:
        """Put new overlays over the disks, live and in the definition."""

        self._simulation.refuse_full(name)

        def add(machine: SimulatedMachine, now: float) -> None:
            acts.refuse_in_backup(machine, now)
            for disk in machine.active_disks:
                overlay = overlays.get(disk.target, disk.path)
                if overlay != disk.path:
                    fake_disks.create_overlay(overlay, disk.path)
                    machine.bitmaps[overlay] = machine.bitmaps.get(disk.path, [])
            machine.disks = with_paths(machine.disks, dict(overlays))
            machine.live_disks = with_paths(machine.live_disks, dict(overlays))

        await self._simulation.simulate(name, add, doing="protect")

    async def merge(self, name: str, bases: Mapping[str, str], on_progress: OnProgress | None = None) -> None:
        """Merge piece by piece: a kill on the way leaves changed bases, as with QEMU."""
        blocks = fake_disks.BLOCK_COUNT
        await self._simulation.simulate(name, acts.refuse_in_backup, doing="merge")
        for piece in range(PIECES):
            first, last = piece * blocks // PIECES, (piece + 1) * blocks // PIECES
            await self._simulation.simulate(name, acts.merging(bases, first, last))
            await self._simulation.clock.sleep(MERGE_SECONDS / PIECES)
            if on_progress is not None:
                on_progress(last * fake_disks.BLOCK_BYTES, fake_disks.DISK_BYTES)
        await self._simulation.simulate(name, lambda machine, _: acts.pivot(machine, bases), doing="pivot")

    async def stand_down(self, name: str, bases: Mapping[str, str]) -> None:
        """Make the definition for the next start name the bases."""

        def stand_down(machine: SimulatedMachine, _: float) -> None:
            machine.disks = with_paths(machine.disks, dict(bases))

        await self._simulation.simulate(name, stand_down, doing="stand down")

    async def drop(self, name: str, bases: Mapping[str, str]) -> None:
        """Make the definition name the bases again."""

        def drop(machine: SimulatedMachine, _: float) -> None:
            is_on_bases = all(bases.get(disk.target, disk.path) == disk.path for disk in machine.live_disks)
            acts.need(machine, "drop overlays", not machine.is_on or is_on_bases)
            machine.disks = with_paths(machine.disks, dict(bases))

        await self._simulation.simulate(name, drop, doing="drop")
