"""Compose what speaks with guests: task agents, kits where there is none, and channels."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from innkeeper.channels.agents import Agents
from innkeeper.channels.kits.agents import KitAgents
from innkeeper.channels.kits.ports import Running
from innkeeper.channels.ports import GuestAgents, ScheduleDeleted, ScheduleRequested
from innkeeper.channels.service import Channels
from innkeeper.channels.service import Needs as ChannelNeeds
from innkeeper.errors import InnkeeperError
from innkeeper.hypervisor.simulated.agents import FakeAgents
from innkeeper.hypervisor.simulated.host import SimulatedHost
from innkeeper.machines.machine import MachineState
from innkeeper.machines.ports.host import Host
from innkeeper.machines.service import Machines
from innkeeper.server.channel_composition import looks_at
from innkeeper.server.compose_base import Foundations
from innkeeper.server.guest_commands import commands_of
from innkeeper.tasks.service import Tasks
from innkeeper.updates.trigger import TriggerAgent
from innkeeper.wire.byte_pipe import BytePipe


async def compose_agents(
    foundations: Foundations, machines: Machines, hypervisors: Sequence[Host], trigger: TriggerAgent
) -> GuestAgents:
    """Compose the agents of all guests: simulated ones, or ours and kits beside them."""
    if foundations.overrides.agents is not None:
        return foundations.overrides.agents
    simulations = [each.simulation for each in hypervisors if isinstance(each, SimulatedHost)]
    if foundations.settings.fake is not None and simulations:
        simulated = FakeAgents(*simulations, clock=foundations.clock)
        foundations.events.subscribe(simulated.on_event)
        return simulated

    async def open_port(key: str) -> BytePipe:
        machine = await machines.get(key)
        return await machines.hosts[machine.host].agent_ports.open(machine.name)

    async def running() -> Collection[str]:
        found = await machines.list()
        # What is said of machines whose host is away is what was said last: their guests go on.
        return [each.key for each in found if each.state is MachineState.RUNNING] + [*machines.unseen]

    async def on_booking(machine: str, message: ScheduleRequested | ScheduleDeleted) -> str:
        try:
            await trigger.hear(machine, message)
        except InnkeeperError as error:
            return error.sentence
        return ""

    agents = Agents(
        open_port=open_port,
        running=running,
        on_booking=on_booking,
        called=machines.called,
        clock=foundations.clock,
        publish=foundations.events.publish,
        loops=foundations.loops,
    )
    await _open(foundations, agents)
    return await _with_kits(foundations, machines, agents, running)


async def _with_kits(
    foundations: Foundations, machines: Machines, agents: GuestAgents, running: Running
) -> GuestAgents:
    """Reach guests without a task agent through qemu-guest-agent."""
    kits = KitAgents(
        agents,
        find=commands_of(machines),
        running=running,
        called=machines.called,
        clock=foundations.clock,
        publish=foundations.events.publish,
        loops=foundations.loops,
    )
    await _open(foundations, kits)
    return kits


def task_agents(agents: GuestAgents) -> GuestAgents:
    """The task agents alone: what is asked beside updates no kit answers, nor is one put there for it."""
    return agents.task_agents if isinstance(agents, KitAgents) else agents


async def compose_channels(
    foundations: Foundations, tasks: Tasks, machines: Machines, agents: GuestAgents
) -> Channels:
    """Compose the channels; they listen while the service is open, and again after a restart."""
    channels = Channels(
        ChannelNeeds(
            agents=agents,
            look_at=looks_at(machines, tasks),
            store=foundations.store.channels,
            clock=foundations.clock,
            publish=foundations.events.publish,
            directory=foundations.settings.pipe_directory,
            server=foundations.store.server.name,
        ),
        foundations.loops,
    )
    await _open(foundations, channels)
    return channels


async def _open(foundations: Foundations, part: Agents | KitAgents | Channels) -> None:
    """Open a part that hears what happens, until the service ends."""
    foundations.events.subscribe(part.on_event)
    foundations.opened.push_async_callback(part.close)
    await part.open()
