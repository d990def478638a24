"""Compose the hosts: simulated, libvirt's, or given ones, each behind what says whose it is."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Sequence

import structlog

from innkeeper.hypervisor.libvirt import (
    choose_uri,
    embedded_root,
    embedded_uri,
    libvirt_host,
    met_id,
    prepare_root,
)
from innkeeper.hypervisor.simulated.fleet import Fleet as SimulatedFleet
from innkeeper.hypervisor.simulated.fleet import open_fleet
from innkeeper.hypervisor.simulated.turns import Actor
from innkeeper.machines.ports.host import Host
from innkeeper.server.compose_base import Foundations, fleet_directory
from innkeeper.server.host_names import named_hosts, refuse_unknown_stand_ins
from innkeeper.server.settings import FakeSettings, Settings
from innkeeper.servers.fence import OPEN, Fence, HostElsewhere
from innkeeper.servers.ownership import HostFence

_log = structlog.get_logger(__name__)


async def compose_hosts(foundations: Foundations) -> Sequence[Host]:
    """Open all hosts at once; one that does not answer comes later by itself."""
    if foundations.overrides.hypervisors is not None:
        for host in foundations.overrides.hypervisors:
            await _give(foundations, host)
        return foundations.overrides.hypervisors
    if foundations.settings.fake is not None:
        return await _fake(foundations, foundations.settings.fake)
    hosts = named_hosts(await _uris(foundations.settings))
    refuse_unknown_stand_ins(foundations.settings.stand_in_for, hosts)
    opening = (_libvirt(foundations, name, uri) for name, uri in hosts.items())
    opened = await asyncio.gather(*opening, return_exceptions=True)
    # Only when all have ended: what fails after the first would be told as an exception that nobody has seen.
    return [_opened(host) for host in opened]


async def _give(foundations: Foundations, host: Host) -> None:
    """Own a host that is open already, as soon as no other server does."""
    fence = _fence(foundations, host.name, host.uri)

    async def connect() -> None:
        await fence.claim(host.id)
        await fence.opened()

    if isinstance(fence, HostFence):
        fence.bind(connect=connect, disconnect=host.connection.let_go)
    with contextlib.suppress(HostElsewhere):
        await connect()


def _bind(fence: Fence, host: Host) -> None:
    """Give a fence what opens its host, and what lets go of it."""
    if isinstance(fence, HostFence):
        fence.bind(connect=host.connection.open, disconnect=host.connection.let_go)


def _fence(foundations: Foundations, name: str, uri: str) -> Fence:
    """Return what stands before each act on a host."""
    if foundations.ownership is None:
        return OPEN
    stands_in = {name, uri} & set(foundations.settings.stand_in_for)
    return foundations.ownership.fence(name=name, uri=uri, stand_in=bool(stands_in))


def _opened(host: Host | BaseException) -> Host:
    if isinstance(host, BaseException):
        raise host
    return host


async def _fake(foundations: Foundations, fake: FakeSettings) -> Sequence[Host]:
    fleet = SimulatedFleet(
        directory=fleet_directory(foundations.settings),
        first_host=fake.first_host,
        hosts=fake.hosts,
        machines=fake.machines,
        seed=fake.seed,
        failures_a_day=fake.failures_a_day,
    )
    actor = Actor(server=foundations.settings.own_name, keeps_ledger=fake.ledger)
    hosts = await foundations.opened.enter_async_context(
        open_fleet(
            fleet,
            clock=foundations.clock,
            publish=foundations.events.publish,
            actor=actor,
            fence_of=functools.partial(_fence, foundations),
        )
    )
    refuse_unknown_stand_ins(foundations.settings.stand_in_for, {host.name: host.uri for host in hosts})
    for host in hosts:
        _bind(host.simulation.fence, host)
    return hosts


async def _uris(settings: Settings) -> Sequence[str]:
    return settings.hypervisors or (await choose_uri(settings.state_dir),)


async def _libvirt(foundations: Foundations, name: str, uri: str) -> Host:
    """Open one libvirt host; the embedded driver's first probe of QEMU happens here, with progress.

    A host that cannot be reached now is tried again and again; the service starts without it.
    """
    state_dir = foundations.settings.state_dir
    # Off the loop: it looks for a short name of the directory.
    if uri == await asyncio.to_thread(lambda: embedded_uri(embedded_root(state_dir))):
        acceleration = await prepare_root(
            state_dir, lambda phase: _log.info("hypervisor_probing", phase=phase)
        )
        _log.info("hypervisor_probed", accelerator=acceleration.accelerator, reason=acceleration.reason)
    fence = _fence(foundations, name, uri)
    hypervisor = libvirt_host(
        name=name,
        uri=uri,
        publish=foundations.events.publish,
        state_directory=state_dir,
        exports=foundations.exports,
        fence=fence,
        known_id=await asyncio.to_thread(met_id, state_dir, uri),
        loops=foundations.loops,
    )
    _bind(fence, hypervisor)
    foundations.opened.push_async_callback(hypervisor.connection.close)
    await hypervisor.connection.open()
    _log.info("hypervisor_opened", host=hypervisor.name, uri=uri)
    return hypervisor
