"""Start what is due, once, and answer those who start and stop by hand."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt
import weakref
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

import structlog

from innkeeper.errors import ErrorCode, InvalidArgument, MachineBusy, ScheduleError
from innkeeper.schedule.calendar.named import NamedCalendar
from innkeeper.schedule.model.definition import TaskDefinition
from innkeeper.schedule.model.enumerations import InstancesPolicy, TaskRunFlags, TaskState
from innkeeper.schedule.ports import Calendars, Claim, ScheduleStore
from innkeeper.schedule.registered import Registered, Run, RunFilter, RunState
from innkeeper.schedule.running import due
from innkeeper.schedule.running.instance import Instances, definition_of
from innkeeper.schedule.running.perform import Pausable
from innkeeper.schedule.running.variables import MOST_ARGUMENTS
from innkeeper.tasks.outcome import traceback_of
from innkeeper.tasks.ports import Clock
from innkeeper.tasks.running import RunningTask
from innkeeper.tasks.service import Tasks
from innkeeper.tasks.task import CancelEffect, TaskFilter
from innkeeper.tasks.waiting import Signal
from innkeeper.wire.events import Json

#: The kind of operation that carries an instance.
KIND = "scheduled_task"
#: How many tasks are looked at in one transaction.
_BATCH = 500
#: The longest sleep: a task that another server registered is seen by then.
_LONGEST_SLEEP = 30.0
#: How many instances of one task may wait; more are refused, so that one hung run fills no queue.
_LONGEST_QUEUE = 10
#: A task that fails to be looked at is looked at again after this.
_POSTPONED = dt.timedelta(minutes=1)
_LAST_ID = 2**63 - 1
_NO_CONSTRAINTS = TaskRunFlags.IGNORE_CONSTRAINTS

_log = structlog.get_logger(__name__)


#: Whether this server starts a task.
IsOurs = Callable[[Registered], Awaitable[bool]]


async def every_task(task: Registered) -> bool:
    """A server alone starts every task."""
    return True


class Scheduler:
    """The scheduler's loop: claims due starts in the store, and starts them as operations.

    A start is claimed by its task and occurrence before anything happens, so that of several servers one
    makes it, and after a crash the same one goes on.
    """

    def __init__(
        self,
        *,
        store: ScheduleStore,
        tasks: Tasks,
        instances: Instances,
        calendars: Calendars,
        clock: Clock,
        home: dt.tzinfo,
        is_ours: IsOurs = every_task,
    ) -> None:
        """``is_ours`` says whether this server starts a task, of those that share the store."""
        self._is_ours = is_ours
        self._store = store
        self._tasks = tasks
        self._calendars = calendars
        self._clock = clock
        self._home = home
        self._awake = Signal()
        self._instances = instances
        #: Runs that this process is about to give to an operation.
        self._beginning: set[str] = set()
        #: Of one task the starts are decided one after the other.
        self._turns: weakref.WeakValueDictionary[int, asyncio.Lock] = weakref.WeakValueDictionary()
        tasks.register(KIND, self._carry, stepless=True)

    # Life

    async def run(self) -> None:
        """Start what is due, while the service runs."""
        await self._settle_left()
        while True:
            await self._sleep(await self.look())

    async def _settle_left(self) -> None:
        """Record the ends of instances whose operations ended without being able to."""
        for run in await self._store.runs(live=True, limit=10_000):
            if run.operation is None:
                continue
            (operation,) = await self._tasks.list(TaskFilter(before_id=run.operation + 1, limit=1)) or (None,)
            if operation is not None and operation.id == run.operation and operation.is_complete:
                await self._store.end_run(_lost_end(run, self._clock.now()), None)

    def wake(self) -> None:
        """Look again now, after a registration or an instance's end."""
        self._awake.set()

    async def look(self) -> float:
        """Start all that is due; returns how many seconds there are until there may be more."""
        await self._start_claimed()
        calendars = await self._calendars.named()
        now = self._clock.now()
        behind: tuple[dt.datetime, int] | None = None
        while found := await self._store.due(now, _BATCH, after=behind):
            ours = [task for task in found if await self._is_ours(task)]
            if len(ours) < len(found):  # the others stay due until their own server has looked at them
                behind = found[-1].next_due or now, found[-1].id
            claims = [
                claim for task in ours if (claim := await self._claim_unless_expired(task, now, calendars))
            ]
            claimed = [run.id for claim in claims for run in claim.runs]
            self._beginning.update(claimed)
            try:
                await self._begin_all(await self._store.claim(claims), {task.id: task for task in found})
            finally:
                self._beginning.difference_update(claimed)
        return await self._until_next(now)

    # By hand

    async def start(
        self,
        task: Registered,
        arguments: Sequence[str] = (),
        flags: TaskRunFlags = TaskRunFlags.NO_FLAGS,
        *,
        session: int = 0,
        run_as: str = "",
    ) -> Run:
        """Start an instance now (``Run``, ``RunEx``), whatever its triggers say; ``run_as`` is the account
        to start it as, where not the principal's.

        Raises ``ScheduleError`` where it is disabled (0x80041326) or may not be started by hand
        (0x80041328), ``InvalidArgument`` for more than 32 arguments or a session that is none.
        """
        definition = definition_of(task)
        _check_start(task, definition, arguments, flags, session)
        run_id = due.new_run_id()
        run = Run(
            id=run_id,
            task_id=task.id,
            occurrence=run_id,
            trigger=0,
            due=self._clock.now(),
            state=RunState.CLAIMED,
            arguments=tuple(arguments),
            run_as=run_as,
        )
        self._beginning.add(run.id)
        try:
            return await self._begin(run, task, unconditional=bool(flags & _NO_CONSTRAINTS))
        finally:
            self._beginning.discard(run.id)

    async def stop(self, task: Registered) -> bool:
        """Stop all instances of a task (``Stop``); returns whether there were any."""
        live = await self._store.runs(task.id, live=True)
        for run in live:
            await self.stop_run(run)
        return bool(live)

    async def stop_run(self, run: Run, reason: str = "") -> None:
        """Stop one instance (``IRunningTask::Stop``); a person does where no reason is given."""
        # That an operation carries it may not be written yet.
        started = (
            []
            if run.operation is not None
            else await self._tasks.list(TaskFilter(lock=f"instance:{run.id}", limit=1))
        )
        operation = started[0].id if started else run.operation
        if operation is not None:
            self._instances.because(run.id, reason)
            await self._tasks.cancel(operation)
            return
        now = self._clock.now()
        stopped = dataclasses.replace(
            run,
            state=RunState.TERMINATED,
            ended_at=now,
            reason=reason or "stopped before it began",
            result=int(ErrorCode.SCHED_S_TASK_TERMINATED),
        )
        await self._store.end_run(stopped, None)

    async def pause_run(self, run: Run) -> None:
        """Pause an instance (``ITaskHandler::Pause``): its program, with all that it has started.

        Raises ``ScheduleError`` (0x8004130B) where it does nothing here, ``NotSupported`` (0x80004001) for
        an operation that cannot stand still.
        """
        await self._work_of(run).pause()

    async def resume_run(self, run: Run) -> None:
        """Resume an instance (``ITaskHandler::Resume``); raises as ``pause_run``."""
        await self._work_of(run).resume()

    def _work_of(self, run: Run) -> Pausable:
        work = self._instances.work_of(run.id)
        if work is None:
            raise not_running(run.id)
        return work

    async def state(self, task: Registered) -> TaskState:
        """What a task is doing (``State``)."""
        live = {run.state for run in await self._store.runs(task.id, live=True)}
        if RunState.RUNNING in live or RunState.CLAIMED in live:
            return TaskState.RUNNING
        if live:
            return TaskState.QUEUED
        return TaskState.READY if task.enabled else TaskState.DISABLED

    async def history(self, task: Registered, *, live: bool | None = None) -> Sequence[Run]:
        """The instances of a task, newest first (``GetInstances``, and those that ended)."""
        return await self._store.runs(task.id, live=live)

    async def instance(self, identifier: str) -> tuple[Run, Registered]:
        """A live instance and its task (``IRunningTask``). Raises ``ScheduleError`` (0x8004130B)."""
        run = await self._store.run(identifier.upper())
        task = None if run is None else await self._store.get(run.task_id)
        if run is None or task is None or not run.state.is_live:
            raise not_running(identifier)
        return run, task

    async def search(
        self, wanted: RunFilter, *, before: int | None = None, limit: int
    ) -> Sequence[tuple[int, Run, Registered | None]]:
        """The instances that are wanted, newest first: with their numbers, lower than ``before``, and tasks.

        ``None`` for a task that has just been deleted.
        """
        found = await self._store.search(wanted, before=before, limit=limit)
        tasks = {task_id: await self._store.get(task_id) for task_id in {run.task_id for _, run in found}}
        return [(number, run, tasks[run.task_id]) for number, run in found]

    # Machinery

    async def _carry(self, context: RunningTask, argument: Mapping[str, Json]) -> None:
        try:
            await self._instances.carry(context, argument)
        finally:
            if argument.get("wake", True):
                # Another instance of the task may have waited for this one.
                self.wake()

    def _claim(self, task: Registered, now: dt.datetime, calendars: Mapping[str, NamedCalendar]) -> Claim:
        definition = definition_of(task)
        return due.claim(task, definition, now, home=self._home, calendars=calendars)

    async def _claim_unless_expired(
        self, task: Registered, now: dt.datetime, calendars: Mapping[str, NamedCalendar]
    ) -> Claim | None:
        """Claim a task's due starts, or delete it where it has expired."""
        try:
            claim = self._claim(task, now, calendars)
        except Exception as exc:  # it is looked at again later, and leaves the other tasks alone
            _log.error("scheduler.task_failed", path=str(task.path), traceback=traceback_of(exc))
            return _postponed(task, now)
        return None if await self._delete_expired(task, calendars) else claim

    async def _begin_all(self, runs: Sequence[Run], tasks: Mapping[int, Registered]) -> None:
        """Begin what was claimed: of one task in its order, of different ones together."""
        by_task: dict[int, list[Run]] = {}
        for run in runs:
            if run.state is RunState.CLAIMED:
                by_task.setdefault(run.task_id, []).append(run)

        async def begin(task_id: int) -> None:
            with _alone(task_id):
                for run in by_task[task_id]:
                    await self._begin(run, tasks[task_id])

        await asyncio.gather(*(begin(task_id) for task_id in by_task))

    async def _begin(self, run: Run, task: Registered, *, unconditional: bool = False) -> Run:
        """Start an instance, or apply the task's instances policy."""
        policy = definition_of(task).settings.multiple_instances
        if policy is InstancesPolicy.PARALLEL:
            return await self._operate(run, task, unconditional=unconditional)
        async with self._turns.setdefault(task.id, asyncio.Lock()):
            return await self._begin_by_policy(run, task, policy, unconditional=unconditional)

    async def _begin_by_policy(
        self, run: Run, task: Registered, policy: InstancesPolicy, *, unconditional: bool
    ) -> Run:
        others = [each for each in await self._store.runs(task.id, live=True) if each.id != run.id]
        running = [each for each in others if each.state is not RunState.QUEUED]
        if running and policy is InstancesPolicy.IGNORE_NEW:
            return await self._skip(run, "another instance runs")
        if running and policy is InstancesPolicy.QUEUE:
            if len(others) - len(running) >= _LONGEST_QUEUE:
                return await self._skip(run, f"{_LONGEST_QUEUE} instances wait already")
            return await self._put(
                dataclasses.replace(run, state=RunState.QUEUED, reason="another instance runs")
            )
        if policy is InstancesPolicy.STOP_EXISTING:
            for each in running:
                await self.stop_run(each)
        # The next start of this task is to see it.
        await self._store.put_run(run, lazily=True)
        return await self._operate(run, task, unconditional=unconditional)

    async def _operate(self, run: Run, task: Registered, *, unconditional: bool) -> Run:
        settings = definition_of(task).settings
        wake = settings.multiple_instances is InstancesPolicy.QUEUE or bool(
            settings.delete_expired_task_after
        )
        given = self._instances.intend(run, task)
        try:
            operation = await self._tasks.start(
                KIND,
                f"Run {task.path}",
                {**given, "unconditional": unconditional, "wake": wake},
                lock=f"instance:{run.id}",
                owner=task.owner,
                cancel_effect=CancelEffect.STOPS_RESUMABLE,
            )
        except MachineBusy as held:  # it was started, and the crash came before that was written here
            return dataclasses.replace(run, operation=held.task_id)
        return self._instances.begin(run, task, operation.id)

    async def _skip(self, run: Run, reason: str) -> Run:
        skipped = dataclasses.replace(
            run,
            state=RunState.SKIPPED,
            reason=reason,
            result=int(ErrorCode.SCHED_E_ALREADY_RUNNING),
            ended_at=self._clock.now(),
        )
        await self._store.put_run(skipped, lazily=True)
        return skipped

    async def _put(self, run: Run) -> Run:
        await self._store.put_run(run)
        return run

    async def _start_claimed(self) -> None:
        """Start what a crash left claimed, and what has waited long enough."""
        now = self._clock.now()
        ready: dict[int, list[Run]] = {}
        for run in await self._store.waiting():
            is_due = run.state is RunState.CLAIMED or (run.state is RunState.QUEUED and run.due <= now)
            if is_due and run.id not in self._beginning:
                ready.setdefault(run.task_id, []).append(run)

        async def begin(task_id: int) -> None:
            with _alone(task_id):
                for run in ready[task_id]:
                    await self._adopt_or_begin(run)

        await asyncio.gather(*(begin(task_id) for task_id in ready))

    async def _adopt_or_begin(self, run: Run) -> None:
        started = await self._tasks.list(TaskFilter(live=True, lock=f"instance:{run.id}", limit=1))
        if started:
            # It may be at its end by now: its operation is all that is news.
            await self._store.set_operation(run.id, started[0].id)
            return
        task = await self._store.get(run.task_id)
        if task is not None and await self._is_ours(task):
            await self._begin(run, task)

    async def _delete_expired(self, task: Registered, calendars: Mapping[str, NamedCalendar]) -> bool:
        """Delete an expired task whose settings ask for it (``DeleteExpiredTaskAfter``)."""
        definition = definition_of(task)
        plan = definition.plan(zone=self._home, calendars=calendars)
        expiry = due.expires_at(definition, plan)
        if (
            expiry is None
            or expiry > self._clock.now()
            or await self._store.runs(task.id, live=True, limit=1)
        ):
            return False
        _log.info("scheduler.task_expired", path=str(task.path))
        await self._store.remove(task.id)
        return True

    async def _until_next(self, now: dt.datetime) -> float:
        ahead = await self._store.due(now + dt.timedelta(seconds=_LONGEST_SLEEP), 1, after=(now, _LAST_ID))
        moments = [task.next_due for task in ahead if task.next_due is not None]
        moments += [run.due for run in await self._store.waiting() if run.state is RunState.QUEUED]
        later = [moment for moment in moments if moment > now]
        if not later:
            return _LONGEST_SLEEP
        return min((min(later) - self._clock.now()).total_seconds(), _LONGEST_SLEEP)

    async def _sleep(self, seconds: float) -> None:
        """Sleep until woken or the time is over."""
        await self._awake.wait_within(self._clock, max(seconds, 0.0))


