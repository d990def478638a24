"""The agent in a real virtual machine: the virtio port, a real reboot, a machine stopped and gone on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from innkeeper.channels.agents import Agents
from innkeeper.channels.ports import ScheduleDeleted, ScheduleRequested, UpdateStatus
from innkeeper.errors import AgentError
from innkeeper.machines.guest.bundle import agent_bundle
from innkeeper.tasks.clock import SystemClock
from innkeeper.wire.byte_pipe import BytePipe
from innkeeper.wire.events import Event
from tests.agent.rig import SocketPipe, ended
from tests.guests import tiny

#: Built outside of any event loop, for it reads files.
AGENT = agent_bundle()

pytestmark = [pytest.mark.qemu, pytest.mark.slow]


class Machine:
    """A machine on QEMU itself: its port is a socket, and its monitor too."""

    def __init__(self, directory: Path, guest: tiny.TinyGuest) -> None:
        self._directory = directory
        self._guest = guest
        self.events: list[Event] = []
        self.agents = Agents(
            open_port=self._open_port,
            running=self._running,
            on_booking=self._book,
            clock=SystemClock(),
            publish=self.events.append,
        )

    async def boot(self) -> asyncio.subprocess.Process:
        """Start QEMU."""
        disk = self._directory / "disk"
        await asyncio.to_thread(tiny.data_disk, disk)
        return await asyncio.create_subprocess_exec(
            "qemu-system-x86_64", "-machine", "q35", *self._guest.qemu_arguments(), "-m", "160",
            "-nodefaults", "-display", "none", "-kernel", str(self._guest.kernel),
            "-initrd", str(self._guest.initrd), "-append", "console=ttyS0 quiet panic=-1",
            "-serial", f"file:{self._directory / 'console'}",
            "-drive", f"file={disk},if=virtio,format=raw", "-device", "virtio-serial",
            "-chardev", f"socket,id=agent,path={self._directory / 'agent'},server=on,wait=off",
            "-device", "virtserialport,chardev=agent,name=org.innkeeper.agent.0",
            "-qmp", f"unix:{self._directory / 'qmp'},server=on,wait=off",
        )  # fmt: skip

    async def command(self, name: str) -> None:
        """Give QEMU's monitor a command."""
        reader, writer = await asyncio.open_unix_connection(str(self._directory / "qmp"))
        for execute in ("qmp_capabilities", name):
            writer.write(json.dumps({"execute": execute}).encode())
            while b'"return"' not in await reader.readline():
                pass
        writer.close()

    async def _open_port(self, machine: str) -> BytePipe:
        try:
            return SocketPipe(*await asyncio.open_unix_connection(str(self._directory / "agent")))
        except OSError as exc:
            raise AgentError(f"There is no port: {exc}", machine=machine) from exc

    async def _running(self) -> list[str]:
        return ["tiny"]

    async def _book(self, machine: str, booking: ScheduleRequested | ScheduleDeleted) -> str:
        return ""


@pytest.fixture
async def machine(guest_cache: Path) -> AsyncIterator[Machine]:
    """A running machine with the agent in it."""
    guest = await asyncio.to_thread(tiny.build, guest_cache, AGENT)
    with tempfile.TemporaryDirectory(prefix="vm") as directory:
        machine = Machine(Path(directory), guest)
        qemu = await machine.boot()
        await machine.agents.open()
        try:
            yield machine
        finally:
            await machine.agents.close()
            with contextlib.suppress(ProcessLookupError):
                qemu.kill()
            await qemu.wait()


async def test_update_with_a_reboot_in_a_real_guest(machine: Machine) -> None:
    """Over a real virtio port: an update, its reboot, its success; and the machine stopped in between."""
    agent = await machine.agents.connected("tiny", timeout=120)
    first_boot = agent.hello.boot_id
    await machine.command("stop")
    await machine.command("cont")
    health = await agent.health()
    assert health.boot_id == first_boot
    assert "/" in health.mounts
    assert health.package_database_ok
    await agent.start_task("", "u1", b"fill reboot")
    agent = await machine.agents.connected("tiny", timeout=120, other_boot_than=first_boot)
    task = await ended(agent, "u1", 60)
    assert (task.status, "has rebooted" in task.text) == (UpdateStatus.SUCCESS, True)
    await agent.start_task("", "u2", b"break fail")
    assert (await ended(agent, "u2", 60)).status is UpdateStatus.FAILED
    assert (await agent.health()).failed_checks == {"10-not-broken": "the update has broken this guest"}


async def test_a_real_guest_says_what_it_is_and_keeps_what_it_is_given(machine: Machine) -> None:
    """Its system, its users, its heart, its parameters; and its clock is set by root's agent."""
    agent = await machine.agents.connected("tiny", timeout=120)
    facts = await agent.facts()
    assert facts.kernel_release[0].isdigit()
    assert (facts.architecture, facts.os_name == "") == ("x86_64", False)
    assert list(await agent.sessions()) == []
    assert await agent.log_off() == 0
    await agent.set_parameter("colour", "green", revision=1)
    assert (await agent.parameters())["colour"].value == "green"
    await agent.set_time(1_800_000_000.0)
    assert machine.agents.heartbeat("tiny") == 100
    await machine.command("stop")
    async with asyncio.timeout(100):
        while machine.agents.heartbeat("tiny") == 100:
            await asyncio.sleep(0.2)
    await machine.command("cont")
    await agent.ping()
