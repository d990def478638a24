"""Two servers of one inn, each with a simulated host of its own."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import httpx
import sqlalchemy as sa
from starlette.types import ASGIApp, Receive, Scope, Send

from innkeeper.hypervisor.simulated.agents import FakeAgents
from innkeeper.hypervisor.simulated.failures import Failures
from innkeeper.hypervisor.simulated.host import SimulatedHost, simulated_host
from innkeeper.hypervisor.simulated.machines import SimulatedMachine
from innkeeper.machines.directory import Directory
from innkeeper.server.app import make_app
from innkeeper.server.compose import open_house
from innkeeper.server.compose_base import Overrides
from innkeeper.server.compose_relay import directory_keeper
from innkeeper.server.house import House
from innkeeper.server.pages import rendering
from innkeeper.server.peer_door import peer_door
from innkeeper.server.peers import PEER, Credentials
from innkeeper.server.relay.keeper import DirectoryKeeper
from innkeeper.server.settings import Settings
from innkeeper.tasks.clock import FakeClock
from innkeeper.tasks.memory_engine import MemoryEngine
from innkeeper.wire.events import Event


@dataclasses.dataclass
class Server:
    """One server in this process, as its tests use it."""

    name: str
    house: House
    host: SimulatedHost
    #: What is wrong with its host.
    failures: Failures
    app: ASGIApp
    #: As root, at its local door.
    http: httpx.AsyncClient
    keeper: DirectoryKeeper
    directory: Directory
    #: Ends it.
    life: contextlib.AsyncExitStack


@contextlib.asynccontextmanager
async def server(
    name: str, host: str, database: sa.URL, directory: Path, machines: Sequence[str]
) -> AsyncIterator[Server]:
    """Open a server that looks after one host, its peer door with it."""
    heard: list[House] = []

    def publish(event: Event) -> None:
        for house in heard:
            house.events.publish(event)

    clock = FakeClock(speed=50)
    failures = Failures(clock=clock)
    simulated = simulated_host(directory / host, clock=clock, publish=publish, name=host, failures=failures)
    await simulated.connection.open()
    for machine in machines:
        await simulated.simulation.add(SimulatedMachine(name=machine, uuid=f"{host}-{machine}"))
    settings = Settings(
        state_dir=directory / name,
        socket=directory / f"{name}.sock",
        database=database.render_as_string(hide_password=False),
        server_name=name,
        # The servers stand still while this process runs tests of other files.
        lease_seconds=3600,
        peer_listen="127.0.0.1:0",
    )
    overrides = Overrides(
        hypervisors=[simulated],
        clock=clock,
        engine=MemoryEngine(),
        agents=FakeAgents(simulated.simulation, clock=clock),
    )
    async with contextlib.AsyncExitStack() as life:
        house = await life.enter_async_context(open_house(settings, overrides))
        heard.append(house)
        await asyncio.to_thread(rendering.load)
        app = make_app(house)
        await life.enter_async_context(peer_door(house, app))
        http = await life.enter_async_context(client(as_root(app)))
        assert house.neighbours is not None
        keeper = directory_keeper(house, house.neighbours)
        await keeper.look()
        house.neighbours.look_again()
        yield Server(name, house, simulated, failures, app, http, keeper, house.neighbours.directory, life)


def as_root(app: ASGIApp) -> ASGIApp:
    """The application as root sees it at the local door."""

    async def with_peer(scope: Scope, receive: Receive, send: Send) -> None:
        scope[PEER] = Credentials(pid=1, uid=0, gid=0)
        await app(scope, receive, send)

    return with_peer


def client(app: ASGIApp) -> httpx.AsyncClient:
    """A client in this process."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost", timeout=30)
