"""Task agents' ports of a simulated host's machines."""

from __future__ import annotations

from innkeeper.errors import NotSupported
from innkeeper.hypervisor.simulated.simulation import Simulation
from innkeeper.wire.byte_pipe import BytePipe


class SimulatedAgentPorts:
    """The task agents' ports of simulated machines (``machines.ports.agent_ports.AgentPorts``)."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    async def attach(self, name: str) -> None:
        """Add the port to the machine."""
        await self._simulation.simulate(name, lambda machine, _: setattr(machine, "has_agent_port", True))

    async def open(self, name: str) -> BytePipe:
        """Raise ``NotSupported``: simulated guests speak no bytes, their agents are ``FakeAgents``."""
        raise NotSupported(
            f"The simulated machine {name} has no port that bytes go through.",
            advice="Use the simulated agents.",
        )
