"""Several services at one simulated host: each acts on what the last one left, and overlaps are told."""

from __future__ import annotations

import asyncio
import fcntl
import json
import multiprocessing
from collections.abc import AsyncIterator, Callable
from multiprocessing.synchronize import Event as Signal
from pathlib import Path

import pytest

from innkeeper.errors import ErrorCode, HypervisorError, MachineNotFound
from innkeeper.hypervisor.simulated import turns
from innkeeper.hypervisor.simulated.fleet import Fleet, open_fleet
from innkeeper.hypervisor.simulated.host import SimulatedHost, simulated_host
from innkeeper.hypervisor.simulated.machines import SimulatedMachine, file_disk
from innkeeper.hypervisor.simulated.turns import Actor
from innkeeper.machines.machine import MachineState
from innkeeper.servers.fence import OPEN, Fence, FenceClosed, HostElsewhere, OpenFence
from innkeeper.tasks.clock import FakeClock
from innkeeper.wire.events import Json

Open = Callable[[Actor, Fence], SimulatedHost]


class Lease(OpenFence):
    """A fence that lets everything through, by a lease with some epoch."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch

    @property
    def epoch(self) -> int:
        """The epoch of the lease."""
        return self._epoch


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Open]:
    """Open the same host as many a service as wished: one machine, off."""
    hosts: list[SimulatedHost] = []
    clock = FakeClock(speed=1000)

    def make(actor: Actor, fence: Fence) -> SimulatedHost:
        host = simulated_host(
            tmp_path / "host",
            clock=clock,
            publish=lambda _event: None,
            name="attic",
            actor=actor,
            fence=fence,
        )
        hosts.append(host)
        return host

    first = make(Actor(server="first"), OPEN)
    await first.connection.open()
    await first.simulation.add(
        SimulatedMachine(name="web-1", uuid="web-1", disks=[file_disk("vda", str(tmp_path / "vda.img"))])
    )
    await first.connection.close()
    yield make
    for host in hosts:
        await host.connection.close()


async def _open(opened: Open, server: str, epoch: int = 0) -> SimulatedHost:
    host = opened(Actor(server=server), Lease(epoch))
    await host.connection.open()
    return host


def _told(tmp_path: Path, name: str = "overlaps") -> list[dict[str, Json]]:
    file = tmp_path / "host" / f"{name}.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


async def test_a_service_acts_on_what_another_left(opened: Open) -> None:
    """Both see one state, whoever changed it, and so does a list."""
    ours, theirs = await _open(opened, "ours"), await _open(opened, "theirs")
    await ours.lifecycle.start("web-1")
    assert [machine.state for machine in await theirs.inventory.list()] == [MachineState.RUNNING]
    await theirs.lifecycle.turn_off("web-1")
    assert (await ours.inventory.get("web-1")).state is MachineState.TURNED_OFF
    assert ours.id == theirs.id


async def test_a_machine_that_another_renamed_is_found_under_its_new_name_alone(opened: Open) -> None:
    """The old record is gone for everybody."""
    ours, theirs = await _open(opened, "ours"), await _open(opened, "theirs")
    await ours.definitions.rename("web-1", "web-2")
    assert [machine.name for machine in await theirs.inventory.list()] == ["web-2"]
    with pytest.raises(MachineNotFound):
        await theirs.inventory.get("web-1")


async def test_two_services_that_act_at_once_are_written_down(opened: Open, tmp_path: Path) -> None:
    """Who looks is nobody's rival; who acts beside another that lives is told, with what it did."""
    ours, theirs = await _open(opened, "ours"), await _open(opened, "theirs")
    await ours.lifecycle.start("web-1")
    await theirs.inventory.list()
    await theirs.inventory.get("web-1")
    assert _told(tmp_path) == []
    await theirs.lifecycle.start("web-1")
    (overlap,) = _told(tmp_path)
    assert (overlap["server"], overlap["machine"], overlap["doing"]) == ("theirs", "web-1", "start")
    assert overlap["why"] == "another server acts on the host"


async def test_a_service_that_ended_is_nobodys_rival(opened: Open, tmp_path: Path) -> None:
    """Its successor acts without a word."""
    ours, theirs = await _open(opened, "ours"), await _open(opened, "theirs")
    await ours.lifecycle.start("web-1")
    await ours.connection.close()
    await theirs.lifecycle.turn_off("web-1")
    assert _told(tmp_path) == []


async def test_an_act_by_an_older_lease_is_written_down(opened: Open, tmp_path: Path) -> None:
    """The newer lease takes the host over without a word; what the older one still does is told."""
    ours, theirs = await _open(opened, "ours", epoch=1), await _open(opened, "theirs", epoch=2)
    await ours.lifecycle.start("web-1")
    await theirs.lifecycle.pause("web-1")
    assert _told(tmp_path) == []
    await ours.lifecycle.turn_off("web-1")
    (overlap,) = _told(tmp_path)
    assert (overlap["server"], overlap["epoch"], overlap["doing"]) == ("ours", 1, "turn off")
    await theirs.lifecycle.start("web-1")
    assert len(_told(tmp_path)) == 1


