"""A small inn for tests: the tasks service on memory, with a clock in the hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from innkeeper.tasks.clock import FakeClock
from innkeeper.tasks.memory_engine import MemoryEngine, MemoryJournal, StepHook
from innkeeper.tasks.memory_store import MemoryTaskStore
from innkeeper.tasks.service import Retention, Tasks
from innkeeper.wire.events import Event


class House:
    """Tasks on a store and a journal that outlive a crash of the service."""

    def __init__(self, retention: Retention | None = None, *, shared: bool = False) -> None:
        self.shared = shared
        self.clock = FakeClock()
        self.store = MemoryTaskStore()
        self.journal = MemoryJournal()
        self.events: list[Event] = []
        self.retention = Retention() if retention is None else retention
        self.engine = MemoryEngine(self.journal, clock=self.clock)
        self.tasks = self._service()

    def restart(self, on_step: StepHook | None = None) -> Tasks:
        """A new service process on the same disk."""
        self.engine = MemoryEngine(self.journal, clock=self.clock, on_step=on_step)
        self.tasks = self._service()
        return self.tasks

    def kinds(self, task_id: int) -> list[str]:
        """The kinds of the events about one task, in order."""
        return [event.kind for event in self.events if event.subject == str(task_id)]

    def _service(self) -> Tasks:
        return Tasks(
            store=self.store,
            engine=self.engine,
            clock=self.clock,
            publish=self.events.append,
            retention=self.retention,
            shared=self.shared,
            pace=self.clock,
        )


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until the condition holds; fails the test where it never does."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to that")
