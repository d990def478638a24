"""Compare machines' starts, lists and statistics with libvirt's own calls.

Run as ``python -m benchmarks.machines``. Each figure is the median of ``ROUNDS`` rounds, ours and libvirt's
taken in turn. Starts: a real machine of the embedded driver, from the command to ``running``, through the
whole task (row, journal, lock, end). Lists: ``MACHINES`` defined machines of the embedded driver.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import libvirt
from rich.console import Console
from rich.table import Table

from innkeeper.hypervisor.libvirt import embedded_root, embedded_uri, libvirt_host, prepare_root
from innkeeper.machines.new_machine import NewMachine
from innkeeper.machines.ports.host import Host
from innkeeper.machines.service import Machines
from innkeeper.store.opening import open_store
from innkeeper.tasks.clock import SystemClock
from innkeeper.tasks.service import Tasks

ROUNDS = int(os.environ.get("ROUNDS", "15"))
MACHINES = int(os.environ.get("MACHINES", "1000"))
RESULTS = Path("build/bench/machines.json")
_MIB = 1 << 20


async def main() -> None:
    """Measure, and print a table."""
    with tempfile.TemporaryDirectory(prefix="ik-", dir="/tmp") as name:
        directory = Path(name)
        await prepare_root(directory)
        uri = embedded_uri(embedded_root(directory))
        host = libvirt_host(name="here", uri=uri, publish=lambda _event: None, state_directory=directory)
        await host.connection.open()
        rows = [*await _starts(host, directory), *await _lists(host)]
        await host.connection.close()
    _show(rows)


Row = dict[str, str | float]


def _connect_of(host: Host) -> libvirt.virConnect:
    """A connection to the host's own driver, to measure libvirt without Innkeeper."""
    return libvirt.open(host.uri)


async def _starts(host: Host, directory: Path) -> list[Row]:
    await host.images.create(str(directory / "disk.qcow2"), 16 * _MIB)
    wanted = NewMachine(name="one", memory_mib=64, disk_path=str(directory / "disk.qcow2"), network="")
    await host.definitions.define_new(wanted)
    store = await open_store(f"sqlite:///{directory}/innkeeper.sqlite", server="bench")
    clock = SystemClock()
    tasks = Tasks(store=store.tasks, engine=store.engine, clock=clock, publish=lambda _event: None)
    machines = Machines(hypervisors=[host], tasks=tasks, clock=clock, run_has_merged=_never)
    await tasks.launch()
    connect = _connect_of(host)
    assert connect is not None
    ours: list[float] = []
    theirs: list[float] = []

    async def start() -> None:
        task = await machines.startup("one", owner="bench")
        await tasks.wait(task.id)

    def create() -> None:
        connect.lookupByName("one").create()

    for _ in range(ROUNDS):
        ours.append(await _timed(start))
        await host.lifecycle.turn_off("one")
        theirs.append(await _timed(lambda: asyncio.to_thread(create)))
        await host.lifecycle.turn_off("one")
    await tasks.close()
    await store.close()
    return [_row("startup until running", ours, theirs, 1.1)]


async def _lists(host: Host) -> list[Row]:
    connect = _connect_of(host)
    assert connect is not None
    definition = await host.definitions.read("one")
    uuid = definition.split("<uuid>")[1].split("</uuid>")[0]
    for number in range(MACHINES):
        text = definition.replace(f"<uuid>{uuid}</uuid>", "").replace("<name>one<", f"<name>m-{number}<")
        await asyncio.to_thread(connect.defineXML, text)

    def look() -> None:
        """What a list must ask libvirt: states, saved states, autostart, and each definition."""
        connect.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_AUTOSTART)
        connect.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE)
        for domain, _ in connect.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE, 0):
            domain.XMLDesc(0)

    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(ROUNDS):
        ours.append(await _timed(host.inventory.list))
        theirs.append(await _timed(lambda: asyncio.to_thread(look)))
    return [_row(f"list of {MACHINES + 1:,} machines", ours, theirs, 1.3)]


async def _never(_run: int) -> bool:
    return False


async def _timed(call: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await call()
    return time.perf_counter() - began


def _row(what: str, ours: list[float], theirs: list[float], goal: float) -> Row:
    mine, other = statistics.median(ours), statistics.median(theirs)
    return {
        "what": what,
        "ours_ms": mine * 1e3,
        "libvirt_ms": other * 1e3,
        "ratio": mine / other,
        "goal": goal,
    }


def _show(rows: list[Row]) -> None:
    table = Table("what", "Innkeeper, ms", "libvirt, ms", "ratio", "goal")
    for row in rows:
        table.add_row(
            str(row["what"]), f"{row['ours_ms']:.1f}", f"{row['libvirt_ms']:.1f}",
            f"{row['ratio']:.2f}", f"≤ {row['goal']}",
        )  # fmt: skip
    Console().print(table)
    Console().print(f"load {os.getloadavg()[0]:.1f}")
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps({"load": os.getloadavg()[0], "rows": rows}, indent=2))


if __name__ == "__main__":
    asyncio.run(main())
