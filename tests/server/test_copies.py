"""A machine and its copy with the same UUID on another host are never taken for one another."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from innkeeper.errors import ErrorCode, HypervisorError, MachineError
from innkeeper.hypervisor.simulated.agents import FakeAgents
from innkeeper.hypervisor.simulated.failures import Failure, Failures
from innkeeper.hypervisor.simulated.host import SimulatedHost, simulated_host
from innkeeper.hypervisor.simulated.machines import SimulatedMachine
from innkeeper.machines.machine import MachineState
from innkeeper.server.app import make_app
from innkeeper.server.compose import open_house
from innkeeper.server.compose_base import Overrides
from innkeeper.server.house import House
from innkeeper.server.settings import Settings
from innkeeper.tasks.clock import FakeClock
from innkeeper.updates.whereabouts import Whereabouts
from innkeeper.wire.commands import Command
from innkeeper.wire.events import Event
from tests.server.test_host_calls import as_root

_FAR = "2030-01-01T00:00:00Z"


def _db_1() -> SimulatedMachine:
    return SimulatedMachine(name="db-1", uuid="uuid-d")


@dataclasses.dataclass
class Inn:
    """Two hosts, what fails of them, the service that has both, and its door."""

    attic: SimulatedHost
    cellar: SimulatedHost
    failures: Failures
    house: House
    door: httpx.AsyncClient

    async def copy(self, *, running: bool) -> str:
        """Copy the cellar's ``db-1`` to the attic with its definition; the original's key."""
        key = (await self.house.machines.get("db-1")).key
        await self.attic.simulation.add(_db_1())
        if running:
            await self.attic.lifecycle.start("db-1")
        await self.house.machines.list()
        return key

    async def planned(self) -> list[tuple[str, str]]:
        """Host and key of each booking in the plan, once all that was heard has been looked at."""
        for _ in range(3):
            night = await self.house.trigger.tonight()
        return [(entry.host, entry.key) for entry in night.entries]


@pytest.fixture
async def inn(tmp_path: Path) -> AsyncIterator[Inn]:
    """``db-1`` is in the cellar."""
    clock = FakeClock(speed=1000)
    failures, heard = Failures(clock=clock), list[Event]()
    attic, cellar = (
        simulated_host(tmp_path / name, clock=clock, publish=heard.append, name=name, failures=failures)
        for name in ("attic", "cellar")
    )
    for host in (attic, cellar):
        await host.connection.open()
    await cellar.simulation.add(_db_1())
    settings = Settings(state_dir=tmp_path / "state", socket=tmp_path / "s.sock")
    overrides = Overrides(
        hypervisors=[attic, cellar],
        clock=FakeClock(),
        agents=FakeAgents(attic.simulation, cellar.simulation, clock=clock),
    )
    async with open_house(settings, overrides) as house:
        transport = httpx.ASGITransport(as_root(make_app(house)))
        async with httpx.AsyncClient(transport=transport, base_url="http://innkeeper") as door:
            yield Inn(attic, cellar, failures, house, door)


async def book(inn: Inn) -> None:
    """Book an update for the only ``db-1``."""
    body = {"machine": "db-1", "identifier": "u", "label": "l", "start": _FAR}
    assert (await inn.door.post("/v1/updates", json=body)).status_code == 201


@pytest.mark.parametrize("running", [False, True])
async def test_a_booking_stays_with_its_machine_beside_a_copy(inn: Inn, running: bool) -> None:
    """Though the copy runs and the machine does not: it is not the one that somebody booked for."""
    await book(inn)
    key = await inn.copy(running=running)
    assert await inn.planned() == [("cellar", key)]
    assert [booking.key for booking in await inn.house.bookings.list()] == [key]


async def test_a_booking_does_not_go_to_a_copy_while_its_host_is_away(inn: Inn) -> None:
    """Nobody can know that the machine is not there any more."""
    await book(inn)
    key = await inn.copy(running=True)
    inn.failures.put("cellar", Failure.AWAY)
    assert await inn.planned() == [("", key)]
    assert [booking.key for booking in await inn.house.bookings.list()] == [key]


async def test_a_key_does_not_lead_to_a_copy_while_its_host_is_away(inn: Inn) -> None:
    """Also where the machine was never seen by this service, as right after a start."""
    key = await inn.copy(running=False)
    inn.failures.put("cellar", Failure.AWAY)
    inn.house.machines.places.forget("cellar", "db-1")
    with pytest.raises(HypervisorError) as refused:
        await inn.house.machines.get(key)
    assert refused.value.code is ErrorCode.ERROR_ONLY_IF_CONNECTED
    assert "cellar" in refused.value.sentence


async def test_a_copy_is_never_woken_beside_the_machine(inn: Inn) -> None:
    """By whatever it is called."""
    key = await inn.copy(running=True)
    for called in ("cellar/db-1", key):
        with pytest.raises(MachineError, match="is running on the host attic") as refused:
            await inn.house.machines.startup(called, owner="ana")
        assert refused.value.code is ErrorCode.ERROR_ALREADY_EXISTS
    assert (await inn.cellar.inventory.get("db-1")).state is MachineState.TURNED_OFF


async def test_what_is_done_by_the_name_or_the_uuid_of_both_is_refused(inn: Inn) -> None:
    """With both written out: to start, to stop, to update."""
    await inn.copy(running=True)
    for called in ("db-1", "uuid-d"):
        for answer in (
            await inn.door.post(f"/v1/machines/{called}/startup", json={}),
            await inn.door.post(f"/v1/machines/{called}/turn_off", json={}),
            await inn.door.post("/v1/updates", json={"machine": called, "identifier": "u", "label": "l"}),
        ):
            assert answer.status_code == 409, answer.text
            assert answer.json()["code"] == ErrorCode.VM_E_CONFIG_DUPLICATE_NAME.name
            assert all(name in answer.json()["detail"] for name in ("attic/db-1", "cellar/db-1"))
    task = await inn.house.machines.command("attic/db-1", Command.TURN_OFF, owner="ana")
    await inn.house.tasks.wait(task.id)
    assert (await inn.attic.inventory.get("db-1")).state is MachineState.TURNED_OFF


async def test_of_several_places_none_is_taken(inn: Inn) -> None:
    """A machine that its host has no longer, and that two others have, is nowhere."""
    key = await inn.copy(running=True)
    machine = await inn.house.machines.get("attic/db-1")
    other = dataclasses.replace(machine, host="loft", host_id="loft-id")
    assert Whereabouts([machine, other]).of(key) is None
    found = Whereabouts([machine]).of(key)
    assert found is not None
    assert found.host == "attic"
