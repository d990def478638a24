"""A host that is away is told, and touches no other host's machines."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from innkeeper.errors import ErrorCode
from innkeeper.hypervisor.libvirt import libvirt_host
from innkeeper.hypervisor.simulated.host import simulated_host
from innkeeper.hypervisor.simulated.machines import SimulatedMachine
from innkeeper.machines.ports.host import Host
from innkeeper.server.app import make_app
from innkeeper.server.compose import open_house
from innkeeper.server.compose_base import Overrides
from innkeeper.server.settings import Settings
from innkeeper.tasks.clock import FakeClock
from tests.server.test_host_calls import as_root


@pytest.fixture
async def hosts(tmp_path: Path) -> AsyncIterator[list[Host]]:
    """A host that nobody answers for, and one that is well."""
    away = libvirt_host(
        name="away",
        uri=f"qemu+unix:///session?socket={tmp_path}/nobody",
        publish=lambda _event: None,
        state_directory=tmp_path,
    )
    await away.connection.open()
    well = simulated_host(tmp_path / "well", clock=FakeClock(speed=1000), publish=lambda _event: None)
    await well.connection.open()
    await well.simulation.add(SimulatedMachine(name="web-1", uuid="web-1"))
    yield [away, well]
    await away.connection.close()


@pytest.fixture
async def door(hosts: list[Host], tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """The service that has both."""
    settings = Settings(state_dir=tmp_path / "state", socket=tmp_path / "s.sock")
    async with open_house(settings, Overrides(hypervisors=hosts, clock=FakeClock())) as house:
        transport = httpx.ASGITransport(as_root(make_app(house)))
        async with httpx.AsyncClient(transport=transport, base_url="http://innkeeper") as http:
            yield http


@pytest.mark.parametrize(
    "path",
    [
        "/v1/machines/web-1",
        "/v1/machines/WEB-1",
        "/v1/machines/web-1/configuration",
        "/v1/networks",
        "/v1/usb",
    ],
)
async def test_what_another_host_has_is_answered(door: httpx.AsyncClient, path: str) -> None:
    """However many hosts before it are away."""
    assert (await door.get(path)).status_code == 200


async def test_a_host_that_is_away_is_listed_with_the_reason(door: httpx.AsyncClient) -> None:
    """And the others with their facts."""
    message = (await door.get("/v1/hosts")).json()
    assert [host["name"] for host in message["hosts"]] == ["fake"]
    (away,) = message["away"]
    assert away["name"] == "away"
    assert "No such file or directory" in away["reason"]
    assert away["reason"].startswith("The host at qemu+unix:")


async def test_a_silent_host_is_logged_once(hosts: list[Host], tmp_path: Path) -> None:
    """However often the machines are listed."""
    settings = Settings(state_dir=tmp_path / "state", socket=tmp_path / "s.sock")
    with capture_logs() as logs:
        async with open_house(settings, Overrides(hypervisors=hosts, clock=FakeClock())) as house:
            for _ in range(3):
                await house.machines.list()
            assert house.machines.silent == {"away"}
    assert [each["host"] for each in logs if each["event"] == "host.silent"] == ["away"]


async def test_a_machine_that_may_be_on_a_host_that_is_away_is_not_called_unknown(
    door: httpx.AsyncClient,
) -> None:
    """Nobody knows."""
    response = await door.get("/v1/machines/web-9")
    assert response.status_code == 502
    assert response.json()["code"] == ErrorCode.ERROR_ONLY_IF_CONNECTED.name
    assert "not all do: away" in response.text


async def test_one_host_by_two_addresses_is_used_by_one(tmp_path: Path) -> None:
    """The other is told in the list of hosts, and the service goes on."""
    hosts = []
    for name in ("attic", "roof"):
        host = simulated_host(tmp_path / "host", clock=FakeClock(), publish=lambda _event: None, name=name)
        await host.connection.open()
        hosts.append(host)
    await hosts[0].simulation.add(SimulatedMachine(name="web-1", uuid="web-1"))
    settings = Settings(state_dir=tmp_path / "state", socket=tmp_path / "s.sock")
    async with open_house(settings, Overrides(hypervisors=hosts, clock=FakeClock())) as house:
        transport = httpx.ASGITransport(as_root(make_app(house)))
        async with httpx.AsyncClient(transport=transport, base_url="http://innkeeper") as http:
            assert [each.host for each in await house.machines.list()] == ["attic"]
            message = (await http.get("/v1/hosts")).json()
    assert [host["name"] for host in message["hosts"]] == ["attic"]
    (roof,) = message["away"]
    assert roof["name"] == "roof"
    assert "It is the host attic by another address" in roof["reason"]
