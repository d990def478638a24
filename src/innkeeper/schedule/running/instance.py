"""One instance of a task, from its conditions to its result."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import functools
from collections.abc import Awaitable, Coroutine, Mapping, Sequence

from innkeeper.errors import ErrorCode, InnkeeperError
from innkeeper.schedule.duration import Duration
from innkeeper.schedule.model.definition import TaskDefinition
from innkeeper.schedule.model.settings import TaskSettings
from innkeeper.schedule.ports import Accounts, Conditions, Messages, ScheduleStore, Secrets, Starts
from innkeeper.schedule.registered import Registered, Run, RunState
from innkeeper.schedule.running.conditions import NOT_IDLE, Vigil, asks, unmet
from innkeeper.schedule.running.handlers import Handlers
from innkeeper.schedule.running.limits import Limits
from innkeeper.schedule.running.perform import Pausable, Setting, perform
from innkeeper.schedule.running.variables import of_arguments
from innkeeper.schedule.running.whom import account_of
from innkeeper.tasks.ports import Clock
from innkeeper.tasks.running import RunningTask, TaskCancelled
from innkeeper.tasks.task import LogLevel
from innkeeper.tasks.waiting import Outrun, unless
from innkeeper.wire.events import Json


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """Outcome of a try."""

    state: RunState
    result: int
    reason: str = ""
    #: Whether ``RestartOnFailure`` counts it as a failure.
    failed: bool = False


class Instances:
    """Runs instances: the work behind the operation of each."""

    def __init__(
        self,
        *,
        store: ScheduleStore,
        clock: Clock,
        accounts: Accounts,
        conditions: Conditions,
        handlers: Handlers,
        starts: Starts | None,
        secrets: Secrets | None = None,
        messages: Messages | None = None,
    ) -> None:
        """``starts`` is ``None`` where other servers share the store, as they cannot read it."""
        self._starts = starts
        #: Runs that were started here and not begun yet, with their tasks: not to be read again.
        self._given: dict[str, tuple[Run, Registered, Awaitable[object]]] = {}
        self._limits = Limits(clock)
        self._vigil = Vigil(conditions, clock)
        self._reasons: dict[str, str] = {}
        #: What each instance is doing, to pause it.
        self._under_way: dict[str, Pausable] = {}
        self._secrets = secrets
        self._messages = messages
        self._store = store
        self._clock = clock
        self._accounts = accounts
        self._conditions = conditions
        self._handlers = handlers

    async def carry(self, context: RunningTask, argument: Mapping[str, Json]) -> None:
        """Run an instance. Raises the error of its last try."""
        given = self._given.pop(str(argument["run"]), None)
        if given is not None:
            run, task, writing = given
        else:
            found = await self._read(argument)
            if found is None:
                return
            run, task = found
            if self._may_have_begun(run):
                await self._end(context, run, task, _INTERRUPTED)
                raise InnkeeperError(_INTERRUPTED.reason, code=ErrorCode.SCHED_S_TASK_TERMINATED)
            run = self._begun(run, context.id)
            writing = self._store.begin_run(run)
            await writing
        try:
            definition = definition_of(task)
            if run.reason:
                context.log(f"Started: {run.reason}.")
            unconditional = bool(argument.get("unconditional"))
            run, ending = await self._tries(context, run, task, definition, unconditional=unconditional)
        except Exception as crash:  # whatever broke, the history must not say that it still runs
            ending = Ending(state=RunState.FINISHED, result=ErrorCode.E_UNEXPECTED, reason=repr(crash))
            await writing
            await self._end(context, run, task, ending)
            raise
        await writing
        await self._end(context, run, task, ending)
        _raise(ending, context)

    def intend(self, run: Run, task: Registered) -> Mapping[str, Json]:
        """Return the argument of the operation that will carry this run, now or after a crash."""
        if self._starts is not None:
            self._starts.intend(run.id)
        return {
            "run": run.id,
            "task": task.id,
            "occurrence": run.occurrence,
            "due": run.due.isoformat(),
            "arguments": list(run.arguments),
            "run_as": run.run_as,
        }

    def begin(self, run: Run, task: Registered, operation: int) -> Run:
        """Hand over a run to the operation that has just been started for it, and has not begun yet."""
        begun = self._begun(run, operation)
        if self._starts is not None:
            # A kill shows by itself what has begun: the store need not say it first, and does meanwhile.
            self._given[run.id] = begun, task, self._store.begin_run(begun)
        return begun

    def _begun(self, run: Run, operation: int) -> Run:
        return dataclasses.replace(
            run, state=RunState.RUNNING, started_at=self._clock.now(), operation=operation
        )

    async def _read(self, argument: Mapping[str, Json]) -> tuple[Run, Registered] | None:
        """The run and its task as the store has them; a start by hand may not be written yet."""
        run = await self._store.run(str(argument["run"])) or _unwritten(argument)
        task = None if run is None else await self._store.get(run.task_id)
        return None if run is None or task is None or not run.state.is_live else (run, task)

    def _may_have_begun(self, run: Run) -> bool:
        if run.state is RunState.QUEUED and run.attempt > 1:
            return False  # it waits for its next try
        return run.state is RunState.RUNNING if self._starts is None else self._starts.may_have_begun(run.id)

    async def _tries(
        self,
        context: RunningTask,
        run: Run,
        task: Registered,
        definition: TaskDefinition,
        *,
        unconditional: bool,
    ) -> tuple[Run, Ending]:
        """Try, and retry as ``RestartOnFailure`` says."""
        settings = definition.settings
        while True:
            reason = "" if unconditional else await self._unmet(settings)
            if reason:
                ending = Ending(
                    state=RunState.SKIPPED,
                    result=ErrorCode.SCHED_E_TASK_ATTEMPTED,
                    reason=reason,
                    failed=True,
                )
            else:
                run, ending = await self._try(context, run, task, definition)
            if ending.reason == NOT_IDLE and definition.settings.idle_settings.restart_on_idle:
                run, again = await self._again_when_idle(context, run)
                if again:
                    continue
            if not ending.failed or run.attempt > settings.restart_count or settings.restart_interval is None:
                return run, ending
            pause = settings.restart_interval.nominal.total_seconds()
            context.log(
                f"Try {run.attempt} failed: {ending.reason}. The next is in {pause:.0f} s.", LogLevel.WARNING
            )
            run = dataclasses.replace(
                run, state=RunState.QUEUED, attempt=run.attempt + 1, reason=ending.reason
            )
            await self._store.put_run(run)
            if await _first(self._clock.sleep(pause), context.cancelled()):
                return run, self._stopped(run)
            run = self._begun(run, context.id)
            await self._store.put_run(run)

    async def _again_when_idle(self, context: RunningTask, run: Run) -> tuple[Run, bool]:
        """Wait until the computer is idle again (``RestartOnIdle``); whether the wait was not stopped."""
        context.log("Stopped, as the computer is not idle any more. It goes on when it is.", LogLevel.WARNING)
        run = dataclasses.replace(run, state=RunState.QUEUED, attempt=run.attempt + 1, reason=NOT_IDLE)
        await self._store.put_run(run)
        if await _first(self._vigil.until_idle(), context.cancelled()):
            return run, False
        run = self._begun(run, context.id)
        await self._store.put_run(run)
        return run, True

    def work_of(self, run_id: str) -> Pausable | None:
        """Return an instance's present work, to pause and resume it."""
        return self._under_way.get(run_id)

    def because(self, run_id: str, reason: str) -> None:
        """Record the reason of a stop that is about to come; a person's, where none is given."""
        self._reasons[run_id] = reason

    def _stopped(self, run: Run) -> Ending:
        reason = self._reasons.pop(run.id, "")
        return dataclasses.replace(_STOPPED, reason=reason) if reason else _STOPPED

    def _limit(self, definition: TaskDefinition, run: Run) -> dt.timedelta | None:
        """Return how long the instance may take: its limits, and the end of the pattern that started it."""
        limit = time_limit(definition, run.trigger)
        if run.ends_by is None:
            return limit
        left = max(run.ends_by - self._clock.now(), dt.timedelta(0))
        return left if limit is None else min(limit, left)

    async def _try(
        self, context: RunningTask, run: Run, task: Registered, definition: TaskDefinition
    ) -> tuple[Run, Ending]:
        """Do the actions in order, unless a limit or a cancel comes first."""
        limit = self._limit(definition, run)
        stopped: list[Ending] = []
        watching: asyncio.Task[None] | None = None
        try:
            async with asyncio.timeout(None) as scope:

                def stop(ending: Ending) -> None:
                    if not stopped:
                        stopped.append(ending)
                        scope.reschedule(0)

                context.on_cancel(lambda: stop(self._stopped(run)))
                if limit is not None:
                    self._limits.set(run.id, limit.total_seconds(), lambda: stop(_timed_out(limit)))
                if await self._vigil.wants(definition, run.trigger):
                    watching = asyncio.create_task(
                        self._vigil.keep(definition, run.trigger, lambda why: stop(_forbidden(why))),
                        name=f"conditions of {run.id}",
                    )
                return await self._actions(context, run, task, definition)
        except TimeoutError:
            if not stopped:
                raise
            return run, stopped[0]
        finally:
            context.on_cancel(lambda: None)
            self._limits.drop(run.id)
            self._under_way.pop(run.id, None)
            if watching is not None:
                watching.cancel()

    async def _actions(
        self, context: RunningTask, run: Run, task: Registered, definition: TaskDefinition
    ) -> tuple[Run, Ending]:
        ending = Ending(state=RunState.FINISHED, result=0)
        setting = await self._setting(context, run, task, definition)
        for number, action in enumerate(definition.actions, 1):
            run = dataclasses.replace(run, action=number)
            if definition.actions.count > 1:
                context.report(f"{action.tag} {number}", number=number, count=definition.actions.count)
            try:
                code = await perform(action, setting)
            except InnkeeperError as problem:
                context.log(problem.sentence, LogLevel.ERROR)
                ending = Ending(
                    state=RunState.FINISHED, result=problem.hresult, reason=problem.sentence, failed=True
                )
            else:
                failed = bool(code) and definition.extension.restart_on_exit_code
                reason = f"action {number} ended with {code}" if code else ""
                ending = Ending(state=RunState.FINISHED, result=code, reason=reason, failed=failed)
            if ending.result and definition.extension.stop_on_failure:
                break
        return run, ending

    async def _unmet(self, settings: TaskSettings) -> str:
        """Ask the computer only what the task wants to know: its answers come from files."""
        return await asyncio.to_thread(unmet, settings, self._conditions) if asks(settings) else ""

    async def _setting(
        self, context: RunningTask, run: Run, task: Registered, definition: TaskDefinition
    ) -> Setting:
        principal = definition.principal
        is_own = not run.run_as and principal.user_id is None and principal.group_id is None
        user = None if is_own else await asyncio.to_thread(account_of, definition, run.run_as, self._accounts)
        return Setting(
            context=context,
            handlers=self._handlers,
            values={**run.given, **of_arguments(run.arguments)},
            user=user,
            kill=definition.settings.allow_hard_terminate,
            priority=definition.settings.priority,
            under_way=lambda work: self._under_way.__setitem__(run.id, work),
            secrets=self._secrets,
            messages=self._messages,
            on_start=lambda: None if self._starts is None else self._starts.begin(run.id),
            sign=None if self._starts is None else self._starts.sign(run.id),
            machines=task.keys,
        )

    async def _end(self, context: RunningTask, run: Run, task: Registered, ending: Ending) -> None:
        """Write the run's end, together with that of the operation."""
        now = self._clock.now()
        run = dataclasses.replace(
            run, state=ending.state, result=ending.result, reason=ending.reason, ended_at=now
        )
        task = dataclasses.replace(task, last_run=run.started_at or now, last_result=ending.result)
        writing = self._store.end_run(run, task)
        context.end_with(writing)
        if self._starts is None:
            await writing  # elsewhere the two are written in the order they were asked for
        else:
            self._starts.forget(run.id)


