"""What simulated guests print on their serial consoles."""

from __future__ import annotations

from innkeeper.hypervisor.simulated.simulation import Simulation


class SimulatedConsoleLogs:
    """The console logs of all simulated machines (``machines.ports.console_logs.ConsoleLogs``)."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    async def size(self, name: str) -> int | None:
        """How much was printed; ``None`` where nothing is kept of it."""
        return await self._simulation.simulate(
            name, lambda machine, _: len(machine.console) if machine.has_console_log else None
        )

    async def read(self, name: str, after: int) -> str:
        """What was printed since."""
        printed = await self._simulation.simulate(name, lambda machine, _: machine.console)
        return printed[after if after <= len(printed) else 0 :]
