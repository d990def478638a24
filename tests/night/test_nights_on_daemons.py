"""One night on three libvirt daemons, each of which fails in its own way while the updates run."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from innkeeper.errors import InnkeeperError
from innkeeper.hypervisor.libvirt import lanes
from innkeeper.machines.machine import MachineState
from innkeeper.machines.ports.host import Host
from innkeeper.server.compose import open_house
from innkeeper.server.house import House
from innkeeper.server.settings import Settings
from innkeeper.updates.booking import Verdict
from innkeeper.updates.policy import Policy
from innkeeper.updates.window import ALL_MACHINES, Window
from tests.guests import tiny
from tests.guests.machines import AGENT_PORT, GUEST_AGENT_PORT, TinyMachine, tiny_definition
from tests.guests.tiny import TinyGuest
from tests.hypervisor.daemons import (
    KINDS,
    Daemon,
    FarDaemon,
    SlowWire,
    SshServer,
    a_home,
    slow_wire,
    what_ssh_needs,
)

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.timeout(900),
    pytest.mark.skipif(shutil.which("libvirtd") is None, reason="libvirtd is not installed"),
    pytest.mark.skipif(os.geteuid() == 0, reason="root's libvirtd is the system's"),
    pytest.mark.skipif(bool(what_ssh_needs()), reason=f"missing: {what_ssh_needs()}"),
]
_POLICY = Policy(
    soak_seconds=1, poll_seconds=0.3, health_seconds=1, agent_seconds=90, shut_down_seconds=20,
    retry_seconds=1, look_seconds=1, default_run_seconds=60, rollback_reserve_seconds=30,
)  # fmt: skip
_BOOTS_S = 240.0
_NIGHT_S = 300.0
#: Longer than a silent daemon is believed to answer yet.
_SILENCE_S = 12.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inn:
    """A service with three hosts, and what can be done to them."""

    house: House
    near: Daemon
    far: FarDaemon
    wire: SlowWire
    by_ssh: Daemon


@pytest.fixture
def homes() -> Iterator[tuple[Path, Path, Path, Path]]:
    """Directories of the daemons and of the service."""
    with a_home() as one, a_home() as two, a_home() as three, a_home() as state:
        yield one, two, three, state


@pytest.fixture(params=KINDS)
async def inn(
    homes: tuple[Path, Path, Path, Path], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> AsyncIterator[Inn]:
    """A daemon on this computer's socket, one by TLS behind a slow wire, and one by SSH.

    The first and the last are libvirtd, or the modular virtqemud, which speaks no TLS by itself.
    """
    monkeypatch.setattr(lanes, "KEEPALIVE", lanes.Keepalive(interval_seconds=2, tries=3))
    kind: type[Daemon] = request.param
    near, far, by_ssh = kind(homes[0]), FarDaemon(homes[1]), kind(homes[2])
    server = SshServer(homes[2], by_ssh.environment)
    for daemon in (near, far, by_ssh):
        await asyncio.to_thread(daemon.start)
    await asyncio.to_thread(server.start)
    async with slow_wire(far.port) as wire:
        settings = Settings(
            state_dir=homes[3], socket=homes[3] / "s", policy=_POLICY,
            hypervisors=(
                f"near={near.uri}", f"far={far.tls_uri(wire.port)}", f"attic={server.uri(by_ssh)}",
            ),
        )  # fmt: skip
        try:
            async with open_house(settings) as house:
                yield Inn(house=house, near=near, far=far, wire=wire, by_ssh=by_ssh)
        finally:
            await asyncio.to_thread(server.end)
            for daemon in (near, by_ssh):
                daemon.kill()
            far.end()
            await asyncio.to_thread(_end_guests, homes)


def _end_guests(homes: tuple[Path, ...]) -> None:
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            try:
                command = (process / "cmdline").read_bytes()
            except OSError:
                continue
            if b"qemu-system" in command and any(str(home).encode() in command for home in homes):
                os.kill(int(process.name), 9)


async def _machine(host: Host, guest: TinyGuest, folder: Path, seen: Path, name: str) -> None:
    """Define a machine whose disk lies in ``folder`` there, which is ``seen`` here, and start it."""
    made = TinyMachine(name=name, disk=seen / f"{name}.raw", console=folder / f"{name}.console")
    await asyncio.to_thread(tiny.data_disk, made.disk)
    made = dataclasses.replace(made, disk=folder / f"{name}.raw")
    async with asyncio.timeout(_BOOTS_S):
        while True:
            try:
                await host.definitions.define(
                    tiny_definition(made, guest, "raw", AGENT_PORT + GUEST_AGENT_PORT)
                )
                break
            except InnkeeperError:  # it is not connected yet
                await asyncio.sleep(0.2)
    await host.lifecycle.start(name)


async def _until_phase(house: House, machine: str, phase: str) -> None:
    """Wait until the machine's run is in a phase."""
    async with asyncio.timeout(_NIGHT_S):
        while "IN_PROGRESS" not in await _told(house, machine) and "SEARCHING" not in await _told(
            house, machine
        ):
            await asyncio.sleep(0.05)


