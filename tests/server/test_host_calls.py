"""A read of a machine's configuration asks its host once, whatever the host."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from innkeeper.hypervisor.libvirt import libvirt_host
from innkeeper.hypervisor.libvirt.link import Link
from innkeeper.hypervisor.simulated.host import simulated_host
from innkeeper.hypervisor.simulated.machines import SimulatedMachine, file_disk
from innkeeper.machines.ports.host import Host
from innkeeper.server.app import make_app
from innkeeper.server.compose import open_house
from innkeeper.server.compose_base import Overrides
from innkeeper.server.peers import PEER, Credentials
from innkeeper.server.settings import Settings
from innkeeper.tasks.clock import FakeClock

_MACHINE = """
<domain type='test'>
  <name>subject</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
  <os><type>hvm</type></os>
  <devices>
    <disk type='file' device='disk'><source file='{path}'/><target dev='vda' bus='virtio'/></disk>
    <interface type='user'><mac address='52:54:00:00:00:01'/></interface>
  </devices>
</domain>"""

#: The reads of a configuration.
_READS = (
    "/v1/machines/subject/configuration",
    "/v1/machines/subject/configuration?running=true",
    "/v1/machines/subject/values",
    "/v1/machines/subject/value?key=ui_options/seconds_to_save",
)


#: Whether the code that runs now was called by a request of a test.
_in_a_request = contextvars.ContextVar("_in_a_request", default=False)


class Counter:
    """Counts the calls of one method that requests make; background work of the service is not counted."""

    def __init__(self, owner: object, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = 0
        called: Callable[..., Any] = getattr(owner, method)

        def counted(*args: object, **kwargs: object) -> object:
            self.calls += _in_a_request.get()
            return called(*args, **kwargs)

        monkeypatch.setattr(owner, method, counted)


@pytest.fixture(params=["simulated", "libvirt"])
async def host(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Host, Counter]]:
    """A host with one machine, and a counter of what it is asked."""
    if request.param == "simulated":
        simulated = simulated_host(
            tmp_path / "host", clock=FakeClock(speed=1000), publish=lambda _event: None
        )
        await simulated.connection.open()
        disks = [file_disk("vda", str(tmp_path / "vda.img"))]
        await simulated.simulation.add(SimulatedMachine(name="subject", uuid="subject", disks=disks))
        yield simulated, Counter(simulated.simulation, "simulate", monkeypatch)
        return
    node = tmp_path / "node.xml"
    node.write_text("<node/>")
    made_up = libvirt_host(
        name="made-up", uri=f"test://{node}", publish=lambda _event: None, state_directory=tmp_path
    )
    await made_up.connection.open()
    await made_up.definitions.define(_MACHINE.format(path=tmp_path / "disk.raw"))
    assert isinstance(made_up.connection, Link)
    yield made_up, Counter(made_up.connection.libvirt._connected(), "run", monkeypatch)
    await made_up.connection.close()


@contextlib.asynccontextmanager
async def _door(host: Host, directory: Path) -> AsyncIterator[httpx.AsyncClient]:
    """The service's interface over this host, as root sees it; its clock stands still."""
    settings = Settings(state_dir=directory / "state", socket=directory / "s.sock")
    async with open_house(settings, Overrides(hypervisors=[host], clock=FakeClock())) as house:
        transport = httpx.ASGITransport(as_root(make_app(house)))
        async with httpx.AsyncClient(transport=transport, base_url="http://innkeeper") as http:
            yield http


def as_root(app: ASGIApp) -> ASGIApp:
    """The application, each of whose requests comes from root."""

    async def known(scope: Scope, receive: Receive, send: Send) -> None:
        # Tests share one task: what is left set here would count the next test's background work.
        before = _in_a_request.set(True)
        try:
            await app({**scope, PEER: Credentials(pid=1, uid=0, gid=0)}, receive, send)
        finally:
            _in_a_request.reset(before)

    return known


@pytest.mark.parametrize("path", _READS)
async def test_a_read_of_a_configuration_asks_the_host_once(
    host: tuple[Host, Counter], path: str, tmp_path: Path
) -> None:
    """Definition, state, files, chains and processor come by one call to libvirt's thread."""
    carrier, counter = host
    if "running" in path:
        await carrier.lifecycle.start("subject")
    async with _door(carrier, tmp_path) as http:
        assert (await http.get("/v1/machines/subject")).status_code == 200
        before = counter.calls
        answer = await http.get(path)
        asked = counter.calls - before
    assert answer.status_code == 200, answer.text
    assert asked == 1


async def test_the_networks_are_listed_by_one_read_of_all_configurations(
    host: tuple[Host, Counter], tmp_path: Path
) -> None:
    """However many machines have adapters; the networks themselves are one call more."""
    carrier, counter = host
    async with _door(carrier, tmp_path) as http:
        before = counter.calls
        answer = await http.get("/v1/networks/unplugged")
    assert answer.status_code == 200, answer.text
    assert counter.calls - before <= 1
