"""Whole nights through qemu-guest-agent alone: a guest without an agent of ours, Python and systemd."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from innkeeper.errors import AgentError
from innkeeper.machines.guest.bundle import agent_bundle
from innkeeper.machines.ports.host import Host
from innkeeper.server.compose import open_house
from innkeeper.server.compose_base import Overrides
from innkeeper.server.house import House
from innkeeper.server.settings import Settings
from innkeeper.updates.booking import Report, Verdict
from innkeeper.updates.policy import Policy
from innkeeper.updates.window import ALL_MACHINES, Window
from innkeeper.wire.states import GuestWay, UpdateStatus
from tests.guests import apt_guest
from tests.guests.machines import TinyMachine

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.timeout(600),
    pytest.mark.skipif(shutil.which("apt-ftparchive") is None, reason="apt is a Debian's: apt-ftparchive"),
]

#: Built outside of any event loop, for it reads files.
AGENT = agent_bundle()
_NAME = "bare"
_POLICY = Policy(
    soak_seconds=1, poll_seconds=0.5, health_seconds=1, agent_seconds=150, shut_down_seconds=30,
    retry_seconds=1, look_seconds=1, default_run_seconds=60, rollback_reserve_seconds=30,
)  # fmt: skip
_TRUST = f"echo '{apt_guest.TRUSTED}' >/etc/apt/sources.list"
#: A check of the administrator's that the new version does not pass.
_CHECK = (
    "mkdir -p /etc/innkeeper/health/required.d; cd /etc/innkeeper/health/required.d; "
    "printf '#!/bin/sh\\n! grep -q 2.0 /usr/share/hello\\n' >shop; chmod 755 shop"
)
#: Makes an update take a while, in its very middle.
_SLOW = "echo 'DPkg::Pre-Invoke {\"sleep 15\";};' >/etc/apt/apt.conf.d/99slow"


class Bare:
    """A running machine with no port for the task agent, and the services that look after it."""

    def __init__(self, host: Host, state: Path) -> None:
        self._host = host
        self._state = state

    @contextlib.asynccontextmanager
    async def service(self) -> AsyncIterator[House]:
        """A service, as any other before and after it."""
        settings = Settings(state_dir=self._state, socket=self._state.with_name("s.sock"), policy=_POLICY)
        async with open_house(settings, Overrides(hypervisors=[self._host])) as house:
            yield house

    async def call(self, script: str) -> None:
        """Run a script in the guest, as its administrator may."""
        done = await self._host.guest_agents.run(_NAME, ("/bin/sh", "-c", script), timeout=60)
        assert done.exit_code == 0, done.stderr

    async def book(self, house: House) -> None:
        """Book an update for tonight, which is now."""
        key = (await house.machines.get(_NAME)).key
        agent = await house.agents.connected(key, timeout=150)
        assert house.agents.way(key) is GuestWay.QEMU_GUEST_AGENT
        assert agent.hello.plugin_name == "Innkeeper apt updates, by qemu-guest-agent"
        window = Window(
            name="always", zone="UTC", start=dt.time(0), duration=dt.timedelta(days=2),
            machines=(ALL_MACHINES,), dates=frozenset({dt.datetime.now(dt.UTC).date()}),
        )  # fmt: skip
        await house.windows.add(window)
        await house.bookings.book(
            _NAME, label="night", identifier="u", context=b'{"reboot": "never"}', booked_by="test"
        )


async def applying(house: House) -> None:
    """Return when the guest says that it applies the update."""
    async with asyncio.timeout(240):
        while (await house.bookings.get(_NAME, "u")).status is not UpdateStatus.APPLYING:
            await asyncio.sleep(0.2)


async def report_of(house: House) -> Report:
    """The report of the night."""
    async with asyncio.timeout(300):
        while not (reports := await house.reports.list(machine=_NAME)):
            await asyncio.sleep(0.2)
    return reports[0]


@pytest.fixture
async def bare(
    embedded_hypervisor: Host,
    guest_cache: Path,
    define_machine: Callable[..., Awaitable[TinyMachine]],
    tmp_path: Path,
) -> Bare:
    """The machine, whose guest has a trusted repository with one update."""
    guest = await asyncio.to_thread(apt_guest.build, guest_cache, AGENT)
    await define_machine(_NAME, guest=guest, disk_format="raw", agent_port=False)
    definition = await embedded_hypervisor.definitions.read(_NAME)
    memory = f"<memory unit='MiB'>{apt_guest.MEMORY_MIB}</memory>"
    definition = re.sub(r"<memory .*</currentMemory>", memory, definition, flags=re.DOTALL)
    await embedded_hypervisor.definitions.define(definition)
    await embedded_hypervisor.lifecycle.start(_NAME)
    bare = Bare(embedded_hypervisor, tmp_path / "state")
    async with asyncio.timeout(150):
        while True:
            try:
                await bare.call(_TRUST)
                break
            except AgentError:
                await asyncio.sleep(0.5)
    return bare


async def test_a_good_update_is_kept(bare: Bare) -> None:
    """It was prepared first, and its packages and output are told as ever."""
    async with bare.service() as house:
        await bare.book(house)
        report = await report_of(house)
    assert report.verdict is Verdict.KEPT, report.reasons
    assert [(p.name, p.old_version, p.new_version) for p in report.packages] == [("hello", "1.0", "2.0")]
    assert "prepare" in [name for name, _ in report.phase_seconds]
    assert report.reboots == 0


async def test_a_bad_update_is_rolled_back(bare: Bare) -> None:
    """The guest's own check fails after it, as it did not before."""
    await bare.call(_CHECK)
    async with bare.service() as house:
        await bare.book(house)
        report = await report_of(house)
    assert report.verdict is Verdict.ROLLED_BACK, report.reasons
    assert "shop" in report.reasons[0]


@pytest.mark.parametrize("restarted", ["qemu-guest-agent", "the service"])
async def test_an_update_goes_on_whoever_is_restarted_in_its_middle(bare: Bare, restarted: str) -> None:
    """It runs apart from the agent that started it, and the next service follows it."""
    await bare.call(_SLOW)
    async with bare.service() as house:
        await bare.book(house)
        await applying(house)
        if restarted == "qemu-guest-agent":
            with contextlib.suppress(AgentError):
                await bare.call("kill $(pidof qemu-ga)")
            report = await report_of(house)
    if restarted == "the service":
        async with bare.service() as house:
            report = await report_of(house)
    assert report.verdict is Verdict.KEPT, report.reasons
    assert [package.new_version for package in report.packages] == ["2.0"]
