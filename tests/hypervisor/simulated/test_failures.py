"""Simulated hosts fail as real ones do: by hand, by a file, and from a seed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.errors import AgentError, DiskError, ErrorCode, HypervisorError
from innkeeper.hypervisor.simulated import failures as module
from innkeeper.hypervisor.simulated.agents import FakeAgents
from innkeeper.hypervisor.simulated.failures import (
    ANSWER_SECONDS,
    GONE_SECONDS,
    SLOW_SECONDS,
    THERE_SECONDS,
    Failure,
    Failures,
    Schedule,
)
from innkeeper.hypervisor.simulated.host import SimulatedHost, simulated_host
from innkeeper.hypervisor.simulated.machines import SimulatedMachine, file_disk
from innkeeper.tasks.clock import FakeClock
from innkeeper.wire.events import Event, EventKind

_CALLS: tuple[Callable[[SimulatedHost], Awaitable[object]], ...] = (
    lambda host: host.inventory.list(),
    lambda host: host.inventory.get("web-1"),
    lambda host: host.lifecycle.start("web-1"),
    lambda host: host.configurations.read_all(),
    lambda host: host.information.facts(),
    lambda host: host.usage.read(),
    lambda host: host.disks.free_bytes("/"),
)


class Inn:
    """A simulated host with one machine, and what goes wrong with it."""

    def __init__(self, directory: Path) -> None:
        self.clock = FakeClock()
        self.events: list[Event] = []
        self.failures = Failures(clock=self.clock, file=directory / "failures")
        self.host = simulated_host(
            directory / "attic",
            clock=self.clock,
            publish=self.events.append,
            name="attic",
            threads=False,
            failures=self.failures,
        )
        self.agents = FakeAgents(self.host.simulation, clock=self.clock)

    async def during(self, call: Awaitable[object]) -> float:
        """How many simulated seconds a call takes."""
        began = self.clock.monotonic()
        calling = asyncio.ensure_future(call)
        await asyncio.sleep(0)
        while not calling.done():
            await self.clock.advance(self.clock.next_waking or 0.0)
        took = self.clock.monotonic() - began
        await calling
        return took


@pytest.fixture
async def inn(tmp_path: Path) -> AsyncIterator[Inn]:
    """The host, with a machine that is off."""
    inn = Inn(tmp_path)
    await inn.host.connection.open()
    disk = file_disk("vda", str(tmp_path / "vda.img"))
    await inn.host.simulation.add(SimulatedMachine(name="web-1", uuid="web-1", disks=[disk]))
    yield inn
    await inn.failures.close()


async def test_nobody_answers_for_a_host_that_is_away(inn: Inn) -> None:
    """Every call ends at once, as without a connection; afterwards the host is as it was."""
    inn.failures.put("attic", Failure.AWAY)
    for call in _CALLS:
        with pytest.raises(HypervisorError) as caught:
            await call(inn.host)
        assert caught.value.code is ErrorCode.ERROR_ONLY_IF_CONNECTED
    inn.failures.put("attic", None)
    assert [machine.name for machine in await inn.host.inventory.list()] == ["web-1"]
    assert [event.kind for event in inn.events] == [EventKind.HOST_LOST, EventKind.HOST_CONNECTED]


async def test_a_hung_host_answers_nothing_until_it_is_given_up(inn: Inn) -> None:
    """A call waits out its time, or goes through as soon as the host is itself again."""
    inn.failures.put("attic", Failure.HUNG)
    with pytest.raises(HypervisorError) as caught:
        await inn.during(inn.host.inventory.list())
    assert caught.value.code is ErrorCode.ERROR_ONLY_IF_CONNECTED
    assert inn.clock.monotonic() == pytest.approx(ANSWER_SECONDS, abs=1)
    waiting = asyncio.ensure_future(inn.host.inventory.list())
    await inn.clock.advance(ANSWER_SECONDS / 2)
    assert not waiting.done()
    inn.failures.put("attic", None)
    await inn.clock.advance(ANSWER_SECONDS / 4)
    assert waiting.done()
    assert len(await waiting) == 1


async def test_a_slow_host_takes_its_time(inn: Inn) -> None:
    """Each call answers, later."""
    assert await inn.during(inn.host.inventory.list()) == 0
    inn.failures.put("attic", Failure.SLOW)
    assert await inn.during(inn.host.inventory.list()) == pytest.approx(SLOW_SECONDS, abs=0.01)


async def test_a_full_host_has_no_room_for_an_undo_disk(inn: Inn, tmp_path: Path) -> None:
    """Everything else goes on."""
    overlays = {"vda": str(tmp_path / "vda.undo")}
    inn.failures.put("attic", Failure.FULL)
    assert await inn.host.disks.free_bytes(str(tmp_path)) == 0
    with pytest.raises(DiskError) as caught:
        await inn.host.undo_disks.add("web-1", overlays)
    assert caught.value.code is ErrorCode.ERROR_DISK_FULL
    assert (await inn.host.inventory.get("web-1")).disks[0].path == str(tmp_path / "vda.img")
    inn.failures.put("attic", None)
    await inn.host.undo_disks.add("web-1", overlays)


async def test_a_flapping_host_comes_and_goes(inn: Inn) -> None:
    """It is there and away, over and over."""
    inn.failures.put("attic", Failure.FLAPPING)
    seen = []
    for _ in range(4):
        seen.append(inn.failures.of("attic"))
        await inn.clock.advance(THERE_SECONDS if seen[-1] is None else GONE_SECONDS)
    assert seen in ([None, Failure.AWAY] * 2, [Failure.AWAY, None] * 2)


async def test_a_session_goes_with_its_host(inn: Inn) -> None:
    """The agent's port is reached by the host: a session is lost, and another begins when it is back."""
    await inn.during(inn.host.lifecycle.start("web-1"))
    await inn.clock.advance(60)
    key = (await inn.host.inventory.get("web-1")).key
    session = await inn.agents.connected(key, timeout=60)
    inn.failures.put("attic", Failure.AWAY)
    assert not inn.agents.is_connected(key)
    with pytest.raises(AgentError):
        await session.ping()
    with pytest.raises(AgentError):
        await inn.during(inn.agents.connected(key, timeout=60))
    inn.failures.put("attic", None)
    await (await inn.agents.connected(key, timeout=60)).ping()


