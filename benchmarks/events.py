"""Measure events between servers: from one that tells to a viewer at another, with eight that tell at once.

Each server is a process with the stream of a service on one private PostgreSQL, which writes to the disk as
it ships. Each event carries when it was told, on the clock that the processes share.

    python -m benchmarks.events                          # 8 servers, 10 events a second each, 20 seconds
    python -m benchmarks.events --rate 100 --viewers 4
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime as dt
import json
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import sqlalchemy as sa

from innkeeper.server.events.bus import EventBus
from innkeeper.server.events.shared import SharedLog
from innkeeper.store.database import Database
from innkeeper.store.outbox import SqlOutbox
from innkeeper.wire.events import Event, EventKind, Json
from tests.store import clusters
from tests.store.clusters import Cluster

RESULTS = Path("build/bench/events.json")
_IDLE_SECONDS = 10.0
_LAST = "last"
_TOLD: dict[str, Json] = {
    "description": "Update web-1: Security",
    "phase": "Waiting for the guest's agent",
    "phase_number": 7,
    "phase_count": 20,
    "percent": 42,
}


def main() -> int:
    """Run all servers, and print what was measured; 1 where an event was lost or came twice."""
    arguments = _arguments()
    url = sa.make_url(arguments.url) if arguments.url else None
    if arguments.tell and url is not None:
        asyncio.run(_tell(url, arguments.tell, arguments.rate, arguments.seconds))
        return 0
    if arguments.view and url is not None:
        print(json.dumps(asyncio.run(_view(url, arguments.servers))))
        return 0
    with clusters.cluster("-c max_connections=200") as cluster:
        asyncio.run(_migrate(cluster.url))
        found = {**_idle(cluster), **_measure(cluster, arguments)}
    print(json.dumps(found, indent=2))
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=2))
    return 0 if found["lost or doubled"] == 0 else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--servers", type=int, default=8, help="that tell")
    parser.add_argument("--viewers", type=int, default=1, help="servers with a viewer")
    parser.add_argument("--rate", type=float, default=10, help="events a second of each server")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--tell", help=argparse.SUPPRESS)
    parser.add_argument("--view", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _measure(cluster: Cluster, arguments: argparse.Namespace) -> dict[str, float]:
    url = cluster.url
    viewers = [_start(url, "--view", "--servers", str(arguments.servers)) for _ in range(arguments.viewers)]
    _until_they_say_so(viewers)
    pace = ["--rate", str(arguments.rate), "--seconds", str(arguments.seconds)]
    tellers = [_start(url, "--tell", str(number), *pace) for number in range(1, arguments.servers + 1)]
    _until_they_say_so(tellers)  # or the start of each would be measured with the events of the others
    before = cluster.cpu_seconds
    for teller in tellers:
        assert teller.stdin is not None
        teller.stdin.close()
    seen = [json.loads(viewer.communicate()[0]) for viewer in viewers]
    spent = cluster.cpu_seconds - before
    tolds = [int(_line_of(teller)) for teller in tellers]
    waits = sorted(wait for each in seen for wait in each["waits"])
    return {
        "servers": arguments.servers,
        "viewers": arguments.viewers,
        "events": sum(tolds),
        "events a second": round(sum(tolds) / arguments.seconds, 1),
        "lost or doubled": sum(abs(each["events"] - sum(tolds)) for each in seen),
        "median ms": round(1000 * statistics.median(waits), 1),
        "p99 ms": round(1000 * waits[int(0.99 * len(waits))], 1),
        "longest ms": round(1000 * waits[-1], 1),
        "processor of PostgreSQL, ms an event": round(1000 * spent / sum(tolds), 3),
        "processor of a viewer's server, ms an event": round(1000 * seen[0]["processor"] / sum(tolds), 3),
    }


def _start(url: sa.URL, *arguments: str) -> subprocess.Popen[str]:
    text = url.render_as_string(hide_password=False)
    command = [sys.executable, "-m", "benchmarks.events", "--url", text, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _until_they_say_so(processes: list[subprocess.Popen[str]]) -> None:
    """Wait until each is ready."""
    for each in processes:
        _line_of(each)


def _line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def _idle(cluster: Cluster) -> dict[str, float]:
    """What a server costs that tells nothing, with a viewer and without."""
    return {
        f"idle, processor in %, {name}": asyncio.run(_idle_share(cluster, viewed=viewed))
        for name, viewed in (("nobody watches", False), ("with a viewer", True))
    }


async def _idle_share(cluster: Cluster, *, viewed: bool) -> float:
    async with _server(cluster.url) as bus, contextlib.AsyncExitStack() as watching:
        if viewed:
            await watching.enter_async_context(bus.up_to_date())
        await asyncio.sleep(1)
        began, spent = time.perf_counter(), cluster.cpu_seconds + time.process_time()
        await asyncio.sleep(_IDLE_SECONDS)
        spent = cluster.cpu_seconds + time.process_time() - spent
        return round(100 * spent / (time.perf_counter() - began), 2)


async def _migrate(url: sa.URL) -> None:
    database = await Database.connect(url)
    await database.migrate()
    await database.close()


# One server


async def _tell(url: sa.URL, name: str, rate: float, seconds: float) -> None:
    told = 0
    async with _server(url) as bus:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        began = time.monotonic()
        while (elapsed := time.monotonic() - began) < seconds:
            while told < elapsed * rate:
                told += 1
                bus.publish(_event(name, told))
            await asyncio.sleep(0.001)
        bus.publish(_event(name, told, kind=EventKind.TASK_ENDED))
    print(told)


async def _view(url: sa.URL, servers: int) -> dict[str, Json]:
    waits: list[Json] = []
    numbers: dict[str, int] = {}
    ended = 0
    async with _server(url) as bus, bus.up_to_date():
        since = await bus.newest_id()
        print("listening", flush=True)
        began = time.process_time()
        async with contextlib.aclosing(bus.listen(since)) as events:
            async for numbered in events:
                event = numbered.event
                if event.kind is EventKind.TASK_CHANGED:
                    assert event.data["number"] == numbers.get(event.subject, 0) + 1, "out of order"
                    numbers[event.subject] = numbers.get(event.subject, 0) + 1
                    waits.append(time.monotonic() - float(str(event.data["sent"])))
                ended += event.kind is EventKind.TASK_ENDED
                if ended == servers:
                    break
    return {"events": len(waits), "waits": waits, "processor": time.process_time() - began}


def _event(name: str, number: int, kind: EventKind = EventKind.TASK_CHANGED) -> Event:
    data = {**_TOLD, "number": number, "sent": time.monotonic()}
    return Event(kind=kind, subject=name, at=dt.datetime.now(dt.UTC), data=data)


@contextlib.asynccontextmanager
async def _server(url: sa.URL) -> AsyncIterator[EventBus]:
    database = await Database.connect(url)
    log = SharedLog(SqlOutbox(database))
    bus = EventBus(log)
    bus.attach(asyncio.get_running_loop())
    loops = [asyncio.create_task(each()) for each in (log.write_for_ever, log.read_for_ever)]
    try:
        yield bus
    finally:
        for loop in loops:
            loop.cancel()
        await asyncio.wait(loops)
        await log.write_last()
        await database.close()


if __name__ == "__main__":
    sys.exit(main())
