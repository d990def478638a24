"""Hardware and settings of a simulated host's machines."""

from __future__ import annotations

from innkeeper.hypervisor.domain.reading import configuration_of
from innkeeper.hypervisor.simulated import acts
from innkeeper.hypervisor.simulated import definition as fake_definition
from innkeeper.hypervisor.simulated.machines import SimulatedMachine
from innkeeper.hypervisor.simulated.simulation import Simulation
from innkeeper.machines.change import Change, Scope, UsbAttached, UsbDetached
from innkeeper.machines.change_events import change_events, setting_changed
from innkeeper.machines.configuration import Configuration


class SimulatedConfigurations:
    """The configurations of simulated machines (``machines.ports.configurations.Configurations``)."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    async def read(self, name: str, *, running: bool = False) -> Configuration:
        """The configuration for the next start, or the one in use."""

        def read(machine: SimulatedMachine, _: float) -> str:
            if running:
                return fake_definition.write_live(machine)
            return fake_definition.write(machine, machine.disks)

        return configuration_of(await self._simulation.simulate(name, read))

    async def change(self, name: str, change: Change, scope: Scope = Scope.PERSISTENT) -> None:
        """Change the configuration."""

        def act(machine: SimulatedMachine, _: float) -> None:
            acts.refuse_real_image(change)
            if isinstance(change, UsbAttached | UsbDetached):
                acts.need(machine, "change USB devices", machine.is_on)
                fake_definition.change(machine, change, Scope.RUNNING)
            else:
                fake_definition.change(machine, change, scope)

        await self._simulation.simulate(name, act)
        for kind, data in change_events(change):
            self._simulation.publish(kind, name, data)

    async def set_autostart(self, name: str, autostart: bool) -> None:
        """Set whether the machine starts with its host."""
        await self._simulation.simulate(name, lambda machine, _: setattr(machine, "autostart", autostart))
        kind, data = setting_changed("autostart", autostart)
        self._simulation.publish(kind, name, data)
