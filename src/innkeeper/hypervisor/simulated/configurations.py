"""Hardware and settings of a simulated host's machines."""

from __future__ import annotations

from collections.abc import Mapping

from innkeeper.hypervisor.domain.reading import configuration_of
from innkeeper.hypervisor.simulated import acts
from innkeeper.hypervisor.simulated import definition as fake_definition
from innkeeper.hypervisor.simulated import disks as fake_disks
from innkeeper.hypervisor.simulated.information import PROCESSOR_MHZ
from innkeeper.hypervisor.simulated.machines import SimulatedMachine
from innkeeper.hypervisor.simulated.simulation import Simulation
from innkeeper.machines.change import Change, Scope, UsbAttached, UsbDetached
from innkeeper.machines.change_events import change_events, setting_changed
from innkeeper.machines.configuration import Configuration
from innkeeper.machines.description import Follow, MachineDescription, follow_none


class SimulatedConfigurations:
    """The configurations of simulated machines (``machines.ports.configurations.Configurations``)."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    async def read(self, name: str, *, running: bool = False) -> Configuration:
        """The configuration for the next start, or the one in use."""

        return await self._simulation.simulate(name, lambda machine, _: _configuration(machine, running))

    async def read_all(self) -> Mapping[str, Configuration]:
        """The configuration for the next start of every machine."""
        await self._simulation.condition.reach()
        return {name: _configuration(each, False) for name, each in self._simulation.machines.items()}

    async def describe(
        self, name: str, *, running: bool = False, follow: Follow = follow_none
    ) -> MachineDescription:
        """A machine with its configuration and its files."""

        def look(machine: SimulatedMachine, _: float) -> MachineDescription:
            configuration = _configuration(machine, running)
            record = str(self._simulation.record(machine))
            paths = [drive.path for drive in configuration.drives if follow(drive.path)]
            return MachineDescription(
                machine=machine.snapshot(self._simulation.host, self._simulation.identity.id),
                configuration=configuration,
                definition_path=record,
                saved_state_path="" if machine.saved is None else record,
                chains={path: fake_disks.chain(path) for path in paths},
                processor_mhz=PROCESSOR_MHZ,
            )

        return await self._simulation.simulate(name, look)

    async def change(self, name: str, change: Change, scope: Scope = Scope.PERSISTENT) -> None:
        """Change the configuration."""

        def act(machine: SimulatedMachine, _: float) -> None:
            acts.refuse_real_image(change)
            if isinstance(change, UsbAttached | UsbDetached):
                acts.need(machine, "change USB devices", machine.is_on)
                fake_definition.change(machine, change, Scope.RUNNING)
            else:
                fake_definition.change(machine, change, scope)

        await self._simulation.simulate(name, act, doing="change")
        for kind, data in change_events(change):
            self._simulation.publish(kind, name, data)

    async def set_autostart(self, name: str, autostart: bool) -> None:
        """Set whether the machine starts with its host."""
        await self._simulation.simulate(
            name, lambda machine, _: setattr(machine, "autostart", autostart), doing="change"
        )
        kind, data = setting_changed("autostart", autostart)
        self._simulation.publish(kind, name, data)


def _configuration(machine: SimulatedMachine, running: bool) -> Configuration:
    if running:
        return configuration_of(fake_definition.write_live(machine))
    return configuration_of(fake_definition.write(machine, machine.disks))
