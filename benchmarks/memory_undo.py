"""Measure going back to the running moment beside a roll back with a boot, on the demo's Debian guest.

A process in the guest counts in its memory, holds an open file without a name, and a TCP session. Each round
takes an undo point with memory (the guest standing still, or running on) or of the disks alone, changes the
disk, and rolls back; clocked until qemu-guest-agent answers.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from demo.guest.image import build_image
from demo.machines import GUESTS, how_they_run, set_up
from demo.place import Place, image_cache
from demo.service import end_leftovers
from innkeeper.errors import AgentError, MachineError
from innkeeper.hypervisor.libvirt import libvirt_host
from innkeeper.machines.ports.host import Host
from innkeeper.machines.undo.fitness import UndoRules, plan_undo_point
from innkeeper.machines.undo.memory import MemoryPoint, MemoryRules, plan_memory
from innkeeper.machines.undo.point import UndoPoint
from innkeeper.tasks.clock import SystemClock
from innkeeper.tasks.waiting import until
from innkeeper.wire.events import Event, EventKind

_OUT = Path(__file__).resolve().parent.parent / "build" / "bench" / "memory_undo.json"
_PATIENCE_SECONDS = 300.0
_TRIES = 20
_GUEST = GUESTS[0]
#: Counts in memory, with a nameless file and a TCP session to itself; ``busy`` rewrites 120 MiB as well.
_WORK = """
import os, socket, sys, tempfile, time
nameless = tempfile.TemporaryFile(dir="/var/tmp")
server = socket.create_server(("127.0.0.1", 0))
near = socket.create_connection(server.getsockname())
far, _ = server.accept()
memory, count = bytearray(120 << 20 if sys.argv[1] == "busy" else 1), 0
while True:
    count += 1
    near.sendall(b"x")
    assert far.recv(1) == b"x"
    nameless.seek(0)
    nameless.write(str(count).encode())
    nameless.flush()
    for at in range(0, len(memory), 4096):
        memory[at] = count & 255
    with open("/run/count.new", "w") as told:
        told.write(f"{os.getpid()} {count}")
    os.replace("/run/count.new", "/run/count")
    time.sleep(0.0 if len(memory) > 1 else 0.05)
"""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """One undo point and one roll back, in seconds and bytes."""

    way: str
    pause: float
    taken: float
    bytes_kept: int
    digest: float
    back: float
    is_same_boot: bool


class Bench:
    """The demo's guest on a host of its own, without a service."""

    def __init__(self, host: Host, events: Sequence[Event]) -> None:
        self._host = host
        self._events = events
        self._run = 0

    async def boot(self, load: str) -> None:
        """Start the guest, with its work."""
        await self._host.lifecycle.turn_off(_GUEST.name)
        await self._host.lifecycle.start(_GUEST.name)
        await self._until_answer()
        await self._until("systemctl is-system-running", "running")
        await self._host.guest_agents.write_file(_GUEST.name, "/run/work.py", _WORK.encode())
        await self._in_guest(f"setsid python3 /run/work.py {load} </dev/null >/dev/null 2>&1 &")
        await self._until("cat /run/count", " ")

    async def with_memory(self, *, live: bool) -> Round:
        """Keep memory and disks, change the disk, and go back to the running moment."""
        point, undo = await self._plan(live=live)
        before, told = len(self._events), await self._seen()
        began = time.monotonic()
        _, record = await point.take(undo)
        taken = time.monotonic() - began
        assert record is not None
        pause = self._pause(before)
        await self._in_guest("date >/var/tmp/changed; sync")
        began = time.monotonic()
        await self._host.lifecycle.turn_off(_GUEST.name)
        await undo.drop()
        assert await point.why_not(record) == ""
        assert await point.restore() == ""
        await self._host.lifecycle.resume(_GUEST.name)
        await self._until_answer()
        back = time.monotonic() - began
        await undo.delete_files()
        await point.delete()
        now = await self._seen()
        assert await self._in_guest("cat /var/tmp/changed") == ""
        return Round(
            way="memory, running on" if live else "memory, standing still",
            pause=pause, taken=record.seconds, bytes_kept=record.file.identity.size_bytes,
            digest=taken - record.seconds, back=back, is_same_boot=told == now,
        )  # fmt: skip

    async def with_disks(self) -> Round:
        """Take the disks alone, change the disk, and boot from what was there before."""
        _, undo = await self._plan(live=False)
        told = await self._seen()
        began = time.monotonic()
        await undo.take(freeze_seconds=10)
        taken = time.monotonic() - began
        await self._in_guest("date >/var/tmp/changed; sync")
        began = time.monotonic()
        await self._host.lifecycle.turn_off(_GUEST.name)
        await undo.drop()
        await self._host.lifecycle.start(_GUEST.name)
        await self._until_answer()
        back = time.monotonic() - began
        await undo.delete_files()
        return Round(
            way="disks alone", pause=0.0, taken=taken, bytes_kept=0, digest=0.0, back=back,
            is_same_boot=told == await self._seen(),
        )  # fmt: skip

    async def _plan(self, *, live: bool) -> tuple[MemoryPoint, UndoPoint]:
        self._run += 1
        machine, rules = await self._host.inventory.get(_GUEST.name), UndoRules()
        plan = await plan_undo_point(self._host, machine, self._run, rules)
        memory = await plan_memory(self._host, machine, plan, self._run, MemoryRules(live=live), rules)
        clock = SystemClock()
        return MemoryPoint(self._host, memory, clock=clock), UndoPoint(self._host, plan, clock=clock)

    async def _seen(self) -> tuple[str, str]:
        """The guest's boot, and the process that counts in it."""
        boot = await self._in_guest("cat /proc/sys/kernel/random/boot_id")
        return boot.strip(), (await self._in_guest("pgrep -f work.py")).strip()

    def _pause(self, since: int) -> float:
        at = {
            event.kind: event.at
            for event in self._events[since:]
            if event.kind in (EventKind.MACHINE_PAUSED, EventKind.MACHINE_RESUMED)
        }
        return (at[EventKind.MACHINE_RESUMED] - at[EventKind.MACHINE_PAUSED]).total_seconds()

    async def _in_guest(self, script: str) -> str:
        # libvirt loses sight of the agent for a moment, right after a boot or a restore.
        for left in reversed(range(_TRIES)):
            try:
                done = await self._host.guest_agents.run(_GUEST.name, ["/bin/sh", "-c", script], timeout=60)
            except AgentError:
                if not left:
                    raise
                await asyncio.sleep(0.5)
            else:
                break
        return done.stdout.decode()

    async def _until(self, script: str, part: str) -> None:
        clock = SystemClock()

        async def says_so() -> bool:
            return part in await self._in_guest(script)

        assert await until(clock, says_so, every=0.5, seconds=_PATIENCE_SECONDS)

    async def _until_answer(self) -> None:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while True:
                try:
                    await self._host.guest_agents.program(_GUEST.name).ping()
                except AgentError:
                    await asyncio.sleep(0.1)
                else:
                    return


