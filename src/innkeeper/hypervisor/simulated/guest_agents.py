"""qemu-guest-agent in simulated guests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from innkeeper.errors import AgentSilent
from innkeeper.hypervisor.simulated import acts
from innkeeper.hypervisor.simulated.guest_program import FakeGuestProgram
from innkeeper.hypervisor.simulated.machines import SimulatedMachine
from innkeeper.hypervisor.simulated.simulation import Simulation
from innkeeper.machines.ports.guest_agents import ExecResult

T = TypeVar("T")


class SimulatedGuestAgents:
    """qemu-guest-agent in simulated guests (``machines.ports.guest_agents.QemuGuestAgents``)."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    async def freeze(self, name: str, *, hook_seconds: float = 30.0) -> int:
        """Freeze the guest once its hook has ended: nothing is written any more."""

        def freeze(machine: SimulatedMachine, now: float) -> bool:
            acts.need_guest_agent(machine)
            acts.need_freezing(machine)
            if not acts.in_hook(machine, now):
                machine.hook_until = now + machine.hook_seconds
            answers = machine.hook_until <= now + hook_seconds
            machine.frozen = answers
            return answers

        if not await self._simulation.simulate(name, freeze):
            raise _silent(name)
        return 1

    async def thaw(self, name: str) -> int:
        """Thaw the guest."""

        def thaw(machine: SimulatedMachine) -> int:
            acts.need_freezing(machine)
            frozen, machine.frozen = machine.frozen, False
            return int(frozen)

        return await self._ask(name, thaw)

    async def is_frozen(self, name: str) -> bool:
        """Whether the guest is frozen."""
        return await self._ask(name, lambda machine: machine.frozen)

    async def _ask(self, name: str, question: Callable[[SimulatedMachine], T]) -> T:
        """Ask what is not answered while a hook runs."""

        def ask(machine: SimulatedMachine, now: float) -> T | None:
            acts.need_guest_agent(machine)
            return None if acts.in_hook(machine, now) else question(machine)

        answer = await self._simulation.simulate(name, ask)
        if answer is None:
            raise _silent(name)
        return answer

    async def commands(self, name: str) -> Mapping[str, bool]:
        """None: simulated guests without a task agent cannot be updated."""
        await self._simulation.simulate(name, lambda machine, _: acts.need_guest_agent(machine))
        return {}

    async def run(self, name: str, argv: Sequence[str], *, timeout: float, stdin: bytes = b"") -> ExecResult:
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


def _silent(name: str) -> AgentSilent:
    return AgentSilent(f"qemu-guest-agent in {name} does not answer in time.", machine=name)
