"""Persistent definitions of a simulated host's machines."""

from __future__ import annotations

from pathlib import Path

from innkeeper.hypervisor.domain.template import Platform, template
from innkeeper.hypervisor.simulated import acts
from innkeeper.hypervisor.simulated import definition as fake_definition
from innkeeper.hypervisor.simulated.inventory import SimulatedInventory
from innkeeper.hypervisor.simulated.machines import SimulatedMachine
from innkeeper.hypervisor.simulated.simulation import Simulation
from innkeeper.machines.machine import Machine, MachineState
from innkeeper.machines.new_machine import NewMachine
from innkeeper.machines.ports.image_maker import ImageMaker
from innkeeper.servers.fence import passed
from innkeeper.wire.events import EventKind


class SimulatedDefinitions:
    """The definitions of simulated machines (``machines.ports.definitions.Definitions``)."""

    def __init__(self, simulation: Simulation, inventory: SimulatedInventory, images: ImageMaker) -> None:
        self._simulation = simulation
        self._inventory = inventory
        self._images = images

    async def read(self, name: str) -> str:
        """The persistent definition, as libvirt would write it."""
        return await self._simulation.simulate(
            name, lambda machine, _: fake_definition.write(machine, machine.disks)
        )

    async def path(self, name: str) -> str:
        """The machine's record."""
        return await self._simulation.simulate(name, lambda machine, _: str(self._simulation.record(machine)))

    async def define(self, definition: str) -> Machine:
        """Make or change a machine."""
        wanted = fake_definition.read(definition)
        if wanted.name in self._simulation.machines:
            await self._simulation.simulate(
                wanted.name, lambda machine, _: fake_definition.apply(wanted, machine), doing="define"
            )
        else:
            await passed(self._simulation.fence)
            await self._simulation.add(wanted)
        return await self._inventory.get(wanted.name)

    async def define_new(self, wanted: NewMachine) -> Machine:
        """Define a new machine. One of this name that is there stays as it is."""
        if wanted.name not in self._simulation.machines:
            await self.define(template(wanted, Platform(domain_type="fake", is_qemu=False)))
        return await self._inventory.get(wanted.name)

    async def rename(self, name: str, new_name: str) -> None:
        """Rename a machine that is off."""
        machines = self._simulation.machines
        if name not in machines and new_name in machines:
            return

        def rename(machine: SimulatedMachine, _: float) -> None:
            acts.need(machine, "be renamed", machine.state is MachineState.TURNED_OFF)
            acts.rename(machine, new_name)

        await self._simulation.simulate(name, rename, doing="rename")
        await self._simulation.renamed(name, new_name)
        self._simulation.publish(EventKind.MACHINE_UNDEFINED, name)
        self._simulation.publish(EventKind.MACHINE_DEFINED, new_name)

    async def undefine(self, name: str) -> None:
        """Delete a machine that is off; its disks stay."""
        await self._simulation.simulate(
            name, lambda machine, _: acts.need(machine, "undefine", not machine.is_on), doing="undefine"
        )
        await self._simulation.forget(name)

    async def release(self, name: str, saved_state: str) -> None:
        """Delete a machine that is off or saved; its record moves to where its saved state would."""
        if name not in self._simulation.machines:
            return
        await self._simulation.simulate(
            name,
            lambda machine, _: acts.need(machine, "be unregistered", not machine.is_on),
            doing="undefine",
        )
        machine = self._simulation.machines[name]
        if machine.saved is not None:
            await self._simulation.forget(name, keep_record=True)
            await self._images.move(str(self._simulation.record(machine)), saved_state)
        else:
            await self._simulation.forget(name)
        self._simulation.publish(EventKind.MACHINE_UNDEFINED, name)

    async def take_in(self, definition: str, saved_state: str) -> Machine:
        """Define a released machine again, with its saved state."""
        machine = fake_definition.read(definition)
        path = Path(saved_state)
        if await self._simulation.blocking(path.exists):
            before = await self._simulation.blocking(lambda: SimulatedMachine.from_bytes(path.read_bytes()))
            machine.saved = before.saved
            await self._simulation.delete(path)
        await self._simulation.add(machine)
        self._simulation.publish(EventKind.MACHINE_DEFINED, machine.name)
        return await self._inventory.get(machine.name)
