"""Saved states of a simulated host's machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from innkeeper.hypervisor.simulated import acts
from innkeeper.hypervisor.simulated import disks as fake_disks
from innkeeper.hypervisor.simulated.machines import SimulatedMachine, with_paths
from innkeeper.hypervisor.simulated.simulation import Simulation
from innkeeper.machines.machine import Disk
from innkeeper.machines.ports.progress import OnProgress

#: How long a save and a restore take the host, in simulated seconds.
SAVE_SECONDS = 2.0
RESTORE_SECONDS = 2.0


class SimulatedSavedStates:
    """The saved states of simulated machines (``machines.ports.saved_states.SavedStates``)."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    async def path(self, name: str) -> str:
        """The file with the saved state: the machine's own record."""
        await self._simulation.simulate(name, acts.saved_definition)
        return str(self._simulation.record(self._simulation.machines[name]))

    async def definition(self, name: str) -> str:
        """The definition inside the saved state."""
        return await self._simulation.simulate(name, acts.saved_definition)

    async def disks(self, name: str) -> Sequence[Disk]:
        """The drives that the saved memory knows."""
        return await self._simulation.simulate(name, acts.saved_disks)

    async def save(self, name: str, on_progress: OnProgress | None = None) -> None:
        """Save the memory, after the time that takes; until then a cancel leaves the machine running."""
        if not (await self._simulation.simulate(name, lambda machine, _: machine.is_on)):
            return
        await self._simulation.take(SAVE_SECONDS, on_progress)
        await self._simulation.simulate(name, SimulatedMachine.save, doing="save")

    async def restore_keeping(
        self, name: str, sources: Mapping[str, str], on_progress: OnProgress | None = None
    ) -> None:
        """Restore the saved state onto overlays made anew, and keep it."""
        self._simulation.refuse_full(name)
        if await self._simulation.simulate(name, lambda machine, _: machine.is_on):
            return
        await self._simulation.take(RESTORE_SECONDS, on_progress)

        def restore(machine: SimulatedMachine, now: float) -> None:
            acts.need(machine, "restore", machine.saved is not None or machine.is_on)
            if machine.is_on or machine.saved is None:
                return
            for disk in machine.saved.disks:
                if disk.target in sources:
                    fake_disks.create_overlay(sources[disk.target], disk.path, anew=True)
            machine.disks = with_paths(machine.disks, dict(sources))
            machine.restore(now, dict(sources))

        await self._simulation.simulate(name, restore, doing="start")

    async def discard(self, name: str) -> None:
        """Delete the saved state."""
        await self._simulation.simulate(
            name, lambda machine, _: setattr(machine, "saved", None), doing="discard saved state"
        )
