"""List of the machines of a simulated host."""

from __future__ import annotations

from collections.abc import Sequence

from innkeeper.hypervisor.simulated.simulation import Simulation
from innkeeper.machines.machine import Machine


class SimulatedInventory:
    """The machines of a simulated host (``machines.ports.inventory.Inventory``)."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    async def list(self) -> Sequence[Machine]:
        """All machines, by name."""
        return await self._simulation.now()

    async def get(self, name: str) -> Machine:
        """One machine. Raises ``MachineNotFound``."""
        return await self._simulation.look(name)