async def test_a_file_says_what_fails(inn: Inn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand, while the service runs: a line a host, the last one counts, and nonsense is left out."""
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.01)
    file = tmp_path / "failures"
    await inn.failures.open()
    for text, expected in (
        ("attic away\ncellar hung\n", Failure.AWAY),
        ("attic away\nattic none\n", None),
        ("attic away\n attic\tnone \n", None),
        ("attic ablaze\nattic hung\n", Failure.HUNG),
    ):
        file.write_text(text)
        async with asyncio.timeout(60):
            while inn.failures.of("attic") is not expected:
                await asyncio.sleep(0.01)


@given(st.integers(0, 1000), st.floats(0, 1e7))
def test_a_seed_gives_everybody_the_same_failures(seed: int, now: float) -> None:
    """Servers that share hosts see them fail together."""
    schedule, other = Schedule(seed=seed, a_day=20), Schedule(seed=seed, a_day=20)
    assert schedule.at("attic", now) is other.at("attic", now)


def test_hosts_fail_as_often_as_was_asked() -> None:
    """Each by itself, in all of the ways there are, and some of the time none at all."""
    schedule = Schedule(seed=1, a_day=6)
    moments = range(0, 10 * 86_400, 300)
    seen = {host: [schedule.at(host, float(now)) for now in moments] for host in ("attic", "cellar")}
    assert seen["attic"] != seen["cellar"]
    for failures in seen.values():
        assert {*failures} == {None, *Failure}
        assert 0.02 < 1 - failures.count(None) / len(failures) < 0.3
