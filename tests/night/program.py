"""A whole service for one night on real guests, which can be killed at any step of an update run.

Run as ``python -m tests.night.program STATE_DIRECTORY JSON-NIGHT``. It takes up what an earlier process left,
books the night's updates once, waits until every one has its verdict, and prints the reports as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt
import json
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path

from innkeeper import disks
from innkeeper.disks.kind import Kind
from innkeeper.errors import BookingNotFound, MachineNotFound
from innkeeper.hypervisor.libvirt import embedded_root, embedded_uri
from innkeeper.hypervisor.libvirt.undo_disks import LibvirtUndoDisks
from innkeeper.machines.guest.prepare import agent_bundle
from innkeeper.machines.machine import MachineState
from innkeeper.machines.ports.host import Host
from innkeeper.server.compose import open_house
from innkeeper.server.house import House
from innkeeper.server.settings import Settings
from innkeeper.tasks.running import RunningTask
from innkeeper.updates.policy import Policy, UndoPointPolicy
from innkeeper.updates.run import UpdateRuns
from innkeeper.updates.window import ALL_MACHINES, Window
from innkeeper.wire.events import Json
from tests.guests import tiny
from tests.guests.machines import (
    AGENT_PORT,
    GUEST_AGENT_PORT,
    TinyMachine,
    define_tiny_machine,
    tiny_definition,
)
from tests.guests.tiny import TinyGuest
from tests.hypervisor.service import Service

#: Slow enough to be killed in the middle of.
_MERGE_MIB_PER_S = 2
#: How long after a step has begun it is in its middle.
_MIDDLE_S = 0.5
#: A guest that boots longer is stuck, and so is a night that lasts longer, on a busy computer too.
_BOOTS_S, _TIMEOUT_S = 150, 300
_SERVE = ("/bin/busybox", "httpd", "-p", "127.0.0.1:8080", "-h", "/etc")
_POLICY = Policy(
    soak_seconds=1, poll_seconds=0.3, health_seconds=1, agent_seconds=150, shut_down_seconds=20,
    retry_seconds=1, look_seconds=1, default_run_seconds=60, rollback_reserve_seconds=30,
)  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Night:
    """What is to happen, and when it is cut short."""

    identifier: str
    #: Each machine's update, in the words of the tiny guest's update script.
    updates: Mapping[str, str]
    #: Machines that shall run when the night begins; the others are off.
    running: tuple[str, ...]
    #: The step that is cut short, of which machine, and how (``before``, ``middle``, ``after``, ``qemu``).
    step: str
    machine: str
    how: str
    #: The machines' disks are differencing VHDs, which they reach by exports.
    on_chains: bool = False
    #: The machine to which a channel is open all night.
    spoken_with: str = ""
    #: How undo points of running machines are taken.
    undo_point: str = "live"


class KillingTask:
    """A running task that ends this process, or QEMU, at one step; in all else the task itself."""

    def __init__(self, task: RunningTask, night: Night, state: Path) -> None:
        self._task = task
        self._night = night
        self._state = state

    def __getattr__(self, name: str) -> object:
        return getattr(self._task, name)

    async def step(self, name: str, action: Callable[[], Awaitable[Json]]) -> Json:
        """Do the step, and cut it short where the night says so; once in all."""
        done = self._state / f"cut-{self._night.identifier}"
        if name != self._night.step or done.exists():
            return await self._task.step(name, action)

        async def cut_short() -> Json:
            done.touch()
            return await self._cut_short(action)

        return await self._task.step(name, cut_short)

    async def _cut_short(self, action: Callable[[], Awaitable[Json]]) -> Json:
        if self._night.how == "before":
            _die()
        if self._night.how == "middle":
            threading.Timer(_MIDDLE_S, _die).start()
        if self._night.how == "qemu":
            threading.Timer(_MIDDLE_S, self._kill_qemu).start()
        result = await action()
        if self._night.how == "after":
            _die()
        return result

    def _kill_qemu(self) -> None:
        """Kill the machine's QEMU, as soon as there is one."""
        mark = f"guest={self._night.machine},".encode()
        deadline = time.monotonic() + _TIMEOUT_S
        while time.monotonic() < deadline:
            for process in Service(self._state).qemu_processes():
                with contextlib.suppress(OSError):
                    if mark in Path(f"/proc/{process}/cmdline").read_bytes():
                        os.kill(process, signal.SIGKILL)
                        return
            time.sleep(0.02)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _kill_at(night: Night, state: Path) -> None:
    """Let the night's machine be updated by a task that kills."""
    work = UpdateRuns.work

    async def killing_work(runs: UpdateRuns, task: RunningTask, argument: Mapping[str, Json]) -> None:
        mine = argument["machine"] == night.machine
        await work(runs, KillingTask(task, night, state) if mine else task, argument)  # type: ignore[arg-type]

    UpdateRuns.work = killing_work  # type: ignore[method-assign,assignment]  # the product has no such door