async def _told(house: House, machine: str) -> str:
    """All that the booking and its run say."""
    booking = await house.bookings.get(machine, "n")
    if not booking.task_id:
        return booking.reason
    lines = [f"{line.at:%H:%M:%S} {line.text}" for line in await house.tasks.log(booking.task_id)]
    return "\n".join([booking.reason, str((await house.tasks.get(booking.task_id)).progress), *lines])


async def _restart(daemon: Daemon) -> None:
    daemon.kill()
    await asyncio.sleep(1)
    await asyncio.to_thread(daemon.start)


async def _silence(daemon: Daemon) -> None:
    daemon.stop()
    await asyncio.sleep(_SILENCE_S)
    daemon.go_on()


async def _lag(wire: SlowWire) -> None:
    wire.delay_s = 0.15
    await asyncio.sleep(2)
    wire.cut()
    await asyncio.sleep(2)
    wire.delay_s = 0.0


async def test_updates_are_kept_though_every_daemon_fails(inn: Inn, tiny_guest: TinyGuest) -> None:
    """One is killed and started again, one falls silent, one is behind a bad wire: nothing is rolled back."""
    house, hosts = inn.house, inn.house.machines.hosts
    here, there = inn.near.home, inn.far.disks
    await asyncio.gather(
        _machine(hosts["near"], tiny_guest, here, here, "web"),
        _machine(hosts["far"], tiny_guest, there, inn.far.inside, "mail"),
        _machine(hosts["attic"], tiny_guest, inn.by_ssh.home, inn.by_ssh.home, "db"),
    )
    for name in ("web", "mail", "db"):
        await house.agents.connected((await house.machines.get(name)).key, timeout=_BOOTS_S)
        await house.bookings.book(name, label="night", identifier="n", context=b"fill slow", booked_by="test")
    now = dt.datetime.now(dt.UTC)
    await house.windows.add(
        Window(
            name="always", zone="UTC", start=dt.time(0), duration=dt.timedelta(days=2),
            machines=(ALL_MACHINES,), dates=frozenset({now.date()}),
        )
    )  # fmt: skip
    house.trigger.wake()

    async def fail(machine: str, how: object) -> None:
        await _until_phase(house, machine, "update")
        await how  # type: ignore[misc]  # a coroutine

    await asyncio.gather(
        fail("web", _restart(inn.near)), fail("mail", _lag(inn.wire)), fail("db", _silence(inn.by_ssh))
    )
    async with asyncio.timeout(_NIGHT_S):
        for name in ("web", "mail", "db"):
            while (await house.bookings.get(name, "n")).verdict is None:
                await asyncio.sleep(0.2)
    verdicts = {}
    for name in ("web", "mail", "db"):
        report = await house.reports.of_booking(name, "n")
        verdicts[name] = (report.verdict, report.reasons)
        machine = await house.machines.get(name)
        assert machine.state is MachineState.RUNNING, verdicts
        assert [Path(disk.path).name for disk in machine.disks] == [f"{name}.raw"]
    assert {name: verdict for name, (verdict, _) in verdicts.items()} == dict.fromkeys(
        ("web", "mail", "db"), Verdict.KEPT
    ), verdicts