async def measure(place: Place, rounds: int, loads: Sequence[str]) -> dict[str, list[Round]]:
    """Every way, idle and busy, in turns."""
    events: list[Event] = []
    host = libvirt_host(name="bench", uri=place.uri, publish=events.append, state_directory=place.state)
    await host.connection.open()
    found: dict[str, list[Round]] = {}
    try:
        for load in loads:
            bench = Bench(host, events)
            await bench.boot(load)
            these = found.setdefault(load, [])
            for _ in range(rounds):
                for live in (False, True):
                    try:
                        these.append(_told(load, await bench.with_memory(live=live)))
                    except MachineError as error:
                        print(load, error.sentence, flush=True)
            for number in range(rounds):
                if number:
                    await bench.boot(load)
                these.append(_told(load, await bench.with_disks()))
    finally:
        await host.lifecycle.turn_off(_GUEST.name)
        await host.connection.close()
    return found


def _told(load: str, done: Round) -> Round:
    """The round, which is printed at once: what comes after it may fail."""
    print(load, json.dumps(dataclasses.asdict(done)), flush=True)
    return done


def main() -> None:
    """Measure, print and write down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--loads", nargs="+", default=["idle", "busy"])
    given = parser.parse_args()
    place = Place(root=Path.home() / ".inn-bench-memory")
    image = build_image(image_cache(), lambda line: None)
    end_leftovers(place)
    place.clear()
    set_up([_GUEST], image, place, how_they_run(image))
    try:
        found = asyncio.run(measure(place, given.rounds, given.loads))
    finally:
        end_leftovers(place)
        place.clear()
    _print(found)
    _OUT.parent.mkdir(parents=True, exist_ok=True)
    told = {load: [dataclasses.asdict(each) for each in rounds] for load, rounds in found.items()}
    _OUT.write_text(json.dumps({"cores": os.cpu_count(), "results": told}, indent=2) + "\n")


def _print(found: dict[str, list[Round]]) -> None:
    table = Table("guest", "undo point", "pause s", "MiB", "digest s", "back s", "same boot", box=None)
    for load, rounds in found.items():
        for way in dict.fromkeys(each.way for each in rounds):
            these = [each for each in rounds if each.way == way]

            def middle(name: str, these: list[Round] = these) -> float:
                return float(statistics.median(getattr(each, name) for each in these))

            table.add_row(
                load, way, f"{middle('pause'):.2f}", f"{middle('bytes_kept') / (1 << 20):.0f}",
                f"{middle('digest'):.2f}", f"{middle('back'):.2f}",
                "yes" if all(each.is_same_boot for each in these) else "no",
            )  # fmt: skip
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
