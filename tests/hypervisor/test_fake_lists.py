"""Many simulated machines are listed and accounted quickly, and truly."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.hypervisor.simulated import usage as fake_usage
from innkeeper.hypervisor.simulated.host import SimulatedHost, simulated_host
from innkeeper.hypervisor.simulated.machines import SimulatedMachine
from innkeeper.machines.machine import Machine, MachineState
from innkeeper.tasks.clock import FakeClock


@pytest.fixture
async def host(tmp_path: Path) -> SimulatedHost:
    """Two machines that are off, on a clock that runs."""
    host = simulated_host(tmp_path / "host", clock=FakeClock(speed=1000), publish=lambda _event: None)
    await host.connection.open()
    for name in ("ada", "bob"):
        await host.simulation.add(SimulatedMachine(name=name, uuid=name))
    return host


async def test_what_nobody_has_touched_is_the_same_value(host: SimulatedHost) -> None:
    """A list made again holds the same machines, but for the one that something was done to."""
    ada, bob = await host.inventory.list()
    await host.lifecycle.start("bob")
    after, running = await host.inventory.list()
    assert after is ada
    assert (bob.state, running.state) == (MachineState.TURNED_OFF, MachineState.RUNNING)


async def test_a_list_made_while_something_is_done_is_not_believed_later(host: SimulatedHost) -> None:
    """Whatever was seen on the way, the list afterwards tells how it ended."""

    async def look() -> None:
        while not ended.done():
            await host.inventory.list()
            await asyncio.sleep(0)

    ended = asyncio.ensure_future(host.configurations.set_autostart("ada", autostart=True))
    await asyncio.gather(look(), ended)
    assert [machine.autostart for machine in await host.inventory.list()] == [True, False]


async def test_another_machine_of_the_same_name_is_another(host: SimulatedHost) -> None:
    """Nothing of one that was undefined is told of the next one."""

    def named(machines: list[Machine]) -> str:
        return next(machine.uuid for machine in machines if machine.name == "ada")

    assert named(list(await host.inventory.list())) == "ada"
    await host.definitions.undefine("ada")
    await host.simulation.add(SimulatedMachine(name="ada", uuid="another"))
    assert named(list(await host.inventory.list())) == "another"


@given(st.uuids(version=4), st.floats(0, 1e6), st.floats(0, 1e6))
def test_counters_never_go_back(uuid: object, first: float, second: float) -> None:
    """What a machine has used in all is never less later on."""
    machine = SimulatedMachine(name="ada", uuid=str(uuid))
    machine.boot(1e9)
    sooner, later = (fake_usage.usage(machine, 1e9 + at) for at in sorted((first, second)))
    assert sooner is not None
    assert later is not None
    assert sooner.cpu_seconds <= later.cpu_seconds + 1e-6
    for counter in ("disk_read_bytes", "disk_written_bytes", "network_received_bytes", "network_sent_bytes"):
        assert 0 <= getattr(sooner, counter) <= getattr(later, counter) + 1