async def main(state: Path, night: Night) -> None:
    """Live through the night."""
    LibvirtUndoDisks.bandwidth_mib = _MERGE_MIB_PER_S
    _kill_at(night, state)
    settings = Settings(
        state_dir=state, socket=state / "s",
        policy=dataclasses.replace(_POLICY, undo_point=UndoPointPolicy(night.undo_point)),
        hypervisors=(embedded_uri(embedded_root(state)),),
    )  # fmt: skip
    async with open_house(settings) as house:
        if not night.spoken_with:
            print(json.dumps(await _night(house, night, state)))
            return
        async with _spoken_with(house, night.spoken_with) as heard:
            message = await _night(house, night, state)
        print(json.dumps(message | {"heard": heard}))


async def _night(house: House, night: Night, state: Path) -> dict[str, Json]:
    """Book what is to be done, and wait until it is; returns what became of each machine."""
    await _book(house, night, state)
    return await _reports(house, night)


async def _book(house: House, night: Night, state: Path) -> None:
    """Have the machines, bring them to their state, and book; whatever was done before is left."""
    [host] = house.machines.hosts.values()
    for name, words in night.updates.items():
        await _have(host, name, state, on_chain=night.on_chains)
        with contextlib.suppress(BookingNotFound):
            await house.bookings.get(name, night.identifier)
            continue
        await _bring(house, host, name, runs=name in night.running)
        if name in night.running:
            boots = state / f"boot-{night.identifier}-{name}"
            await asyncio.to_thread(boots.write_text, await _boot(house, name))
        await house.bookings.book(
            name, label="night", identifier=night.identifier, context=words.encode(), booked_by="test"
        )
    await house.windows.add(_open_window())


async def _have(host: Host, name: str, state: Path, *, on_chain: bool) -> None:
    try:
        await host.inventory.get(name)
    except MachineNotFound:
        guest = await asyncio.to_thread(tiny.build, Path(os.environ["INNKEEPER_TEST_CACHE"]), agent_bundle())
        if on_chain:
            await _define_on_chain(host, guest, state, name)
        else:
            await define_tiny_machine(host, guest, state, name, disk_format="raw")


async def _define_on_chain(host: Host, guest: TinyGuest, state: Path, name: str) -> None:
    """A machine whose disk is the child of a VHD with its file system."""

    def make() -> Path:
        raw = state / f"{name}.made"
        tiny.data_disk(raw)
        parent = disks.convert(raw, state / f"{name}.parent.vhd", Kind.DYNAMIC, source_kind=Kind.RAW)
        raw.unlink()
        return disks.create_differencing(state / f"{name}.vhd", parent)

    machine = TinyMachine(name=name, disk=await asyncio.to_thread(make), console=state / f"{name}.console")
    await host.definitions.define(tiny_definition(machine, guest, "vpc", AGENT_PORT + GUEST_AGENT_PORT))
    await host.disks.use_exports(name)


async def _bring(house: House, host: Host, name: str, *, runs: bool) -> None:
    if runs:
        await host.lifecycle.start(name)
        await house.agents.connected((await house.machines.get(name)).key, timeout=_BOOTS_S)
    else:
        await host.lifecycle.turn_off(name)


