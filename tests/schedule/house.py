"""A small inn for tests: the scheduler on memory, with a clock in the hand and real programs."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable, Mapping

from innkeeper.schedule.boundary import Boundary
from innkeeper.schedule.calendar.named import NamedCalendar
from innkeeper.schedule.memory_store import MemoryScheduleStore
from innkeeper.schedule.model.definition import TaskDefinition
from innkeeper.schedule.model.enumerations import ActionType, TriggerType
from innkeeper.schedule.registered import Registered, Run
from innkeeper.schedule.registry import Registry
from innkeeper.schedule.running.handlers import Handlers
from innkeeper.schedule.running.instance import Instances
from innkeeper.schedule.running.scheduler import Scheduler
from innkeeper.schedule.running.sources import Source, Sources
from innkeeper.schedule.running.starts import MemoryStarts
from innkeeper.schedule.running.watcher import Watcher
from innkeeper.tasks.clock import FakeClock
from innkeeper.tasks.memory_engine import MemoryEngine, MemoryJournal
from innkeeper.tasks.memory_store import MemoryTaskStore
from innkeeper.tasks.service import Tasks
from innkeeper.wire.events import Event

NIGHT = dt.datetime(2026, 1, 10, 20, 0, tzinfo=dt.UTC)


class Computer:
    """Accounts, conditions and calendars that a test sets."""

    def __init__(self) -> None:
        self.accounts = {"ana": "ana", "S-1-5-18": "root"}
        self.is_root = True
        self.groups: dict[str, tuple[str, ...]] = {}
        self.logged_on: set[str] = set()
        self.batteries: bool | None = None
        self.network: bool | None = None
        self.idle: bool | None = None
        self.busy = False
        self.networks: set[str] = set()
        self.calendars: dict[str, NamedCalendar] = {}

    def find(self, name: str) -> str | None:
        return self.accounts.get(name)

    def has_group(self, name: str) -> bool:
        return name in self.groups

    def own(self) -> str:
        return "innkeeper"

    def can_become(self, name: str) -> bool:
        return self.is_root or name == self.own()

    def member_logged_on(self, group: str) -> str | None:
        return next((user for user in self.groups.get(group, ()) if user in self.logged_on), None)

    def identifier(self, name: str) -> str:
        found = self.find(name)
        return "" if found is None else f"S-1-22-1-{1000 + sorted(self.accounts).index(name)}"

    def on_batteries(self) -> bool | None:
        return self.batteries

    def has_network(self) -> bool | None:
        return self.network

    def has_this_network(self, name: str | None, identifier: str | None) -> bool | None:
        return None if name is None else name in self.networks

    def is_busy(self) -> bool:
        return self.busy

    def is_idle(self) -> bool | None:
        return self.idle

    async def named(self) -> Mapping[str, NamedCalendar]:
        return self.calendars


class House:
    """The scheduler on stores and a journal that outlive a crash of the service."""

    def __init__(self) -> None:
        self.clock = FakeClock(NIGHT)
        self.computer = Computer()
        self.handlers = Handlers()
        self.store = MemoryScheduleStore()
        self.task_store = MemoryTaskStore()
        self.journal = MemoryJournal()
        self.starts = MemoryStarts()
        self.events: list[Event] = []
        self.sources: list[Source] = []
        self.restart()

    def restart(self) -> None:
        """A new service process on the same disk."""
        self.tasks = Tasks(
            store=self.task_store,
            engine=MemoryEngine(self.journal, clock=self.clock),
            clock=self.clock,
            publish=self.events.append,
        )
        self.instances = instances = Instances(
            store=self.store,
            clock=self.clock,
            accounts=self.computer,
            conditions=self.computer,
            handlers=self.handlers,
            starts=self.starts,
        )
        self.scheduler = Scheduler(
            store=self.store,
            tasks=self.tasks,
            instances=instances,
            calendars=self.computer,
            clock=self.clock,
            home=dt.UTC,
        )
        self.registry = Registry(
            store=self.store,
            accounts=self.computer,
            calendars=self.computer,
            clock=self.clock,
            home=dt.UTC,
            changed=lambda: self.watcher.forget(),
        )
        self.watcher = Watcher(
            store=self.store,
            accounts=self.computer,
            calendars=self.computer,
            clock=self.clock,
            home=dt.UTC,
            sources=Sources(self.sources),
            disable=lambda task: self.registry.set_enabled(task, False),
            wake=self.scheduler.wake,
        )

    async def register(self, definition: TaskDefinition, name: str = "\\t") -> Registered:
        return await self.registry.register(name, definition, owner="ana")

    async def at(self, moment: dt.datetime) -> None:
        """Let the clock come to a moment, and the scheduler look at it."""
        await self.clock.advance((moment - self.clock.now()).total_seconds())
        await self.scheduler.look()

    async def ended(self, run: Run) -> Run:
        """The run, once it and the operation that carries it have come to their end."""
        return await until(lambda: self._ended(run.id))

    async def _ended(self, run_id: str) -> Run | None:
        run = await self.store.run(run_id)
        if run is None or run.state.is_live:
            return None
        over = run.operation is None or (await self.tasks.get(run.operation)).is_complete
        return run if over else None


async def until(question: Callable[[], Awaitable[Run | None]]) -> Run:
    """Ask again, a little later each time, while a real program does its work; five seconds at most."""
    for attempt in range(250):
        answer = await question()
        if answer is not None:
            return answer
        await asyncio.sleep(0.001 if attempt < 100 else 0.03)
    raise AssertionError("it never came to that")


def running(command: str, arguments: str = "") -> TaskDefinition:
    """A definition that runs a program."""
    made = TaskDefinition.new()
    action = made.actions.create(ActionType.EXEC)
    action.path, action.arguments = command, arguments or None
    return made


def daily(definition: TaskDefinition, start: str = "2026-01-10T22:00:00") -> TaskDefinition:
    """The definition with a daily trigger."""
    definition.triggers.create(TriggerType.DAILY).start_boundary = Boundary(start)
    return definition
