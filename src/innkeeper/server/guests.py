"""Composition of all that talks to guests apart from updates."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from collections.abc import Callable

from innkeeper.channels.ports import GuestAgents
from innkeeper.machines.guest.heartbeats import Heartbeats
from innkeeper.machines.guest.initialiser import GuestInitialiser
from innkeeper.machines.guest.os import GuestOS
from innkeeper.machines.guest.parameters import HostNames, Parameters, ParameterStore
from innkeeper.machines.guest.power_tasks import GuestTasks
from innkeeper.machines.service import Machines
from innkeeper.tasks.ports import Clock
from innkeeper.tasks.service import Tasks
from innkeeper.wire.events import Publish


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Guests:
    """The guests of all machines: operating systems, parameters, power tasks, heartbeats."""

    os: GuestOS
    tasks: GuestTasks
    parameters: Parameters
    heartbeats: Heartbeats
    initialiser: GuestInitialiser


async def guests(
    *,
    machines: Machines,
    agents: GuestAgents,
    tasks: Tasks,
    store: ParameterStore,
    clock: Clock,
    publish: Publish,
    subscribe: Callable[[Publish], None],
) -> Guests:
    """Compose the guests' parts and subscribe them to events."""
    system = GuestOS(machines, agents)
    parameters = Parameters(
        machines=machines, guests=system, store=store, clock=clock, host=await asyncio.to_thread(_host_names)
    )
    made = Guests(
        os=system,
        tasks=GuestTasks(machines=machines, guests=system, tasks=tasks, clock=clock, publish=publish),
        parameters=parameters,
        heartbeats=Heartbeats(machines, agents, clock=clock, publish=publish),
        initialiser=GuestInitialiser(machines=machines, guests=system, parameters=parameters, clock=clock),
    )
    subscribe(made.tasks.on_event)
    subscribe(made.initialiser.on_event)
    return made


def _host_names() -> HostNames:
    return HostNames(name=socket.gethostname(), full_name=socket.getfqdn())
