"""Channels into a real guest on libvirt: curl, many connections, a new agent, save and restore, and off."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from innkeeper.channels.agents import Agents
from innkeeper.channels.channel import ChannelState, MachineStanding, MemoryChannelStore, Standing
from innkeeper.channels.ports import ScheduleDeleted, ScheduleRequested
from innkeeper.channels.service import Channels, Needs
from innkeeper.machines.machine import MachineState
from innkeeper.machines.ports.host import Host
from innkeeper.tasks.clock import SystemClock
from innkeeper.wire.events import Event, EventKind
from tests.guests.machines import TinyMachine

pytestmark = [pytest.mark.qemu, pytest.mark.slow]

_NAME = "channelled"
_SERVE = ("/bin/busybox", "httpd", "-p", "127.0.0.1:8080", "-h", "/etc")
#: The guest's init starts it again.
_KILL_AGENT = (
    "/bin/sh", "-c",
    "for p in /proc/[0-9]*; do ! grep -q 'innkeeper-agent[.]pyz' $p/cmdline || kill -KILL ${p#/proc/}; done",
)  # fmt: skip
_STANDINGS = {MachineState.RUNNING: Standing.RUNNING, MachineState.TURNED_OFF: Standing.OFF}


class Inn:
    """Agents and channels over a real host."""

    def __init__(self, hypervisor: Host, directory: Path) -> None:
        self._hypervisor = hypervisor
        self.events: list[Event] = []
        self.agents = Agents(
            open_port=hypervisor.agent_ports.open,
            running=self._running,
            on_booking=self._book,
            clock=SystemClock(),
            publish=self.events.append,
        )
        self.channels = Channels(
            Needs(
                agents=self.agents,
                look_at=self._look_at,
                store=MemoryChannelStore(),
                clock=SystemClock(),
                publish=self.events.append,
                directory=directory,
                server="here",
            )
        )

    def on_event(self, kind: EventKind) -> None:
        """Tell both what has happened to the machine."""
        event = Event(kind=kind, subject=_NAME, at=SystemClock().now())
        self.agents.on_event(event)
        self.channels.on_event(event)

    async def _running(self) -> list[str]:
        machines = await self._hypervisor.inventory.list()
        return [machine.name for machine in machines if machine.state is MachineState.RUNNING]

    async def _book(self, machine: str, booking: ScheduleRequested | ScheduleDeleted) -> str:
        return ""

    async def _look_at(self, machine: str) -> MachineStanding:
        state = (await self._hypervisor.inventory.get(machine)).state
        return MachineStanding(
            machine=machine, key=machine, standing=_STANDINGS.get(state, Standing.RESTING), state=state
        )


@pytest.fixture
async def inn(
    embedded_hypervisor: Host, define_machine: Callable[..., Awaitable[TinyMachine]]
) -> AsyncIterator[Inn]:
    """A running guest with a web server on its loopback."""
    directory = Path(tempfile.mkdtemp(prefix="ch-", dir="/tmp"))
    inn = Inn(embedded_hypervisor, directory)
    await define_machine(_NAME)
    await embedded_hypervisor.lifecycle.start(_NAME)
    await inn.agents.open()
    await inn.channels.open()
    try:
        await inn.agents.connected(_NAME, timeout=180)
        assert (await embedded_hypervisor.guest_agents.run(_NAME, _SERVE, timeout=30)).exit_code == 0
        yield inn
    finally:
        await inn.channels.close()
        await inn.agents.close()
        shutil.rmtree(directory, ignore_errors=True)


async def curl(socket: Path) -> bytes:
    """Fetch a file of the guest through the channel."""
    process = await asyncio.create_subprocess_exec(
        "curl", "-sS", "--max-time", "60", "--unix-socket", str(socket), "http://guest/os-release",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    page, _ = await process.communicate()
    return page


@contextlib.asynccontextmanager
async def cut_in_the_middle(socket: Path) -> AsyncIterator[None]:
    """A connection with half a request on it, which is over after what is done meanwhile."""
    reader, writer = await asyncio.open_unix_connection(str(socket))
    writer.write(b"GET /os-release")
    yield
    # Cut while its bytes lie unread, it is reset.
    with contextlib.suppress(ConnectionResetError):
        assert await asyncio.wait_for(reader.read(-1), 60) == b""
    writer.close()


async def test_channel_lives_as_long_as_its_machines_run(inn: Inn, embedded_hypervisor: Host) -> None:
    """curl reads the guest's file; a new agent, save and restore cut what is open only; off is its end."""
    state = await _open(inn)
    page = await curl(state.socket)
    assert b"NAME=" in page
    assert await asyncio.gather(*(curl(state.socket) for _ in range(10))) == [page] * 10
    async with cut_in_the_middle(state.socket):
        killed = await embedded_hypervisor.guest_agents.run(_NAME, _KILL_AGENT, timeout=30)
        assert killed.exit_code == 0, killed
    await inn.agents.connected(_NAME, timeout=180)
    assert await curl(state.socket) == page
    async with cut_in_the_middle(state.socket):
        await embedded_hypervisor.saved_states.save(_NAME)
        inn.on_event(EventKind.MACHINE_SAVED)
    await embedded_hypervisor.lifecycle.start(_NAME)
    inn.on_event(EventKind.MACHINE_STARTED)
    await inn.agents.connected(_NAME, timeout=180)
    assert await curl(state.socket) == page
    traffic = inn.channels.list()[0].traffic
    # Cut before the guest has joined it, one counts as refused.
    assert (traffic.cut + traffic.refused, traffic.connections + traffic.refused) == (2, 15)
    await embedded_hypervisor.lifecycle.turn_off(_NAME)
    inn.on_event(EventKind.MACHINE_STOPPED)
    async with asyncio.timeout(30):
        while state.socket.exists():
            await asyncio.sleep(0.05)
    assert inn.channels.list() == []


async def _open(inn: Inn) -> ChannelState:
    return await inn.channels.start(
        _NAME,
        host_endpoint_type=0,
        pipe_name=r"\\.\pipe\web",
        guest_endpoint_type=1,
        guest_port="8080",
        owner="innkeeper",
    )
