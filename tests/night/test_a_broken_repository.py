"""A whole night on real guests whose repository is broken, then mended: real apt, real libvirt, real QEMU."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import hashlib
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from innkeeper.machines.guest.bundle import agent_bundle
from innkeeper.machines.machine import MachineState
from innkeeper.machines.ports.host import Host
from innkeeper.server.compose import open_house
from innkeeper.server.compose_base import Overrides
from innkeeper.server.house import House
from innkeeper.server.settings import Settings
from innkeeper.updates.booking import Booking, Report, Verdict
from innkeeper.updates.policy import Policy
from innkeeper.updates.window import ALL_MACHINES, Window
from innkeeper.wire.events import Event, EventKind
from tests.guests import apt_guest
from tests.guests.machines import TinyMachine

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.timeout(600),
    pytest.mark.skipif(shutil.which("apt-ftparchive") is None, reason="apt is a Debian's: apt-ftparchive"),
]

#: Built outside of any event loop, for it reads files.
AGENT = agent_bundle()
_POLICY = Policy(
    soak_seconds=1, poll_seconds=0.3, health_seconds=1, agent_seconds=150, shut_down_seconds=30,
    retry_seconds=1, look_seconds=1, default_run_seconds=60, rollback_reserve_seconds=30,
)  # fmt: skip
#: Whatever happens to a machine that is stopped, started or reset.
_DISTURBED = {EventKind.MACHINE_STOPPED, EventKind.MACHINE_REBOOTED, EventKind.MACHINE_STARTED}


@dataclasses.dataclass
class Night:
    """The service of one night, and what it told."""

    house: House
    events: list[Event]

    async def book(self, machine: str) -> Booking:
        """Book an update, in the place of one that waits."""
        return await self.house.bookings.book(
            machine, label="night", identifier="u", context=b'{"reboot": "never"}', booked_by="test"
        )

    async def ended(self, machine: str) -> Report:
        """The report of the booked update's next run."""
        known = len(await self.house.reports.list(machine=machine))
        async with asyncio.timeout(300):
            while len(reports := await self.house.reports.list(machine=machine)) == known:
                await asyncio.sleep(0.2)
            while (await self.house.bookings.get(machine, "u")).task_id and reports[0].verdict in (
                Verdict.NOT_STARTED,
            ):
                await asyncio.sleep(0.05)
        return reports[0]

    async def boot(self, machine: str) -> str:
        """The boot that a machine's guest is in."""
        key = (await self.house.machines.get(machine)).key
        return (await self.house.agents.connected(key, timeout=150)).hello.boot_id


@pytest.fixture
async def night(
    embedded_hypervisor: Host,
    hypervisor_events: list[Event],
    guest_cache: Path,
    define_machine: Callable[..., Awaitable[TinyMachine]],
    tmp_path: Path,
) -> AsyncIterator[Night]:
    """A running machine and one that is off, before anything is booked."""
    guest = await asyncio.to_thread(apt_guest.build, guest_cache, AGENT)
    for name in ("runs", "off"):
        await define_machine(name, guest=guest, disk_format="raw")
        definition = await embedded_hypervisor.definitions.read(name)
        memory = f"<memory unit='MiB'>{apt_guest.MEMORY_MIB}</memory>"
        definition = re.sub(r"<memory .*</currentMemory>", memory, definition, flags=re.DOTALL)
        await embedded_hypervisor.definitions.define(definition)
    await embedded_hypervisor.lifecycle.start("runs")
    settings = Settings(state_dir=tmp_path / "state", socket=tmp_path / "s.sock", policy=_POLICY)
    async with open_house(settings, Overrides(hypervisors=[embedded_hypervisor])) as house:
        night = Night(house, hypervisor_events)
        await night.boot("runs")
        now = dt.datetime.now(dt.UTC)
        window = Window(
            name="always", zone="UTC", start=dt.time(0), duration=dt.timedelta(days=2),
            machines=(ALL_MACHINES,), dates=frozenset({now.date()}),
        )  # fmt: skip
        await house.windows.add(window)
        yield night


async def test_a_broken_repository_stops_no_guest_and_is_tried_again(
    night: Night, embedded_hypervisor: Host, tmp_path: Path
) -> None:
    """Unsigned: neither rebooted nor rolled back, and it says why. Trusted and booked again: kept."""
    boot, content = await night.boot("runs"), await _digest(tmp_path / "off.raw")
    night.events.clear()
    await night.book("runs")
    report = await night.ended("runs")
    assert (report.verdict, report.reboots) == (Verdict.NOT_STARTED, 0)
    assert "The repository 'copy:/srv/repo ./ Release' is not signed" in report.reasons[0]
    assert [name for name, _ in report.phase_seconds] == ["admit", "baseline", "prepare"]
    booking = await night.house.bookings.get("runs", "u")
    assert (booking.is_waiting, "is not signed" in booking.reason) == (True, True)
    (tonight,) = (await night.house.trigger.tonight()).entries
    assert (tonight.fits, "is not signed" in tonight.reason) == (False, True)
    assert await night.boot("runs") == boot

    await night.book("off")
    report = await night.ended("off")
    assert (report.verdict, report.left_state) == (Verdict.NOT_STARTED, "TURNED_OFF")
    assert "is not signed" in report.reasons[0]
    assert (await embedded_hypervisor.inventory.get("off")).state is MachineState.TURNED_OFF
    assert await _digest(tmp_path / "off.raw") == content
    await night.house.bookings.delete("off", "u")

    trust = f"echo '{apt_guest.TRUSTED}' >/etc/apt/sources.list"
    await embedded_hypervisor.guest_agents.run("runs", ("/bin/sh", "-c", trust), timeout=30)
    await night.book("runs")
    report = await night.ended("runs")
    assert (report.verdict, [p.new_version for p in report.packages]) == (
        Verdict.KEPT,
        ["2.0"],
    ), report.reasons

    await night.house.bookings.delete("runs", "u")
    await night.book("runs")
    report = await night.ended("runs")
    assert (report.verdict, report.reasons) == (Verdict.NOTHING_TO_DO, ("Nothing had to be updated.",))
    assert await night.boot("runs") == boot
    assert not {e.subject for e in night.events if e.kind in _DISTURBED} & {"runs"}
    assert list(tmp_path.glob("*.innkeeper-*")) == []


async def _digest(path: Path) -> str:
    return await asyncio.to_thread(lambda: hashlib.sha256(path.read_bytes()).hexdigest())
