"""Put together all that speaks with guests beyond their updates."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from collections.abc import Callable

from innkeeper.channels.ports import GuestAgents
from innkeeper.machines.greeter import Greeter
from innkeeper.machines.guest_os import GuestOS
from innkeeper.machines.guest_tasks import GuestTasks
from innkeeper.machines.heartbeats import Heartbeats
from innkeeper.machines.parameters import HostNames, Parameters, ParameterStore
from innkeeper.machines.service import Machines
from innkeeper.tasks.ports import Clock
from innkeeper.tasks.service import Tasks
from innkeeper.wire.events import Publish


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Guests:
    """The guests of all machines, as the doors use them."""

    os: GuestOS
    tasks: GuestTasks
    parameters: Parameters
    heartbeats: Heartbeats
    greeter: Greeter


async def guests(
    *,
    machines: Machines,
    agents: GuestAgents,
    tasks: Tasks,
    store: ParameterStore,
    clock: Clock,
    publish: Publish,
    tell: Callable[[Publish], None],
) -> Guests:
    """Wire them; ``tell`` lets them hear the house's events."""
    system = GuestOS(machines, agents)
    parameters = Parameters(
        machines=machines, guests=system, store=store, clock=clock, host=await asyncio.to_thread(_host_names)
    )
    made = Guests(
        os=system,
        tasks=GuestTasks(machines=machines, guests=system, tasks=tasks, clock=clock, publish=publish),
        parameters=parameters,
        heartbeats=Heartbeats(machines, agents, clock=clock, publish=publish),
        greeter=Greeter(machines=machines, guests=system, parameters=parameters, clock=clock),
    )
    tell(made.tasks.heed)
    tell(made.greeter.heed)
    return made


def _host_names() -> HostNames:
    return HostNames(name=socket.gethostname(), full_name=socket.getfqdn())
