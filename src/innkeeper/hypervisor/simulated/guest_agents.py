"""qemu-guest-agent in simulated guests."""

from __future__ import annotations

from collections.abc import Sequence

from innkeeper.hypervisor.simulated import acts
from innkeeper.hypervisor.simulated.guest_program import FakeGuestProgram
from innkeeper.hypervisor.simulated.machines import SimulatedMachine
from innkeeper.hypervisor.simulated.simulation import Simulation
from innkeeper.machines.ports.guest_agents import ExecResult


class SimulatedGuestAgents:
    """qemu-guest-agent in simulated guests (``machines.ports.guest_agents.QemuGuestAgents``)."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    async def freeze(self, name: str) -> int:
        """Freeze the guest: nothing is written any more."""

        def freeze(machine: SimulatedMachine, _: float) -> int:
            acts.need_guest_agent(machine)
            machine.frozen = True
            return 1

        return await self._simulation.simulate(name, freeze)

    async def thaw(self, name: str) -> int:
        """Thaw the guest."""

        def thaw(machine: SimulatedMachine, _: float) -> int:
            acts.need_guest_agent(machine)
            frozen, machine.frozen = machine.frozen, False
            return int(frozen)

        return await self._simulation.simulate(name, thaw)

    async def run(self, name: str, argv: Sequence[str], *, timeout: float) -> ExecResult:
        """Succeed without doing anything, whatever the command."""
        await self._simulation.simulate(name, lambda machine, _: acts.need_guest_agent(machine))
        return ExecResult(exit_code=0, stdout=b"", stderr=b"")

    async def write_file(self, name: str, path: str, data: bytes) -> None:
        """Keep a short note of the file on the simulated disk."""

        def write(machine: SimulatedMachine, _: float) -> None:
            acts.need_guest_agent(machine)
            guest = machine.guest()
            guest.disk.files[path] = f"{len(data)} bytes"
            machine.write(guest)

        await self._simulation.simulate(name, write)

    def program(self, name: str) -> FakeGuestProgram:
        """The guest's qemu-guest-agent, with the questions that the task agent answers too."""
        return FakeGuestProgram(self._simulation, name)
