"""Be the service's half of channels, as a process of its own: agents, channels, and nothing else.

Run as ``python -m benchmarks.channel.service PORT DIRECTORY``; says ``ready`` when the channels are open,
and from then on answers each line with the number of its descriptors and its memory in KiB.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Collection
from pathlib import Path

from benchmarks.channel.guest import ECHO_PORT, SINK_PORT, SOURCE_PORT
from innkeeper.channels.agents import Agents
from innkeeper.channels.channel import MachineStanding, MemoryChannelStore, Standing
from innkeeper.channels.ports import ScheduleDeleted, ScheduleRequested
from innkeeper.channels.service import Channels, Needs
from innkeeper.errors import AgentError
from innkeeper.hypervisor.libvirt.socket_pipe import SocketPipe
from innkeeper.tasks.clock import SystemClock
from innkeeper.wire.byte_pipe import BytePipe
from innkeeper.wire.events import Event
from innkeeper.wire.states import MachineState

MACHINE = "bench"


async def serve(port: Path, directory: Path) -> None:
    """Open the channels, and serve until standard input ends."""

    async def open_port(machine: str) -> BytePipe:
        try:
            _, pipe = await asyncio.get_running_loop().create_unix_connection(SocketPipe, str(port))
        except OSError as error:
            raise AgentError(f"There is no port: {error}", machine=machine) from error
        return pipe

    async def running() -> Collection[str]:
        return [MACHINE]

    async def book(machine: str, booking: ScheduleRequested | ScheduleDeleted) -> str:
        return ""

    async def look_at(machine: str) -> MachineStanding:
        return MachineStanding(
            machine=machine, key=machine, standing=Standing.RUNNING, state=MachineState.RUNNING
        )

    def forget(event: Event) -> None:
        return None

    agents = Agents(
        open_port=open_port, running=running, on_booking=book, clock=SystemClock(), publish=forget
    )
    await agents.open()
    await agents.connected(MACHINE, timeout=180)
    channels = Channels(
        Needs(
            agents=agents,
            look_at=look_at,
            store=MemoryChannelStore(),
            clock=SystemClock(),
            publish=forget,
            directory=directory,
            server="bench",
        )
    )
    await channels.open()
    for inner in (ECHO_PORT, SINK_PORT, SOURCE_PORT):
        await _start(channels, str(inner), inner)
    print("ready", flush=True)
    await _answer(channels)


async def _start(channels: Channels, name: str, port: int) -> None:
    await channels.start(
        MACHINE,
        host_endpoint_type=0,
        pipe_name=rf"\\.\pipe\{name}",
        guest_endpoint_type=1,
        guest_port=port,
        owner="",
    )


async def _answer(channels: Channels) -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        word, _, number = line.decode().strip().partition(" ")
        if word == "churn":
            for _ in range(int(number)):
                await _start(channels, "churned", ECHO_PORT)
                await channels.stop(r"\\.\pipe\churned")
        print(
            _descriptors(), _resident_kib(), sum(c.traffic.connections for c in channels.list()), flush=True
        )


def _descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def _resident_kib() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(Path(sys.argv[1]), Path(sys.argv[2])))