@contextlib.contextmanager
def _alone(task_id: int) -> Iterator[None]:
    """Isolate one task's failure from the others; what was claimed is begun at the next look."""
    try:
        yield
    except Exception as exc:
        _log.error("scheduler.task_failed", task_id=task_id, traceback=traceback_of(exc))


def _postponed(task: Registered, now: dt.datetime) -> Claim:
    """Return the claim of a task that cannot be looked at now: nothing is started, nothing missed."""
    later = now + _POSTPONED
    return Claim(seen=task, handled_until=task.handled_until, next_due=later, missed_runs=0)


def not_running(identifier: str) -> ScheduleError:
    """Return the error for an instance that has ended, or does not exist."""
    return ScheduleError(
        f"No instance {identifier[:64]} is running.",
        code=ErrorCode.SCHED_E_TASK_NOT_RUNNING,
        advice="See the task's history for how it ended.",
        value=identifier[:64],
    )


def _lost_end(run: Run, now: dt.datetime) -> Run:
    return dataclasses.replace(
        run,
        state=RunState.INTERRUPTED,
        ended_at=now,
        result=int(ErrorCode.SCHED_S_TASK_TERMINATED),
        reason="its result could not be stored; see its operation",
    )


def _check_start(
    task: Registered,
    definition: TaskDefinition,
    arguments: Sequence[str],
    flags: TaskRunFlags,
    session: int,
) -> None:
    if len(arguments) > MOST_ARGUMENTS:
        raise InvalidArgument(f"A start takes {MOST_ARGUMENTS} arguments at most.")
    if flags & TaskRunFlags.USE_SESSION_ID and session <= 0:
        raise InvalidArgument(f"{session} is not a session.")
    if not task.enabled:
        raise ScheduleError(
            f"{task.path} is disabled.",
            code=ErrorCode.SCHED_E_TASK_DISABLED,
            advice="Enable it first.",
        )
    if not definition.settings.allow_demand_start:
        raise ScheduleError(
            f"{task.path} may not be started by hand.",
            code=ErrorCode.SCHED_E_START_ON_DEMAND,
            advice="Set AllowStartOnDemand in its settings.",
        )
