"""A service over one libvirt daemon of this user's own, with machines that boot the tiny guest."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt
import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from innkeeper.errors import InnkeeperError
from innkeeper.machines.machine import Machine
from innkeeper.machines.ports.host import Host
from innkeeper.server.compose import open_house
from innkeeper.server.house import House
from innkeeper.server.settings import Settings
from innkeeper.updates.booking import Report
from innkeeper.updates.policy import Policy
from innkeeper.updates.window import ALL_MACHINES, Window
from tests.guests import tiny
from tests.guests.machines import AGENT_PORT, GUEST_AGENT_PORT, TinyMachine, tiny_definition
from tests.guests.tiny import TinyGuest
from tests.hypervisor.daemons import Daemon, a_home

#: What a module needs that uses it.
NEEDS_LIBVIRTD = [
    pytest.mark.qemu,
    pytest.mark.timeout(600),
    pytest.mark.skipif(shutil.which("libvirtd") is None, reason="libvirtd is not installed"),
    pytest.mark.skipif(os.geteuid() == 0, reason="root's libvirtd is the system's"),
]
#: Nobody waits long in it, and what must not fail is tried twice in a moment.
POLICY = Policy(
    soak_seconds=1, poll_seconds=0.3, health_seconds=1, agent_seconds=90, shut_down_seconds=20, retries=2,
    retry_seconds=0.2, look_seconds=1, default_run_seconds=60, rollback_reserve_seconds=30,
)  # fmt: skip
_WAIT_S = 240.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class NearInn:
    """The service, and the daemon."""

    house: House
    daemon: Daemon

    @property
    def host(self) -> Host:
        """The host, as the service has it."""
        return self.house.machines.hosts["near"]

    async def machine(self, name: str = "web") -> Machine:
        """The machine now."""
        return await self.house.machines.get(name)

    async def add(self, guest: TinyGuest, name: str = "web") -> TinyMachine:
        """Define a machine, start it, and wait for its agent."""
        made = TinyMachine(
            name=name, disk=self.daemon.home / f"{name}.qcow2", console=self.daemon.home / f"{name}.console"
        )
        await asyncio.to_thread(tiny.data_disk, made.disk, format="qcow2")
        definition = tiny_definition(made, guest, "qcow2", AGENT_PORT + GUEST_AGENT_PORT)
        async with asyncio.timeout(_WAIT_S):
            while True:
                try:
                    await self.host.definitions.define(definition)
                    break
                except InnkeeperError:  # it is not connected yet
                    await asyncio.sleep(0.2)
        await self.host.lifecycle.start(name)
        await self.house.agents.connected((await self.machine(name)).key, timeout=_WAIT_S)
        return made

    async def book(self, context: bytes, name: str = "web") -> None:
        """Book an update for now, and let it begin."""
        today = dt.datetime.now(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        await self.open_window("always", today, dt.timedelta(days=2))
        await self.book_only(context, name)

    async def open_window(self, name: str, start: dt.datetime, duration: dt.timedelta) -> None:
        """Add a window for every machine that opens once."""
        await self.house.windows.add(
            Window(
                name=name, zone="UTC", start=start.time(), duration=duration,
                machines=(ALL_MACHINES,), dates=frozenset({start.date()}),
            )
        )  # fmt: skip

    async def book_only(self, context: bytes, name: str = "web") -> None:
        """Book an update for the windows that there are."""
        await self.house.bookings.book(name, label="night", identifier="n", context=context, booked_by="test")
        self.house.trigger.wake()

    async def log(self, name: str = "web") -> str:
        """All that the run has said."""
        booking = await self.house.bookings.get(name, "n")
        if not booking.task_id:
            return booking.reason
        lines = [line.text for line in await self.house.tasks.log(booking.task_id)]
        phase = (await self.house.tasks.get(booking.task_id)).progress.phase
        return "\n".join([*lines, f"phase: {phase}"])

    async def until_said(self, words: str, name: str = "web") -> None:
        """Wait until the run has said something, or is in a phase of this title."""
        async with asyncio.timeout(_WAIT_S):
            while words not in await self.log(name):
                await asyncio.sleep(0.05)

    async def report(self, name: str = "web") -> Report:
        """The report of the run, once it has ended."""
        async with asyncio.timeout(_WAIT_S):
            while (await self.house.bookings.get(name, "n")).verdict is None:
                await asyncio.sleep(0.1)
        return await self.house.reports.of_booking(name, "n")


@contextlib.asynccontextmanager
async def near_inn(
    prepare: Callable[[Path], None] = lambda _: None, policy: Policy = POLICY
) -> AsyncIterator[NearInn]:
    """A service over one daemon; ``prepare`` is given the daemon's directory before it is started."""
    with a_home() as home, a_home() as state:
        prepare(home)
        daemon = Daemon(home)
        await asyncio.to_thread(daemon.start)
        settings = Settings(
            state_dir=state, socket=state / "s", policy=policy, hypervisors=(f"near={daemon.uri}",)
        )
        try:
            async with open_house(settings) as house:
                yield NearInn(house=house, daemon=daemon)
        finally:
            daemon.kill()
            await asyncio.to_thread(_end_guests, home)


def _end_guests(home: Path) -> None:
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (process / "cmdline").read_bytes()
            if b"qemu-system" in command and str(home).encode() in command:
                os.kill(int(process.name), 9)
