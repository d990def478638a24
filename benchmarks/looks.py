"""Measure what a look of the trigger agent costs, the planner, bookings by selector, and pages of machines.

Run ``python -m benchmarks.looks`` (part of ``make bench``), with ``plans``, ``looks``, ``bookings`` or
``pages`` for that part alone. Simulated machines, one process; pages are of a service in another. Bookings
are made on SQLite and on PostgreSQL, whose own processor time is not in the figure.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
from starlette.types import Receive, Scope, Send

from benchmarks.door import Connection, running
from innkeeper.hypervisor.simulated.fleet import settle_fleet
from innkeeper.hypervisor.simulated.host import simulated_host
from innkeeper.identity.caller import Caller, Proof
from innkeeper.identity.roles import Grant, Role
from innkeeper.machines.service import Machines
from innkeeper.server.app import bare_app
from innkeeper.server.compose import open_house
from innkeeper.server.compose_base import Overrides
from innkeeper.server.house import House
from innkeeper.server.http.callers import CALLER
from innkeeper.server.settings import FakeSettings, Settings
from innkeeper.tasks.clock import FakeClock
from innkeeper.tasks.memory_engine import MemoryEngine
from innkeeper.tasks.memory_store import MemoryTaskStore
from innkeeper.tasks.service import Tasks
from innkeeper.updates.bookings import Bookings
from innkeeper.updates.calendar import Calendar
from innkeeper.updates.memory import MemoryBookingStore, MemoryReportStore, MemoryWindowStore
from innkeeper.updates.placement import Candidate, Host
from innkeeper.updates.planner import plan
from innkeeper.updates.policy import Policy
from innkeeper.updates.reports import run_has_merged
from innkeeper.updates.trigger import TriggerAgent
from innkeeper.updates.window import Window
from innkeeper.updates.windows import Windows
from innkeeper.wire.events import Event, Publish
from innkeeper.wire.queries import DEFAULT_LIMIT
from innkeeper.wire.states import Weekday
from tests.store.clusters import cluster, fresh_database

HOSTS, MACHINES_A_HOST = 1000, 100
BOOKED = 10_000
CHANGES = 20
PAGES = 600
#: Between two pages, and before the first: all hosts are asked again several times meanwhile.
PAGE_EACH_SECONDS = 0.1
PAGES_PAUSE_SECONDS = 20
#: Processor time in a second of a service that rests.
IDLE_SHARE = 0.1
IDLE_SECONDS = 60
NOW = dt.datetime(2026, 1, 10, 20, tzinfo=dt.UTC)


def main() -> None:
    """Measure, and print a table."""
    parts = {"plans": _plans, "looks": _looks, "bookings": _service, "pages": _pages}
    print("| | | aim |\n|---|---|---|")
    for part in sys.argv[1:] or parts:
        parts[part]()


def _plans() -> None:
    for until, what in ((NOW, "who starts now"), (NOW + dt.timedelta(hours=24), "the next 24 hours")):
        print(f"| {HOSTS * MACHINES_A_HOST:,} machines on {HOSTS:,} hosts planned: {what} "
              f"| {_plan_seconds(until):.2f} s processor time | 2 s |")  # fmt: skip


def _plan_seconds(until: dt.datetime) -> float:
    windows = [_window(f"w{n}", 18 + n % 6, (f"h{n}-*",) if n else ("all",)) for n in range(100)]
    chance = random.Random(1)  # noqa: S311  # the same plan each time
    candidates = [
        _candidate(host, number, chance) for host in range(HOSTS) for number in range(MACHINES_A_HOST)
    ]
    began = time.process_time()
    plan(
        now=NOW,
        until=until,
        candidates=candidates,
        hosts=[Host(name=f"h{host}", memory_free_mib=1 << 16) for host in range(HOSTS)],
        in_flight=[],
        calendar=Calendar(windows, NOW),
        policy=Policy(),
    )
    return time.process_time() - began


def _candidate(host: int, number: int, chance: random.Random) -> Candidate:
    return Candidate(
        machine=f"h{host}-m{number}",
        identifier="u",
        host=f"h{host}",
        memory_mib=chance.choice([512, 1024, 4096]),
        needs_waking=chance.random() < 0.3,
        start=NOW - dt.timedelta(hours=1),
        end=None,
        deadline=None if chance.random() < 0.7 else NOW + dt.timedelta(hours=chance.randrange(1, 40)),
        predicted=dt.timedelta(minutes=chance.randrange(3, 40)),
    )


def _window(name: str, hour: int, machines: tuple[str, ...]) -> Window:
    return Window(
        name=name,
        zone="UTC",
        start=dt.time(hour),
        duration=dt.timedelta(hours=6),
        weekdays=frozenset(Weekday),
        machines=machines,
    )


@contextlib.asynccontextmanager
async def _house(machines: int, database: str | None) -> AsyncIterator[tuple[House, httpx.AsyncClient]]:
    """A service with simulated machines, and a client of its interface."""
    with tempfile.TemporaryDirectory() as directory:
        settings = Settings(
            state_dir=Path(directory),
            socket=Path(directory) / "s",
            fake=FakeSettings(machines=machines),
            database=database,
        )
        async with open_house(settings, Overrides(clock=FakeClock(NOW))) as house:
            app = bare_app()
            app.state.house = house
            caller = Caller(
                user="ana", realm="LAB", proof=Proof.PEER, grants=(Grant(role=Role.ADMINISTRATOR),)
            )

            async def told(scope: Scope, receive: Receive, send: Send) -> None:
                await app({**scope, CALLER: caller}, receive, send)

            transport = httpx.ASGITransport(told)
            async with httpx.AsyncClient(transport=transport, base_url="http://inn", timeout=600) as client:
                yield house, client


def _service() -> None:
    asyncio.run(_book_all("SQLite", None))
    with cluster("") as postgresql, fresh_database(postgresql.url, "bench") as database:
        asyncio.run(_book_all("PostgreSQL", database.render_as_string(hide_password=False)))


async def _book_all(what: str, database: str | None) -> None:
    async with _house(BOOKED, database) as (_, client):
        await _idle()
        body = {"select": "all", "identifier": "u", "label": "Security"}
        began, worked = time.perf_counter(), time.process_time()
        answer = await client.post("/v1/updates/book", json=body)
        took, work = time.perf_counter() - began, time.process_time() - worked
        lines = answer.text.splitlines()
        assert len(lines) == BOOKED, answer.text[:200]
        print(f"| {BOOKED:,} bookings by selector on {what}, to the last line of the answer "
              f"| {took:.2f} s ({work:.2f} s processor time) | 3 s |")  # fmt: skip


def _looks() -> None:
    """The trigger agent alone, at one host that has all machines: their window is closed, then open."""
    with tempfile.TemporaryDirectory() as directory:
        for opens, what in ((23, "closed"), (19, "open")):
            found = asyncio.run(_look(Path(directory) / what, opens))
            print(f"| a look after one change, {BOOKED:,} bookings waiting on one host, window {what}: "
                  f"median, most | {found} ms processor time | 50 ms |")  # fmt: skip


async def _look(directory: Path, opens: int) -> str:
    await asyncio.to_thread(directory.mkdir)
    clock, hearers = FakeClock(NOW), list[Publish]()

    def publish(event: Event) -> None:
        for hear in hearers:
            hear(event)

    host = simulated_host(directory, clock=clock, publish=publish, threads=False)
    await host.connection.open()
    await settle_fleet(host.simulation, BOOKED)
    tasks = Tasks(store=MemoryTaskStore(), engine=MemoryEngine(clock=clock), clock=clock, publish=publish)
    reports = MemoryReportStore()
    machines = Machines(
        hypervisors=[host], tasks=tasks, clock=clock, run_has_merged=lambda run: run_has_merged(reports, run)
    )
    policy = Policy()
    bookings = Bookings(
        store=MemoryBookingStore(), machines=machines, clock=clock, publish=publish, policy=policy
    )
    windows = Windows(MemoryWindowStore(), machines.places)
    await windows.add(_window("night", opens, ("all",)))
    trigger = TriggerAgent(
        tasks=tasks,
        machines=machines,
        bookings=bookings,
        windows=windows,
        reports=reports,
        clock=clock,
        publish=publish,
        policy=policy,
        # The look weighs all that might start, and starts none: they wait for the next change.
        hindrance=lambda host: "It only weighs.",
    )
    titles = {machine.key: machine.title for machine in await machines.list()}
    await bookings.book_many(titles, label="Security", identifier="u", booked_by="ana")
    hearers.append(trigger.on_event)
    running = asyncio.create_task(trigger.run())
    await _quiet()
    costs = []
    for number, title in zip(range(CHANGES), titles.values(), strict=False):
        await bookings.book(title, label="Security", identifier=f"more-{number}", booked_by="ana")
        worked = time.process_time()
        await _quiet(0.3)
        costs.append((time.process_time() - worked) * 1000)
    running.cancel()
    return f"{statistics.median(costs):.0f}, {max(costs):.0f}"


def _pages() -> None:
    """A service of its own, asked over its socket; its machines are looked at anew meanwhile."""
    with tempfile.TemporaryDirectory(prefix="innkeeper-bench-") as directory:
        door = Path(directory) / "s"
        serve = [sys.executable, "-m", "innkeeper.cli", "--socket", str(door), "serve", "--fake"]
        serve += ["--hosts", str(HOSTS), "--machines", str(MACHINES_A_HOST), "--speed", "1"]
        with running([*serve, "--state-dir", str(Path(directory) / "state")], door):
            Connection(door).get("/v1/machines")
            time.sleep(PAGES_PAUSE_SECONDS)
            # Another: the service hangs up on who says nothing for so long.
            connection = Connection(door)
            connection.get("/v1/machines")
            took = []
            for _ in range(PAGES):
                began = time.perf_counter()
                page = connection.get("/v1/machines")
                took.append((time.perf_counter() - began) * 1000)
                time.sleep(PAGE_EACH_SECONDS)
            assert len(json.loads(page)["machines"]) == DEFAULT_LIMIT
        took.sort()
        print(f"| first page of {HOSTS * MACHINES_A_HOST:,} machines over HTTP: median, p99, most "
              f"| {statistics.median(took):.1f}, {took[int(len(took) * 0.99) - 1]:.1f}, {took[-1]:.1f} ms "
              f"| 60 ms |")  # fmt: skip


async def _quiet(seconds: float = 3.0) -> None:
    """Wait until what was begun has ended, more or less: the service has no work of its own."""
    await asyncio.sleep(seconds)


async def _idle() -> None:
    """Wait until the process has next to nothing to do: simulated machines are still made when it is up.

    So many on one host are never quite done with on a shared database, so it waits for a while at most.
    """
    worked, give_up = float("-inf"), time.monotonic() + IDLE_SECONDS
    while time.process_time() - worked > IDLE_SHARE and time.monotonic() < give_up:
        worked = time.process_time()
        await asyncio.sleep(1)


if __name__ == "__main__":
    main()
