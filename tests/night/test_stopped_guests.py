"""Five QEMUs of one libvirt daemon are stopped: its other machines are looked at, and updated, as before."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from innkeeper.machines.machine import MachineState
from innkeeper.server.compose import open_house
from innkeeper.server.house import House
from innkeeper.server.settings import Settings
from innkeeper.updates.booking import Verdict
from innkeeper.updates.policy import Policy
from innkeeper.updates.window import ALL_MACHINES, Window
from innkeeper.wire.commands import Command
from tests.guests.machines import define_tiny_machine
from tests.guests.tiny import TinyGuest
from tests.hypervisor.daemons import KINDS, Daemon, a_home, until_it_answers

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.timeout(600),
    pytest.mark.skipif(shutil.which("libvirtd") is None, reason="libvirtd is not installed"),
    pytest.mark.skipif(os.geteuid() == 0, reason="root's libvirtd is the system's"),
]
_POLICY = Policy(
    soak_seconds=1, poll_seconds=0.3, health_seconds=1, agent_seconds=90, shut_down_seconds=20,
    retry_seconds=1, look_seconds=1, default_run_seconds=60, rollback_reserve_seconds=30,
)  # fmt: skip
_STOPPED = tuple(f"idle-{number}" for number in range(1, 6))
_QUESTIONS = 20
#: Documented: so much longer at most than before. One of all may be unlucky with the computer's other work.
_LONGER_S = 1.0
_UNLUCKY = 1
_NIGHT_S = 240.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inn:
    """A service with one host behind a daemon, ``web`` with its agent there, and five that only idle."""

    house: House
    home: Path

    async def ask(self) -> list[float]:
        """How long the list of machines took, and looks at ``web``, each time; the daemon was asked anew."""
        host, took = self.house.machines.hosts["near"], []
        for _ in range(_QUESTIONS):
            for question in (
                self.house.machines.list(),
                self.house.machines.get("web"),
                self.house.machines.describe("web", running=True),
                host.information.facts(),
            ):
                began = time.monotonic()
                await question
                took.append(time.monotonic() - began)
        return took

    def processes(self) -> Iterator[int]:
        """The QEMUs of the machines that idle."""
        names = {f"guest={name},".encode() for name in _STOPPED}
        for process in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                command = (process / "cmdline").read_bytes() if process.name.isdecimal() else b""
                if str(self.home).encode() in command and any(name in command for name in names):
                    yield int(process.name)


@pytest.fixture(params=KINDS)
async def inn(tiny_guest: TinyGuest, request: pytest.FixtureRequest) -> AsyncIterator[Inn]:
    """All six run, and the agent of ``web`` is connected."""
    with a_home() as home, a_home() as state:
        daemon: Daemon = request.param(home)
        await asyncio.to_thread(daemon.start)
        await until_it_answers(daemon.uri)
        settings = Settings(
            state_dir=state, socket=state / "s", policy=_POLICY, hypervisors=(f"near={daemon.uri}",)
        )
        try:
            async with open_house(settings) as house:
                host = house.machines.hosts["near"]
                for name in ("web", *_STOPPED):
                    is_idle = name != "web"
                    await define_tiny_machine(
                        host, tiny_guest, home, name, disk_format="raw", agent_port=not is_idle,
                        guest_agent_port=not is_idle,
                    )  # fmt: skip
                    await host.lifecycle.start(name)
                await house.agents.connected((await house.machines.get("web")).key, timeout=240)
                yield Inn(house=house, home=home)
        finally:
            daemon.kill()
            for process in _qemus(home):
                os.kill(process, signal.SIGKILL)


def _qemus(home: Path) -> Iterator[int]:
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            command = (process / "cmdline").read_bytes() if process.name.isdecimal() else b""
            if b"qemu-system" in command and str(home).encode() in command:
                yield int(process.name)


@contextlib.contextmanager
def stopped(inn: Inn) -> Iterator[None]:
    """Stop the five, and let them go on afterwards."""
    processes = [*inn.processes()]
    assert len(processes) == len(_STOPPED)
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)


async def test_five_stopped_guests_hold_up_nobody_else(inn: Inn) -> None:
    """Questions take at most a second longer, though each of the five holds up what is asked of it itself.

    And a night goes on: the update of the sixth is kept while they stand still, with commands to all five
    that hang behind them.
    """
    house = inn.house
    before = max(await inn.ask())
    with stopped(inn):
        hanging = [
            asyncio.create_task(house.machines.command(f"near/{name}", Command.PAUSE, owner="test"))
            for name in _STOPPED
        ]
        await asyncio.gather(*hanging)
        late = [took for took in await inn.ask() if took > before + _LONGER_S]
        assert len(late) <= _UNLUCKY, (before, late)
        listed = {machine.name: machine.state for machine in await house.machines.list()}
        assert listed == dict.fromkeys(("web", *_STOPPED), MachineState.RUNNING)
        # A command holds it: that its disks cannot be read does not mean that nothing was written.
        assert await house.machines.hosts["near"].usage.written_bytes(_STOPPED[0]) is None
        await _night(house)
        late = [took for took in await inn.ask() if took > before + _LONGER_S]
        assert len(late) <= _UNLUCKY, (before, late)


async def _night(house: House) -> None:
    """Update ``web``, and see that it is kept."""
    await house.bookings.book("web", label="night", identifier="n", context=b"fill slow", booked_by="test")
    await house.windows.add(
        Window(
            name="always", zone="UTC", start=dt.time(0), duration=dt.timedelta(days=2),
            machines=(ALL_MACHINES,), dates=frozenset({dt.datetime.now(dt.UTC).date()}),
        )
    )  # fmt: skip
    house.trigger.wake()
    deadline = time.monotonic() + _NIGHT_S
    while (booking := await house.bookings.get("web", "n")).verdict is None:
        assert time.monotonic() < deadline, booking
        await asyncio.sleep(0.2)
    report = await house.reports.of_booking("web", "n")
    assert (report.verdict, report.reasons) == (Verdict.KEPT, ()), report