@functools.lru_cache(maxsize=256)
def _parsed(xml: str) -> TaskDefinition:
    return TaskDefinition.from_xml(xml)


def definition_of(task: Registered) -> TaskDefinition:
    """The definition of a registered task, to read and not to change: it is shared."""
    return _parsed(task.xml)


def _unwritten(argument: Mapping[str, Json]) -> Run | None:
    """A start by hand that a kill kept from being written."""
    given, due = argument.get("arguments"), argument.get("due")
    if not isinstance(given, Sequence) or not isinstance(due, str):
        return None
    return Run(
        id=str(argument["run"]),
        task_id=int(str(argument["task"])),
        occurrence=str(argument["occurrence"]),
        trigger=0,
        due=dt.datetime.fromisoformat(due),
        state=RunState.CLAIMED,
        arguments=tuple(str(each) for each in given),
        run_as=str(argument.get("run_as", "")),
    )


_STOPPED = Ending(
    state=RunState.TERMINATED, result=ErrorCode.SCHED_S_TASK_TERMINATED, reason="stopped by a user"
)
_INTERRUPTED = Ending(
    state=RunState.INTERRUPTED,
    result=ErrorCode.SCHED_S_TASK_TERMINATED,
    reason="The service ended while the instance ran; the instance is not started again.",
)


