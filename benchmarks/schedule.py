"""Measure the scheduler: next runs, many schedules, many due at once, registration, real instances.

Run ``make bench``, or ``python benchmarks/schedule.py`` for this one alone. Where another library that is
installed does the same, it is measured in the same run, and so are the floors: a heap of moments for the
clockwork, plain processes for the instances.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import gc
import heapq
import importlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from zoneinfo import ZoneInfo

from innkeeper.schedule.boundary import Boundary
from innkeeper.schedule.calendar import zone
from innkeeper.schedule.calendar.days import Daily
from innkeeper.schedule.calendar.named import NamedCalendar
from innkeeper.schedule.calendar.recurrence import Recurrence
from innkeeper.schedule.model import plan
from innkeeper.schedule.model import triggers as t
from innkeeper.schedule.model.actions import ExecAction
from innkeeper.schedule.model.definition import TaskDefinition
from innkeeper.schedule.model.enumerations import DaysOfMonth, DaysOfWeek, InstancesPolicy, WeeksOfMonth
from innkeeper.schedule.path import SchedulePath
from innkeeper.schedule.registered import Registered, RunState
from innkeeper.schedule.registry import Registry
from innkeeper.schedule.running.clockwork import Clockwork
from innkeeper.schedule.running.handlers import Handlers
from innkeeper.schedule.running.instance import Instances
from innkeeper.schedule.running.scheduler import Scheduler
from innkeeper.schedule.running.starts import MappedStarts
from innkeeper.store.opening import open_store
from innkeeper.tasks.clock import SystemClock
from innkeeper.tasks.service import Tasks

RESULTS = Path("build/bench/schedule.json")
ZONE = ZoneInfo("Europe/Berlin")
ROUNDS = 7
SCHEDULES = 100_000
DUE = 10_000
INSTANCES = int(os.environ.get("INSTANCES", "1000"))
INSTANCE_ROUNDS = int(os.environ.get("INSTANCE_ROUNDS", "7"))
AT_ONCE = 16
UTC = zone.named("UTC")

Row = dict[str, str | float | int]

RULES: dict[str, tuple[t.Trigger, str]] = {
    "daily 03:30": (t.DailyTrigger(start_boundary=Boundary("2020-01-01T03:30:00")), "30 3 * * *"),
    "weekly Sat 02:00": (
        t.WeeklyTrigger(start_boundary=Boundary("2020-01-01T02:00:00"), days_of_week=DaysOfWeek.SATURDAY),
        "0 2 * * 6",
    ),
    "monthly 1st 04:00": (
        t.MonthlyTrigger(start_boundary=Boundary("2020-01-01T04:00:00"), days_of_month=DaysOfMonth.DAY_1),
        "0 4 1 * *",
    ),
    "2nd Tuesday 02:00": (
        t.MonthlyDOWTrigger(
            start_boundary=Boundary("2020-01-01T02:00:00"),
            days_of_week=DaysOfWeek.TUESDAY,
            weeks_of_month=WeeksOfMonth.SECOND,
        ),
        "0 2 * * 2#2",
    ),
}


# The next run


def next_runs() -> Iterator[Row]:
    """Microseconds for one next run, from 400 moments in four months with a change of the clock."""
    base = dt.datetime(2026, 3, 1, 12, tzinfo=ZONE)
    moments = [base + dt.timedelta(hours=7 * number) for number in range(400)]
    for rule, (trigger, cron) in RULES.items():
        recurrence = plan.recurrence_of(trigger, zone.of(ZONE))
        assert recurrence is not None
        ours = microseconds(recurrence.next_after, moments)
        yield {"case": "next", "rule": rule, "engine": "innkeeper", "us": ours, "times": 1.0}
        for name, call in cron_libraries(cron):
            theirs = microseconds(call, moments)
            yield {
                "case": "next",
                "rule": rule,
                "engine": name,
                "us": theirs,
                "times": round(theirs / ours, 1),
            }


def cron_libraries(cron: str) -> Iterator[tuple[str, Callable[[dt.datetime], object]]]:
    """The libraries that are installed, each as a function from a moment to the next."""
    if importlib.util.find_spec("cronsim") is not None:
        simulator = importlib.import_module("cronsim").CronSim
        yield "cronsim", lambda moment: next(simulator(cron, moment))
    if importlib.util.find_spec("croniter") is not None:
        iterator = importlib.import_module("croniter").croniter
        yield "croniter", lambda moment: iterator(cron, moment).get_next(dt.datetime)


def microseconds(call: Callable[[dt.datetime], object], moments: list[dt.datetime]) -> float:
    """The median of the rounds."""
    found = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        for moment in moments:
            call(moment)
        found.append((time.perf_counter() - begun) / len(moments) * 1e6)
    return round(sorted(found)[ROUNDS // 2], 2)


# Many schedules in memory


def daily_at(moment: dt.datetime) -> Recurrence:
    """A run a day at the time of day of ``moment``, from that day on."""
    second = moment.hour * 3600 + moment.minute * 60 + moment.second
    start = int(moment.timestamp()) // zone.DAY * zone.DAY
    return Recurrence(days=Daily(moment.toordinal()), zone=UTC, second=second, start=start)


def far(count: int) -> Iterator[dt.datetime]:
    """Times of day that do not come while we measure."""
    begin = dt.datetime.now(dt.UTC) + dt.timedelta(hours=6)
    return (begin + dt.timedelta(seconds=number * 43_200 / count) for number in range(count))


def many() -> Iterator[Row]:
    """A hundred thousand schedules: added one by one, their memory, and the processor while none is due."""
    clockwork: Clockwork[int] = Clockwork(lambda key: None)
    moments = list(far(SCHEDULES))
    gc.collect()
    before, begun = resident_kb(), time.perf_counter()
    for number, moment in enumerate(moments):
        clockwork.set(number, daily_at(moment))
    seconds = time.perf_counter() - begun
    gc.collect()
    each = (resident_kb() - before) / SCHEDULES
    clockwork.start()
    time.sleep(1)
    worked, begun = time.process_time(), time.perf_counter()
    time.sleep(10)
    idle = (time.process_time() - worked) / (time.perf_counter() - begun) * 100
    clockwork.stop()
    yield {"case": "many", "engine": "innkeeper", "n": SCHEDULES, "seconds": round(seconds, 2), "kb_each": round(each, 2), "idle_cpu_percent": round(idle, 2)}  # fmt: skip  # noqa: E501


def resident_kb() -> float:
    """The memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1000


