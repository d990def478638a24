"""Starts, pauses and stops of a simulated host's machines."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from innkeeper.hypervisor.simulated import acts
from innkeeper.hypervisor.simulated.guests import Due
from innkeeper.hypervisor.simulated.machines import SimulatedMachine
from innkeeper.hypervisor.simulated.saved_states import RESTORE_SECONDS
from innkeeper.hypervisor.simulated.simulation import Simulation
from innkeeper.machines.machine import MachineState
from innkeeper.machines.ports.progress import OnProgress
from innkeeper.wire.commands import Command

#: How long a boot takes the host, in simulated seconds.
START_SECONDS = 0.4


def _inject_nmi(machine: SimulatedMachine, now: float) -> None:
    """Show the kernel's report of the interrupt on the machine's screen, as Linux does."""
    if machine.memory is not None:
        machine.memory.typed += (
            f"\nUhhuh. NMI received for unknown reason 30 on CPU 0.\n{machine.name} login: "
        )


#: The commands that are over at once.
_ACTS: Mapping[Command, Callable[[SimulatedMachine, float], None]] = {
    Command.RESET: SimulatedMachine.reset,
    Command.INJECT_NMI: _inject_nmi,
}


class SimulatedLifecycle:
    """Starts and stops simulated machines (``machines.ports.lifecycle.Lifecycle``)."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    async def start(self, name: str, *, paused: bool = False, on_progress: OnProgress | None = None) -> str:
        """Boot a machine, or restore its saved state, which is used up by that."""
        state = await self._simulation.simulate(name, lambda machine, _: machine.state, doing="start")
        if state in (MachineState.RUNNING, MachineState.PAUSED):
            return ""
        saved = state is MachineState.SAVED
        await self._simulation.take(RESTORE_SECONDS if saved else START_SECONDS, on_progress)

        def start(machine: SimulatedMachine, now: float) -> None:
            if machine.is_on:
                return
            if machine.saved is not None:
                machine.restore(now)
                machine.saved = None
            else:
                machine.boot(now)
            if paused:
                machine.pause(now)

        await self._simulation.simulate(name, start)
        return ""

    async def pause(self, name: str) -> None:
        """Stop the machine's processors."""
        await self._simulation.simulate(name, acts.pause, doing="pause")

    async def resume(self, name: str) -> None:
        """Start the machine's processors again."""
        await self._simulation.simulate(name, acts.resume, doing="resume")

    async def shut_down(self, name: str) -> None:
        """Ask the guest to power off; that takes time, and a hung guest never does."""
        await self._simulation.simulate(
            name, lambda machine, now: acts.ask(machine, Due.POWER_OFF, now), doing="shut down"
        )

    async def reboot(self, name: str) -> None:
        """Ask the guest to reboot."""
        await self._simulation.simulate(
            name, lambda machine, now: acts.ask(machine, Due.REBOOT, now), doing="reboot"
        )

    async def act(self, name: str, command: Command) -> None:
        """Run a command that is over at once."""

        def act(machine: SimulatedMachine, now: float) -> None:
            acts.need(machine, command.words, machine.is_on)
            _ACTS[command](machine, now)

        await self._simulation.simulate(name, act, doing=command.words)

    async def turn_off(self, name: str) -> None:
        """Cut the machine's power."""
        await self._simulation.simulate(name, lambda machine, _: machine.turn_off(), doing="turn off")