def _timed_out(limit: dt.timedelta | None) -> Ending:
    return Ending(
        state=RunState.TERMINATED,
        result=ErrorCode.SCHED_S_TASK_TERMINATED,
        reason=f"stopped by its time limit of {limit}",
    )


def _forbidden(reason: str) -> Ending:
    return Ending(state=RunState.TERMINATED, result=ErrorCode.SCHED_S_TASK_TERMINATED, reason=reason)


def time_limit(definition: TaskDefinition, trigger: int) -> dt.timedelta | None:
    """The shorter of the task's limit and the trigger's; zero is none."""
    found: list[Duration | None] = [definition.settings.execution_time_limit]
    if 1 <= trigger <= definition.triggers.count:
        found.append(definition.triggers[trigger].execution_time_limit)
    return min((each.nominal for each in found if each is not None and not each.is_zero), default=None)


def _raise(ending: Ending, context: RunningTask) -> None:
    """End the operation as its instance ended."""
    if ending.state is RunState.TERMINATED and context.cancel_requested:
        raise TaskCancelled
    if ending.state is not RunState.FINISHED or ending.failed:
        raise InnkeeperError(f"The run failed: {ending.reason}.", code=_code(ending.result))
    if ending.result:
        raise InnkeeperError(f"The last action failed: {ending.reason}.", code=ErrorCode.E_FAIL)


def _code(result: int) -> ErrorCode:
    try:
        return ErrorCode(result)
    except ValueError:  # an exit code
        return ErrorCode.E_FAIL


async def _first(work: Coroutine[None, None, None], other: Coroutine[None, None, None]) -> bool:
    """Wait for either; whether the other came first."""
    try:
        await unless(work, other)
    except Outrun:
        return True
    return False