def due_at_once() -> Iterator[Row]:
    """Ten thousand due in one second: how late each call is, and the same from a bare heap."""
    for engine in ("heap", "innkeeper"):
        late: list[float] = []
        target = int(time.time()) + 3
        moment = dt.datetime.fromtimestamp(target, dt.UTC)
        start_heap(late, target) if engine == "heap" else start_clockwork(late, moment)
        while len(late) < DUE and time.time() < target + 30:
            time.sleep(0.05)
        lateness = sorted((called - target) * 1000 for called in late)
        yield {"case": "due", "engine": engine, "n": len(late), "p50_ms": round(lateness[len(late) // 2], 1), "p99_ms": round(lateness[int(len(late) * 0.99)], 1), "max_ms": round(lateness[-1], 1)}  # fmt: skip  # noqa: E501


def start_clockwork(late: list[float], moment: dt.datetime) -> None:
    """The clockwork, with everything due at one moment."""
    clockwork: Clockwork[int] = Clockwork(lambda key: late.append(time.time()))
    clockwork.set_all((number, daily_at(moment)) for number in range(DUE))
    clockwork.start()


def start_heap(late: list[float], target: int) -> None:
    """The floor: moments on a heap, and nothing else."""
    heap = [(float(target), number) for number in range(DUE)]

    def loop() -> None:
        while heap[0][0] < target + 1000:
            now = time.time()
            while heap[0][0] <= now:
                at, number = heapq.heappop(heap)
                late.append(time.time())
                heapq.heappush(heap, (at + zone.DAY, number))
            time.sleep(max(0.0005, min(1.0, heap[0][0] - time.time())))

    threading.Thread(target=loop, daemon=True).start()


# On disk


class Everything:
    """Accounts, conditions and calendars that have no objection."""

    def find(self, name: str) -> str | None:
        return name

    def has_group(self, name: str) -> bool:
        return True

    def own(self) -> str:
        return "innkeeper"

    def can_become(self, name: str) -> bool:
        return True

    def member_logged_on(self, group: str) -> str | None:
        return None

    def identifier(self, name: str) -> str:
        return ""

    def on_batteries(self) -> bool | None:
        return None

    def has_network(self) -> bool | None:
        return None

    def has_this_network(self, name: str | None, identifier: str | None) -> bool | None:
        return None

    def is_idle(self) -> bool | None:
        return None

    def is_busy(self) -> bool:
        return False

    async def named(self) -> Mapping[str, NamedCalendar]:
        return {}


async def registering() -> list[Row]:
    """Registered durably in SQLite: rows in bulk, and whole registrations one by one."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as directory:
        store = await open_store(f"sqlite:///{directory}/innkeeper.sqlite", server="bench")
        now = dt.datetime.now(dt.UTC)
        tomorrow = dt.timedelta(days=1)
        xml = night().to_xml().decode("utf-16")
        made = [
            Registered(
                path=SchedulePath(("Bulk", f"t{number}")), xml=xml, enabled=True, hidden=False, sddl="",
                owner="bench", registered_at=now, seed=number, handled_until=now, next_due=now + tomorrow,
            )
            for number in range(SCHEDULES)
        ]  # fmt: skip
        begun = time.perf_counter()
        await store.schedule.put(made)
        seconds = time.perf_counter() - begun
        rows.append({"case": "register in bulk", "n": SCHEDULES, "per_second": round(SCHEDULES / seconds)})
        nothing = Everything()
        registry = Registry(
            store=store.schedule, accounts=nothing, calendars=nothing, clock=SystemClock(), home=ZONE
        )
        begun = time.perf_counter()
        for number in range(500):
            await registry.register(f"\\Single\\t{number}", night(), owner="bench")
        seconds = time.perf_counter() - begun
        rows.append({"case": "register singly", "n": 500, "per_second": round(500 / seconds)})
        await store.engine.close()
        await store.close()
    return rows


def night() -> TaskDefinition:
    """A task that runs a program every night."""
    made = TaskDefinition.new()
    made.triggers.append(t.DailyTrigger(start_boundary=Boundary("2026-01-01T03:30:00")))
    made.actions.append(program())
    return made


def program() -> ExecAction:
    """What each instance runs."""
    return ExecAction(path="/bin/true")


async def instances() -> list[Row]:
    """Real durable instances of /bin/true, all recorded, beside as many plain processes: medians of rounds.

    The two take turns, as other work on the computer weighs on both.
    """
    with tempfile.TemporaryDirectory() as directory:
        store = await open_store(f"sqlite:///{directory}/innkeeper.sqlite", server="bench")
        clock, nothing = SystemClock(), Everything()
        tasks = Tasks(store=store.tasks, engine=store.engine, clock=clock, publish=lambda event: None)
        made = Instances(
            store=store.schedule,
            clock=clock,
            accounts=nothing,
            conditions=nothing,
            handlers=Handlers(),
            starts=MappedStarts.open(Path(directory) / "starts"),
        )
        scheduler = Scheduler(
            store=store.schedule, tasks=tasks, instances=made, calendars=nothing, clock=clock, home=ZONE
        )
        registry = Registry(store=store.schedule, accounts=nothing, calendars=nothing, clock=clock, home=ZONE)
        await tasks.launch()
        definition = night()
        definition.settings.multiple_instances = InstancesPolicy.PARALLEL
        task = await registry.register("\\t", definition, owner="bench")
        # As the service does once it is ready.
        gc.collect()
        gc.freeze()
        plain, durable = [], []
        for _ in range(INSTANCE_ROUNDS):
            plain.append(await plain_processes())
            durable.append(await durable_instances(scheduler, tasks, task))
        ended = await store.schedule.runs(task.id, live=False, limit=INSTANCES * INSTANCE_ROUNDS + 1)
        assert len(ended) == INSTANCES * INSTANCE_ROUNDS
        assert all(run.state is RunState.FINISHED and run.result == 0 for run in ended)
        await tasks.close()
        await store.close()
    times = [ours / theirs for ours, theirs in zip(durable, plain, strict=True)]
    return [
        {"case": "plain processes", "n": INSTANCES, "seconds": round(median(plain), 2), "times": 1.0},
        {
            "case": "durable instances",
            "n": INSTANCES,
            "seconds": round(median(durable), 2),
            "times": round(median(times), 2),
            "least": round(min(times), 2),
            "most": round(max(times), 2),
        },
    ]


async def durable_instances(scheduler: Scheduler, tasks: Tasks, task: Registered) -> float:
    """Seconds until all have ended and are recorded, so many at once."""
    begun = time.perf_counter()
    left = iter(range(INSTANCES))

    async def one_after_another() -> None:
        for _ in left:
            run = await scheduler.start(task)
            assert run.operation is not None
            await tasks.wait(run.operation)

    await asyncio.gather(*(one_after_another() for _ in range(AT_ONCE)))
    return time.perf_counter() - begun


async def plain_processes() -> float:
    """The floor: the same programs, as many at once, from a thread pool and recorded nowhere."""
    begun = time.perf_counter()
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        calls = [
            loop.run_in_executor(pool, lambda: subprocess.run(["/bin/true"], check=True))
            for _ in range(INSTANCES)
        ]
        await asyncio.gather(*calls)
    return time.perf_counter() - begun


CASES: dict[str, Callable[[], Iterable[Row]]] = {
    "next": next_runs,
    "many": many,
    "due": due_at_once,
    "register": lambda: asyncio.run(registering()),
    "instances": lambda: asyncio.run(instances()),
}


class Engine:
    """The clockwork as other benchmarks of schedulers drive it: daily schedules in UTC, by time of day."""

    def open(self) -> None:
        fire = sys.modules["__main__"].fire  # of the benchmark that runs us
        self._clockwork: Clockwork[int] = Clockwork(fire)
        self._today = dt.datetime.now(dt.UTC)

    def add(self, number: int, hour: int, minute: int, second: int) -> None:
        self._clockwork.set(number, daily_at(self._today.replace(hour=hour, minute=minute, second=second)))

    def add_many(self, specs: Iterable[tuple[int, int, int, int]], deadline: float) -> int:
        count = 0
        for spec in specs:
            self.add(*spec)
            count += 1
        return count

    def start(self) -> None:
        self._clockwork.start()

    def stop(self) -> None:
        self._clockwork.stop()


def main() -> None:
    """Measure each case in a process of its own, and print and keep its rows."""
    if sys.argv[1:]:
        for row in CASES[sys.argv[1]]():
            print(json.dumps(row), flush=True)
        os._exit(0)
    rows = []
    for case in CASES:
        done = subprocess.run(
            [sys.executable, __file__, case], check=True, stdout=subprocess.PIPE, timeout=300
        )
        rows += [json.loads(line) for line in done.stdout.splitlines()]
        print(done.stdout.decode(), end="", flush=True)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
