"""Kill -9 a service again and again while tasks fall due, and hold its history against what really started.

Each task appends a line to a file when it starts. Afterwards every occurrence must be in the history or be
counted as missed, and each task must have exactly as many lines as runs: also for the runs that the history
calls interrupted, whose program was alive at a kill. ``KILLS`` and ``RATE`` (due a second) set the size.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from innkeeper.schedule.boundary import Boundary
from innkeeper.schedule.calendar.host import host_zone
from innkeeper.schedule.duration import Duration
from innkeeper.schedule.model import triggers as t
from innkeeper.schedule.model.actions import ExecAction
from innkeeper.schedule.model.definition import TaskDefinition
from innkeeper.schedule.model.enumerations import InstancesPolicy
from innkeeper.schedule.running.handlers import Handlers
from innkeeper.schedule.running.maintenance import MaintenanceWindow
from innkeeper.schedule.running.starts import MappedStarts
from innkeeper.server.scheduling import scheduling
from innkeeper.store.opening import open_store
from innkeeper.tasks.clock import SystemClock
from innkeeper.tasks.service import Tasks

KILLS = int(os.environ.get("KILLS", "100"))
RATE = int(os.environ.get("RATE", "50"))
RESULTS = Path("build/bench/schedule_kills.json")
PERIOD = 60
#: How long each service lives: long enough to catch up with what came due while it started.
LIFE_SECONDS = (1.0, 4.0)
#: The last service's time to finish what is late.
REST_SECONDS = float(os.environ.get("REST", "20"))


async def serve(directory: Path, *, register: bool, until_idle: bool) -> None:
    """One life of the service."""
    store = await open_store(f"sqlite:///{directory}/innkeeper.sqlite", server="bench")
    clock = SystemClock()
    tasks = Tasks(store=store.tasks, engine=store.engine, clock=clock, publish=lambda event: None)
    made = scheduling(
        store=store.schedule,
        tasks=tasks,
        handlers=Handlers(),
        clock=clock,
        home=host_zone(),
        state_dir=directory,
        window=MaintenanceWindow(),
        starts=MappedStarts.open(directory / "starts"),
    )
    await tasks.launch()
    if register:
        begin = dt.datetime.now(dt.UTC).replace(microsecond=0) + dt.timedelta(seconds=30)
        for number in range(RATE * PERIOD):
            start = begin + dt.timedelta(seconds=number % PERIOD)
            await made.registry.register(
                f"\\k\\t{number}", appending(directory, number, start), owner="bench"
            )
        await tasks.close()
        await store.close()
        count_missed(directory)
        return
    print("ready", flush=True)
    looking = asyncio.create_task(made.scheduler.run())
    if until_idle:
        await asyncio.sleep(REST_SECONDS)
        looking.cancel()
        for run in await store.schedule.runs(live=True, limit=100_000):
            if run.operation is not None:
                await tasks.wait(run.operation)
        os._exit(0)
    await asyncio.sleep(3600)


def count_missed(directory: Path) -> None:
    """Have the database add up what is missed: a task's own count begins anew with its next success."""
    with sqlite3.connect(directory / "innkeeper.sqlite") as database:
        database.executescript(
            "CREATE TABLE missed (task INTEGER, n INTEGER);"
            "CREATE TRIGGER missing AFTER UPDATE ON scheduled_tasks WHEN NEW.missed_runs > OLD.missed_runs"
            " BEGIN INSERT INTO missed VALUES (NEW.id, NEW.missed_runs - OLD.missed_runs); END;"
        )


def appending(directory: Path, number: int, start: dt.datetime) -> TaskDefinition:
    """A task that writes down that it has started, every minute."""
    made = TaskDefinition.new()
    repetition = t.RepetitionPattern(interval=Duration(f"PT{PERIOD}S"))
    made.triggers.append(t.TimeTrigger(start_boundary=Boundary.of(start), repetition=repetition))
    made.actions.append(ExecAction(path="/bin/sh", arguments=f"-c 'echo {number} >> {directory}/started'"))
    made.settings.multiple_instances = InstancesPolicy.PARALLEL
    return made


def main() -> None:
    """Register, kill, let finish, count."""
    if len(sys.argv) > 1:
        asyncio.run(
            serve(Path(sys.argv[2]), register=sys.argv[1] == "register", until_idle=sys.argv[1] == "finish")
        )
        return
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        life("register", directory).wait()
        for _ in range(KILLS):
            service = life("serve", directory)
            assert service.stdout is not None
            service.stdout.readline()
            time.sleep(random.uniform(*LIFE_SECONDS))  # noqa: S311  # moments, not secrets
            service.kill()
            service.wait()
        ended = time.time()
        life("finish", directory).wait()
        row = counted(directory, ended)
    print(json.dumps(row))
    print(verdict(row))
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(row, indent=2))


def verdict(row: dict[str, int]) -> str:
    """Whether it holds, in a sentence."""
    wrong = [
        f"{row[what]} {what.replace('_', ' ')}"
        for what in ("lost", "started_twice", "recorded_and_not_started")
        if row[what]
    ]
    alive = row.get("state_interrupted", 0)
    kept = f"{row['kills']} kills, {row['due_a_second']} due a second, {row['runs']} occurrences"
    if wrong:
        return f"FAILED: {kept}; {', '.join(wrong)}"
    return f"HELD: {kept}; none lost, none started twice; the history names {alive} that were alive at a kill"


def life(verb: str, directory: Path) -> subprocess.Popen[bytes]:
    """A service of its own process."""
    return subprocess.Popen([sys.executable, __file__, verb, str(directory)], stdout=subprocess.PIPE)


def counted(directory: Path, ended: float) -> dict[str, int]:
    """What the history says, and what really started."""
    with sqlite3.connect(directory / "innkeeper.sqlite") as database:
        tasks = database.execute(
            "SELECT id, path, (SELECT coalesce(sum(n), 0) FROM missed WHERE task = id), handled_until, xml"
            " FROM scheduled_tasks"
        ).fetchall()
        runs = Counter(task for (task,) in database.execute("SELECT task_id FROM schedule_runs"))
        states = dict(database.execute("SELECT state, count(*) FROM schedule_runs GROUP BY state"))
        operations = database.execute("SELECT count(*) FROM tasks").fetchone()[0]
    lines = Counter(int(line) for line in (directory / "started").read_text().split())
    lost = twice = unstarted = missed_in_all = 0
    for task_id, path, missed, handled, xml in tasks:
        until = dt.datetime.fromisoformat(handled).replace(tzinfo=dt.UTC)
        expected = len(
            TaskDefinition.from_xml(xml).run_times(end=until + dt.timedelta(microseconds=1), count=None)
        )
        lost += max(0, expected - runs[task_id] - missed)
        missed_in_all += missed
        started = lines[int(path.rpartition("t")[2])]
        twice += max(0, started - runs[task_id])
        unstarted += max(0, runs[task_id] - started)
    return {
        "kills": KILLS,
        "due_a_second": RATE,
        "runs": sum(runs.values()),
        "operations": operations,
        "started": sum(lines.values()),
        "missed_and_counted": missed_in_all,
        "lost": lost,
        "started_twice": twice,
        "recorded_and_not_started": unstarted,
        **{f"state_{state}": count for state, count in sorted(states.items())},
    }


if __name__ == "__main__":
    main()