class ClosedOnce(OpenFence):
    """A fence that is closed for the first act, and lets it through when it tries again."""

    def __init__(self) -> None:
        self.refused: list[bool] = []

    def check(self, *, final: bool = False) -> None:
        """Refuse once."""
        if not self.refused:
            self.refused.append(final)
            raise FenceClosed("Not now.")


async def test_an_act_passes_the_fence_and_a_look_does_not(opened: Open) -> None:
    """Nothing is done while it is closed; once it is open, the same act goes through."""
    fence = ClosedOnce()
    host = opened(Actor(), fence)
    await host.connection.open()
    await host.inventory.get("web-1")
    assert fence.refused == []
    await host.lifecycle.start("web-1")
    assert fence.refused == [True]
    assert (await host.inventory.get("web-1")).state is MachineState.RUNNING


class Elsewhere(OpenFence):
    """The fence of a host that another server owns, until it is free."""

    is_free = False

    async def claim(self, host_id: str) -> None:
        """Refuse while it is not free."""
        if not self.is_free:
            raise HostElsewhere("The host attic is looked after by the server cellar.")


async def test_a_host_of_another_server_is_taken_when_it_is_free(opened: Open) -> None:
    """Until then it is not connected, by the sentence that says whose it is; and again when it is let go."""
    fence = Elsewhere()
    host = opened(Actor(), fence)
    await host.connection.open()
    with pytest.raises(HypervisorError, match="by the server cellar") as caught:
        await host.inventory.list()
    assert caught.value.code is ErrorCode.ERROR_ONLY_IF_CONNECTED
    fence.is_free = True
    await host.connection.open()
    assert len(await host.inventory.list()) == 1
    await host.connection.let_go()
    with pytest.raises(HypervisorError, match="another server"):
        await host.inventory.list()


async def test_the_ledger_tells_every_act(opened: Open, tmp_path: Path) -> None:
    """By whom and by which lease, in vain or not; looks are not in it."""
    host = opened(Actor(server="ours", keeps_ledger=True), Lease(7))
    await host.connection.open()
    await host.lifecycle.start("web-1")
    await host.inventory.list()
    await host.lifecycle.start("web-1")
    await host.lifecycle.turn_off("web-1")
    told = [(line["server"], line["epoch"], line["doing"]) for line in _told(tmp_path, "ledger")]
    assert told == [("ours", 7, "start"), ("ours", 7, "start"), ("ours", 7, "turn off")]


async def test_a_service_that_is_stopped_in_its_turn_holds_nobody_up(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process under SIGSTOP keeps its locks: after a while they count no more."""
    monkeypatch.setattr(turns, "_PATIENCE_SECONDS", 0.05)
    host = await _open(opened, "ours")
    spawn = multiprocessing.get_context("spawn")
    held, over = spawn.Event(), spawn.Event()
    holder = spawn.Process(target=_hold, args=(tmp_path / "host" / "turn", held, over))
    holder.start()
    try:
        assert await asyncio.to_thread(held.wait, 60)
        await host.lifecycle.start("web-1")
        assert (await host.inventory.get("web-1")).state is MachineState.RUNNING
    finally:
        over.set()
        await asyncio.to_thread(holder.join)


def _hold(path: Path, held: Signal, over: Signal) -> None:
    with path.open("rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        held.set()
        over.wait(60)


async def test_a_fleet_is_the_same_for_everybody_who_opens_it(tmp_path: Path) -> None:
    """Hosts, machines and their boots; a server that has a part of the hosts has the same ones."""
    whole = Fleet(directory=tmp_path, hosts=3, machines=4, seed=5)
    part = Fleet(directory=tmp_path, first_host=2, hosts=2, machines=4, seed=5)
    clock = FakeClock()
    nobody = Actor()
    async with open_fleet(whole, clock=clock, publish=lambda _event: None, actor=nobody) as all_of_it:
        listed = [await host.inventory.list() for host in all_of_it]
        boots = [_boots(host) for host in all_of_it]
        await clock.advance(3600)
        async with open_fleet(part, clock=clock, publish=lambda _event: None, actor=nobody) as some:
            assert [host.name for host in some] == ["cellar", "barn"]
            assert [host.id for host in some] == [host.id for host in all_of_it[1:]]
            assert [await host.inventory.list() for host in some] == listed[1:]
            assert [_boots(host) for host in some] == boots[1:]
    names = [machine.name for machines in listed for machine in machines]
    assert len(set(names)) == 12


def _boots(host: SimulatedHost) -> dict[str, str]:
    return {name: machine.boot_id for name, machine in host.simulation.machines.items()}


async def test_machines_that_nobody_touches_have_no_files(tmp_path: Path) -> None:
    """Ten thousand are there at once: only what something is done to is written."""
    fleet = Fleet(directory=tmp_path, hosts=1, machines=50)
    async with open_fleet(fleet, clock=FakeClock(), publish=lambda _event: None, actor=Actor()) as (host,):
        machines = await host.inventory.list()
        assert len(machines) == 50
        assert not [*tmp_path.rglob("*.img")]
        running = next(machine for machine in machines if machine.state is MachineState.RUNNING)
        await host.lifecycle.pause(running.name)
        assert [path.stem for path in tmp_path.rglob("*.img")] == [running.name]
        other = next(machine for machine in machines if machine is not running)
        assert await host.files.identity(other.disks[0].path) is not None
