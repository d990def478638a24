"""A guest without a virtual machine: the real agent as a process, and the real host link to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from innkeeper.channels.agents import Agents
from innkeeper.channels.link import Pace
from innkeeper.channels.ports import (
    AgentTask,
    GuestAgent,
    Preparation,
    PreparationState,
    ScheduleDeleted,
    ScheduleRequested,
)
from innkeeper.errors import AgentError
from innkeeper.tasks.clock import SystemClock
from innkeeper.wire.byte_pipe import BytePipe
from innkeeper.wire.events import Event

#: What runs the agent: another Python where ``python -m tests.agent.pythons`` says so.
PYTHON = os.environ.get("AGENT_PYTHON", sys.executable)

#: As the product's, in a tenth of the time.
QUICK = Pace(first_greeting=0.2, longest_greeting=1.0, between_greetings=0.05, ping=1.0, pong=10.0)
MACHINE = "web-1"


class SocketPipe:
    """The host's end of a guest's port, as a Unix socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        try:
            return await self._reader.read(65536)
        except ConnectionError:
            return b""

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


class Guest:
    """A root directory with the files of a guest, and its agent's process."""

    def __init__(self, bundle: Path) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="guest"))
        self.port = self.root / "port"
        self._bundle = bundle
        self._process: subprocess.Popen[bytes] | None = None
        self.environment = dict(os.environ)
        self.write("etc/os-release", 'PRETTY_NAME="Testix 1"\n')
        self.reboot(1)

    # Files

    def write(self, path: str, text: str, mode: int = 0o644) -> Path:
        """Put a file into the guest."""
        whole = self.root / path
        whole.parent.mkdir(parents=True, exist_ok=True)
        whole.write_text(text)
        whole.chmod(mode)
        return whole

    def script(self, name: str, text: str) -> None:
        """Add a script to the update of the script plug-in."""
        self.write(f"etc/innkeeper/agent/update.d/{name}", f"#!/bin/sh\n{text}\n", 0o755)

    def use_plugin(self, clsid: str) -> None:
        """Register a plug-in, and enable it."""
        self.write("etc/innkeeper/agent/plugins.d/50-test.conf", f"[plugin]\nCLSID={clsid}\nIsEnabled=1\n")

    def program(self, name: str, text: str) -> None:
        """Put a program before all others on the guest's search path."""
        self.write(f"bin/{name}", f"#!/bin/sh\n{text}\n", 0o755)
        self.environment["PATH"] = f"{self.root}/bin:{os.environ['PATH']}"

    def power_program(self, name: str) -> Path:
        """Put in a program for reboots or power-offs, which only marks that it was called."""
        mark = self.root / f"called-{name}"
        self.write(f"sbin/{name}", f"#!/bin/sh\necho x >> {mark}\n", 0o755)
        return mark

    def reboot(self, number: int) -> None:
        """Give the next start of the agent another boot; what lay in /run is gone."""
        shutil.rmtree(self.root / "run", ignore_errors=True)
        self.write("proc/sys/kernel/random/boot_id", f"boot-{number}\n")

    @property
    def journal(self) -> dict[str, object]:
        """What the agent has written down."""
        loaded: dict[str, object] = json.loads((self.root / "var/lib/innkeeper/agent/journal").read_text())
        return loaded

    # Processes

    def start(self) -> None:
        """Start the agent."""
        self._process = subprocess.Popen(
            self.command("run", "--port", f"unix:{self.port}"), env=self.environment, cwd=self.root
        )

    @property
    def pid(self) -> int:
        """The agent's process."""
        assert self._process is not None
        return self._process.pid

    def kill(self, number: signal.Signals = signal.SIGKILL) -> int:
        """Kill the agent, as hard as it gets; returns its exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        code = self._process.wait(10)
        self._process = None
        return code

    def last_words(self) -> str:
        """How the agent has ended, or what it is doing: it is ended by that."""
        if self._process is None:
            return "The agent was not started."
        if (code := self._process.poll()) is not None:
            return f"The agent has ended with {code}."
        status = Path(f"/proc/{self.pid}/status").read_text()
        state = next(line for line in status.splitlines() if line.startswith("State:"))
        self._process.send_signal(signal.SIGABRT)
        self._process.send_signal(signal.SIGCONT)
        self._process.wait(10)
        return f"The agent was there. {state} Its stacks are on standard error."

    def command(self, *words: str) -> list[str]:
        """The agent's command line in this guest."""
        python = [PYTHON, "-X", "faulthandler", "-I", "-S"]
        return [*python, str(self._bundle), "--root", str(self.root), *words]

    async def run(self, *words: str) -> tuple[int, str]:
        """Run a command of the agent inside the guest."""
        process = await asyncio.create_subprocess_exec(
            *self.command(*words),
            env=self.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode()

    def close(self) -> None:
        if self._process is not None:
            self.kill()
        self._kill_updates()
        shutil.rmtree(self.root, ignore_errors=True)

    def _kill_updates(self) -> None:
        """Updates outlive their agent on purpose; they are known by where they work."""
        for directory in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (directory / "cwd").readlink().is_relative_to(self.root):
                    os.kill(int(directory.name), signal.SIGKILL)


class Host:
    """The host's side: the agents of one machine, and what was told of it."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self.events: list[Event] = []
        self.bookings: list[ScheduleRequested | ScheduleDeleted] = []
        #: The answer to every booking; a sentence refuses it.
        self.refusal = ""
        self.agents = Agents(
            open_port=self._open_port,
            running=self._running,
            on_booking=self._book,
            clock=SystemClock(),
            publish=self.events.append,
            pace=QUICK,
        )

    async def session(self, other_boot_than: str = "") -> GuestAgent:
        """A live session; where none comes, the agent's own stacks are shown beside the error."""
        try:
            return await self.agents.connected(MACHINE, timeout=60, other_boot_than=other_boot_than)
        except AgentError as silent:
            silent.add_note(self._guest.last_words())
            raise

    async def _open_port(self, machine: str) -> BytePipe:
        # A machine's port is there before its agent: a short pause spares the keeper's longer pauses.
        for pause_seconds in (0.02,) * 50:
            with contextlib.suppress(OSError):
                return SocketPipe(*await asyncio.open_unix_connection(str(self._guest.port)))
            await asyncio.sleep(pause_seconds)
        raise AgentError("There is no port.", machine=machine)

    async def _running(self) -> list[str]:
        return [MACHINE]

    async def _book(self, machine: str, booking: ScheduleRequested | ScheduleDeleted) -> str:
        self.bookings.append(booking)
        return self.refusal


@contextlib.contextmanager
def guest_of(bundle: Path) -> Iterator[Guest]:
    """A guest, gone at the end."""
    guest = Guest(bundle)
    try:
        yield guest
    finally:
        guest.close()


@contextlib.asynccontextmanager
async def host_of(guest: Guest) -> AsyncIterator[Host]:
    """A host that keeps a session with the guest."""
    host = Host(guest)
    await host.agents.open()
    try:
        yield host
    finally:
        await host.agents.close()


async def ended(agent: GuestAgent, identifier: str, timeout_seconds: float = 60.0) -> AgentTask:
    """The update, once it has ended or its guest wants to go down."""
    async with asyncio.timeout(timeout_seconds):
        while True:
            task = await agent.task(identifier)
            assert task is not None
            if task.status.is_final:
                return task
            await asyncio.sleep(0.05)


async def prepared(
    agent: GuestAgent, identifier: str, *, attempt: str = "1", until: str = "", timeout_seconds: float = 60.0
) -> tuple[Preparation, list[str]]:
    """The end of a preparation, or how far it is once a line begins like this; with what it has printed."""
    output: list[str] = []
    offset = 0
    async with asyncio.timeout(timeout_seconds):
        while True:
            found = await agent.prepare("", identifier, b"", attempt=attempt, offset=offset)
            output += found.output
            offset = found.offset
            is_said = until and any(line.startswith(until) for line in output)
            if is_said or found.state is not PreparationState.RUNNING:
                return found, output
            await asyncio.sleep(0.05)


async def appears(path: Path, timeout_seconds: float = 20.0) -> None:
    """Return when the file is there."""
    async with asyncio.timeout(timeout_seconds):
        while not path.exists():
            await asyncio.sleep(0.02)