@contextlib.asynccontextmanager
async def _spoken_with(house: House, machine: str) -> AsyncIterator[dict[str, Json]]:
    """Keep a channel open to a machine that is there, with half a request on it.

    Yields what it has heard in the end.
    """
    heard: dict[str, Json] = {}
    [host] = house.machines.hosts.values()
    await _bring(house, host, machine, runs=True)
    state = await house.channels.start(
        machine, host_endpoint_type=0, pipe_name=r"\\.\pipe\web", guest_endpoint_type=1, guest_port="8080",
        owner="test",
    )  # fmt: skip
    before = await _page(host, machine, state.socket)
    reader, writer = await asyncio.open_unix_connection(str(state.socket))
    writer.write(b"GET /os-release")
    try:
        yield heard
        heard["after half a request"] = ""
        with contextlib.suppress(ConnectionResetError):  # cut while its bytes lie unread, it is reset
            heard["after half a request"] = (await asyncio.wait_for(reader.read(-1), 5)).decode()
    finally:
        writer.close()
    await house.agents.connected((await house.machines.get(machine)).key, timeout=_BOOTS_S)
    [channel] = house.channels.list()
    heard["same page"] = before == await _page(host, machine, channel.socket)
    heard["cut"] = channel.traffic.cut


async def _page(host: Host, machine: str, socket: Path) -> bytes:
    """A page from a web server in the guest, which is started there first."""
    await host.guest_agents.run(machine, _SERVE, timeout=30)
    reader, writer = await asyncio.open_unix_connection(str(socket))
    writer.write(b"GET /os-release HTTP/1.0\r\n\r\n")
    try:
        page = await asyncio.wait_for(reader.read(-1), 30)
    finally:
        writer.close()
    assert b"NAME=" in page, page
    return page.partition(b"\r\n\r\n")[2]  # its head tells the time


def _open_window() -> Window:
    """A window that is open all day."""
    now = dt.datetime.now(dt.UTC)
    return Window(
        name="always", zone="UTC", start=dt.time(0), duration=dt.timedelta(days=2),
        machines=(ALL_MACHINES,), dates=frozenset({now.date()}),
    )  # fmt: skip


async def _reports(house: House, night: Night) -> dict[str, Json]:
    """Wait for every verdict; returns what became of each machine."""
    message: dict[str, Json] = {}
    try:
        await asyncio.wait_for(_all_ended(house, night), _TIMEOUT_S)
    except TimeoutError:
        await _say_why(house, night)
        raise
    for name in night.updates:
        report = await house.reports.of_booking(name, night.identifier)
        machine = await house.machines.get(name)
        message[name] = {
            "verdict": report.verdict.value,
            "reasons": list(report.reasons),
            "disks": [disk.path for disk in machine.disks],
            "runs": machine.state is MachineState.RUNNING,
            "undo_point": report.undo_point,
            "boot": await _boot(house, name) if machine.state is MachineState.RUNNING else "",
            "phases": {phase: round(seconds, 2) for phase, seconds in report.phase_seconds},
        }
    return message


async def _boot(house: House, machine: str) -> str:
    """The boot that the machine's guest is in."""
    return (
        await house.agents.connected((await house.machines.get(machine)).key, timeout=_BOOTS_S)
    ).hello.boot_id


async def _all_ended(house: House, night: Night) -> None:
    for name in night.updates:
        while (await house.bookings.get(name, night.identifier)).verdict is None:
            await asyncio.sleep(0.2)


async def _say_why(house: House, night: Night) -> None:
    """Tell whoever reads the test's failure where the night got stuck."""
    for name in night.updates:
        booking = await house.bookings.get(name, night.identifier)
        print(booking, file=sys.stderr)
        for line in await house.tasks.log(booking.task_id) if booking.task_id else ():
            print(f"  {line.at:%H:%M:%S} {line.text}", file=sys.stderr)


if __name__ == "__main__":
    given = json.loads(sys.argv[2])
    asyncio.run(main(Path(sys.argv[1]), Night(**{**given, "running": tuple(given["running"])})))
