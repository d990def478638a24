"""Programs in guests answer: qemu-guest-agent and the task agent, in real guests and simulated ones."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from innkeeper.errors import AgentError, InnkeeperError
from innkeeper.hypervisor.simulated.host import simulated_host
from innkeeper.hypervisor.simulated.machines import SimulatedMachine, file_disk
from innkeeper.machines.ports.guest_program import GuestProgram
from innkeeper.machines.ports.host import Host
from innkeeper.tasks.clock import FakeClock
from innkeeper.wire.guest_facts import Ability
from tests.guests.machines import TinyMachine

_BOOT_SECONDS = 120


async def _answering(program: GuestProgram) -> GuestProgram:
    """Wait until the guest has booted."""
    async with asyncio.timeout(_BOOT_SECONDS):
        while True:
            try:
                await program.ping()
            except InnkeeperError:
                await asyncio.sleep(0.3)
            else:
                return program


class GuestProgramContract:
    """Whatever answers in a guest answers in the same way."""

    can_set_clock = True

    async def test_a_guest_answers_for_itself(self, host: Host, name: str) -> None:
        """What it is, who is on, what it keeps; one test, for a boot takes its time."""
        program = host.guest_agents.program(name)
        with pytest.raises(InnkeeperError):
            await program.ping()
        await host.lifecycle.start(name)
        await _answering(program)
        assert all(program.knows(ability) for ability in Ability)
        assert (await program.version()).startswith("qemu-guest-agent")
        facts = await program.facts()
        assert facts.computer_name
        assert facts.kernel_release[0].isdigit()
        assert facts.architecture == "x86_64"
        assert list(await program.sessions()) == []
        assert await program.log_off() == 0
        assert await program.boot_id()
        assert await program.parameters() == {}
        await program.set_parameter("colour", "grün\nblau", revision=1)
        await program.set_parameter("other", "x", revision=1)
        await program.set_parameter("other", None, revision=2)
        (kept,) = (await program.parameters()).items()
        assert (kept[0], kept[1].value, kept[1].revision, kept[1].by_guest) == (
            "colour",
            "grün\nblau",
            1,
            False,
        )
        if self.can_set_clock:
            await program.set_time(1_800_000_000.0)
        else:
            with pytest.raises(AgentError, match="guest-set-time"):
                await program.set_time(1_800_000_000.0)
        usage = next(each for each in await host.usage.read() if each.machine == name)
        assert usage.cpu_seconds > 0
        assert usage.memory_bytes > 0
        assert usage.started_at is not None
        await host.lifecycle.turn_off(name)
        assert [each for each in await host.usage.read() if each.machine == name] == []
        with pytest.raises(AgentError):
            await program.ping()


class TestSimulated(GuestProgramContract):
    """Simulated."""

    @pytest.fixture
    def name(self) -> str:
        """The machine."""
        return "subject"

    @pytest.fixture
    async def host(self, tmp_path: Path) -> Host:
        """A simulated host."""
        host = simulated_host(tmp_path, clock=FakeClock(speed=1000), publish=lambda _event: None)
        await host.connection.open()
        await host.simulation.add(
            SimulatedMachine(
                name="subject", uuid="subject", disks=[file_disk("vda", str(tmp_path / "a.img"))]
            )
        )
        return host


@pytest.mark.qemu
class TestQemuGuestAgent(GuestProgramContract):
    """The real qemu-guest-agent in a real guest, which has no ``hwclock`` for it."""

    can_set_clock = False

    @pytest.fixture
    async def name(self, define_machine: Callable[..., Awaitable[TinyMachine]]) -> str:
        """The machine, without a task agent's port."""
        await define_machine("asked", agent_port=False)
        return "asked"

    @pytest.fixture
    def host(self, embedded_hypervisor: Host) -> Host:
        """Embedded."""
        return embedded_hypervisor
