"""Run the tasks that take part in automatic maintenance, within its window."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Sequence
from typing import Final

from innkeeper.schedule.model.definition import TaskDefinition
from innkeeper.schedule.ports import ScheduleStore
from innkeeper.schedule.registered import Registered, Run, RunState, Watch
from innkeeper.schedule.running import due
from innkeeper.schedule.running.instance import definition_of
from innkeeper.schedule.running.scheduler import Scheduler
from innkeeper.tasks.ports import Clock

_LOOK_SECONDS: Final = 30.0
#: What tells the instances that maintenance has started.
_OCCURRENCE: Final = "maintenance@"
#: How many runs are looked through for the last one that came to its end.
_MOST_RUNS: Final = 100


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MaintenanceWindow:
    """When automatic maintenance is, each day; documented: from 03:00, for an hour."""

    start: dt.time = dt.time(3, 0)
    length: dt.timedelta = dt.timedelta(hours=1)

    def at(self, moment: dt.datetime) -> tuple[dt.datetime, dt.datetime] | None:
        """The window that a moment, on the host's wall, is in."""
        for days in (0, 1):
            day = moment.date() - dt.timedelta(days=days)
            begin = dt.datetime.combine(day, self.start, moment.tzinfo)
            if begin <= moment < begin + self.length:
                return begin, begin + self.length
        return None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A task that takes part, and where it stands."""

    task: Registered
    definition: TaskDefinition
    live: tuple[Run, ...]
    #: When it came to its end last, well or not; when it was registered, where never.
    completed_at: dt.datetime

    @property
    def is_exclusive(self) -> bool:
        """Whether the task runs exclusively."""
        settings = self.definition.settings.maintenance_settings
        return settings is not None and settings.exclusive

    def is_eligible(self, now: dt.datetime) -> bool:
        """Whether a whole ``Period`` has passed since it came to its end."""
        settings = self.definition.settings.maintenance_settings
        return (
            settings is not None
            and settings.period is not None
            and now >= self.completed_at + settings.period.nominal
        )

    def is_overdue(self, now: dt.datetime) -> bool:
        """Whether its ``Deadline`` has passed: it is then let finish after the window's end."""
        settings = self.definition.settings.maintenance_settings
        return (
            settings is not None
            and settings.deadline is not None
            and now >= self.completed_at + settings.deadline.nominal
        )


class Maintenance:
    """Starts what is eligible in the window, exclusive tasks alone and last; stops it at the window's end."""

    def __init__(
        self,
        *,
        store: ScheduleStore,
        scheduler: Scheduler,
        clock: Clock,
        home: Callable[[], dt.tzinfo],
        window: MaintenanceWindow = MaintenanceWindow(),
    ) -> None:
        self._store = store
        self._scheduler = scheduler
        self._clock = clock
        self._home = home
        self._window = window

    async def run(self) -> None:
        """Look again and again, for as long as the service lives."""
        while True:
            await self.look()
            await self._clock.sleep(_LOOK_SECONDS)

    async def look(self) -> None:
        """Start what is to be started now, and stop what may not go on."""
        candidates = [await self._candidate(task) for task in await self._store.watching(Watch.MAINTENANCE)]
        now = self._clock.now()
        window = self._window.at(now.astimezone(self._home()))
        if window is None:
            await self._stop(candidates, now)
            return
        ready = [each for each in candidates if not each.live and each.is_eligible(now)]
        started = False
        for candidate in self._next(candidates, ready):
            started |= await self._start(candidate, now, window[0])
        if started:
            self._scheduler.wake()

    def _next(self, candidates: Sequence[Candidate], ready: Sequence[Candidate]) -> Sequence[Candidate]:
        """All that run beside one another; else, when none of them is left, one that runs alone."""
        if any(each.live and each.is_exclusive for each in candidates):
            return ()
        together = [each for each in ready if not each.is_exclusive]
        if together or any(each.live for each in candidates):
            return together
        return ready[:1]

    async def _start(self, candidate: Candidate, now: dt.datetime, window: dt.datetime) -> bool:
        run = Run(
            id=due.new_run_id(),
            task_id=candidate.task.id,
            # One start a window, whoever looks.
            occurrence=f"{_OCCURRENCE}{window:%Y-%m-%dT%H:%M}",
            trigger=0,
            due=now,
            state=RunState.QUEUED,
            reason=f"automatic maintenance from {window:%H:%M}",
        )
        return await self._store.put_run(run)

    async def _stop(self, candidates: Sequence[Candidate], now: dt.datetime) -> None:
        for candidate in candidates:
            if not candidate.is_overdue(now):
                for run in candidate.live:
                    if run.occurrence.startswith(_OCCURRENCE):
                        await self._scheduler.stop_run(run, "the maintenance window has ended")

    async def _candidate(self, task: Registered) -> Candidate:
        ended = await self._store.runs(task.id, live=False, limit=_MOST_RUNS)
        finished = [run.ended_at for run in ended if run.state is RunState.FINISHED and run.ended_at]
        return Candidate(
            task=task,
            definition=definition_of(task),
            live=tuple(await self._store.runs(task.id, live=True)),
            completed_at=max(finished, default=task.registered_at),
        )
