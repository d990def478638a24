"""A simulated host, put together from its ports."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from innkeeper.hypervisor.fenced_files import FencedImages, FencedStateFiles
from innkeeper.hypervisor.simulated.agent_ports import SimulatedAgentPorts
from innkeeper.hypervisor.simulated.backups import SimulatedBackups
from innkeeper.hypervisor.simulated.configurations import SimulatedConfigurations
from innkeeper.hypervisor.simulated.console_logs import SimulatedConsoleLogs
from innkeeper.hypervisor.simulated.definitions import SimulatedDefinitions
from innkeeper.hypervisor.simulated.failures import Failures
from innkeeper.hypervisor.simulated.files import FakeFiles
from innkeeper.hypervisor.simulated.guest_agents import SimulatedGuestAgents
from innkeeper.hypervisor.simulated.host_disks import SimulatedDisks
from innkeeper.hypervisor.simulated.images import FakeImages
from innkeeper.hypervisor.simulated.information import SimulatedInformation
from innkeeper.hypervisor.simulated.input_devices import FakeInputDevices
from innkeeper.hypervisor.simulated.inventory import SimulatedInventory
from innkeeper.hypervisor.simulated.lifecycle import SimulatedLifecycle
from innkeeper.hypervisor.simulated.memory_points import SimulatedMemoryPoints
from innkeeper.hypervisor.simulated.saved_states import SimulatedSavedStates
from innkeeper.hypervisor.simulated.screens import FakeScreens
from innkeeper.hypervisor.simulated.simulation import Simulation
from innkeeper.hypervisor.simulated.state_files import SimulatedStateFiles
from innkeeper.hypervisor.simulated.turns import Actor
from innkeeper.hypervisor.simulated.undo_disks import SimulatedUndoDisks
from innkeeper.hypervisor.simulated.usage import SimulatedUsage
from innkeeper.machines.ports.host import Host
from innkeeper.servers.fence import OPEN, Fence
from innkeeper.tasks.ports import Clock
from innkeeper.wire.events import Publish

_NOBODY = Actor()


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SimulatedHost(Host):
    """A host of simulated machines, and the way to do things to them from outside."""

    #: The machines themselves, for tests and simulated agents.
    simulation: Simulation


def simulated_host(
    directory: Path,
    *,
    clock: Clock,
    publish: Publish,
    name: str = "fake",
    memory_mib: int = 65536,
    free_bytes: int = 1 << 40,
    threads: bool = True,
    actor: Actor = _NOBODY,
    failures: Failures | None = None,
    fence: Fence = OPEN,
    computer: str | None = None,
) -> SimulatedHost:
    """Make a host of simulated machines below one directory; it is yet to be opened.

    Several services may open one directory: ``actor`` says which one this is, and ``fence`` stands before
    its acts. ``threads``: file calls run in
    threads. Without, time cannot pass inside of one. ``computer``: where other hosts share its files; else it
    is a computer of its own.
    """
    simulation = Simulation(
        directory,
        clock=clock,
        publish=publish,
        host=name,
        free_bytes=free_bytes,
        threads=threads,
        actor=actor,
        failures=Failures(clock=clock) if failures is None else failures,
        fence=fence,
    )
    inventory = SimulatedInventory(simulation)
    images = FencedImages(FakeImages(clock=clock), fence)
    return SimulatedHost(
        name=name,
        uri=host_uri(directory),
        simulation=simulation,
        identity=simulation.identity,
        connection=simulation,
        inventory=inventory,
        definitions=SimulatedDefinitions(simulation, inventory, images),
        configurations=SimulatedConfigurations(simulation),
        lifecycle=SimulatedLifecycle(simulation),
        saved_states=SimulatedSavedStates(simulation),
        undo_disks=SimulatedUndoDisks(simulation),
        memory_points=SimulatedMemoryPoints(simulation),
        backups=SimulatedBackups(simulation),
        state_files=FencedStateFiles(SimulatedStateFiles(simulation), fence),
        disks=SimulatedDisks(simulation),
        files=FakeFiles(
            simulation, computer=str(directory) if computer is None else computer, threads=threads
        ),
        images=images,
        screens=FakeScreens(simulation),
        console_logs=SimulatedConsoleLogs(simulation),
        input_devices=FakeInputDevices(simulation),
        guest_agents=SimulatedGuestAgents(simulation),
        agent_ports=SimulatedAgentPorts(simulation),
        information=SimulatedInformation(simulation, memory_mib),
        usage=SimulatedUsage(simulation),
    )


def host_uri(directory: Path) -> str:
    """The URI of the simulated host below a directory."""
    return f"fake://{directory}"
