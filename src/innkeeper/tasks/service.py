"""Start, follow, cancel and remember tasks."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Final, TypeVar

import structlog

from innkeeper.errors import (
    ErrorCode,
    HypervisorError,
    InnkeeperError,
    InvalidArgument,
    MachineBusy,
    NewerVersion,
    ServiceError,
    TaskNotCancelable,
)
from innkeeper.tasks import patience
from innkeeper.tasks.clock import SystemClock
from innkeeper.tasks.context import TaskContext
from innkeeper.tasks.ending import SUCCESS, Ending, ending_of
from innkeeper.tasks.events import task_changed, task_created, task_ended, task_logged
from innkeeper.tasks.outcome import LeftUnfinished, as_json, traceback_of
from innkeeper.tasks.ports import (
    NO_WORDS,
    Clock,
    Engine,
    LastWords,
    LockHeld,
    MayCarry,
    Steps,
    TaskStore,
    any_host,
)
from innkeeper.tasks.running import Work
from innkeeper.tasks.supervision import Loops
from innkeeper.tasks.task import (
    ANY_TASK,
    CancelEffect,
    LogLevel,
    LogLine,
    NewTask,
    Task,
    TaskFilter,
    TaskResult,
)
from innkeeper.tasks.waiting import within
from innkeeper.wire.events import Event, EventKind, Json, Publish

#: The longest documented time-out of ``WaitForCompletion``; −1 waits for ever.
MAX_WAIT_MS: Final = 4_000_000

#: The engine's word for a run that is a task.
_RUN_KIND: Final = "task"
#: Seconds between two looks for cancels that were asked for at another server.
_LOOK_INTERVAL: Final = 1.0
#: Seconds between two looks at a task of another server: its end is told, unless that server is killed then.
_SAFETY_INTERVAL: Final = 5.0
_PURGE_INTERVAL: Final = 3600.0
#: Tasks whose cancel somebody waits for, at whichever server.
_TO_CANCEL: Final = TaskFilter(live=True, cancel_requested=True, limit=10_000)
#: How many tasks are read at once where all are wanted.
_PAGE: Final = 1000
#: Seconds between two attempts to write a task's end.
_LONGEST_PAUSE: Final = 30.0

_log = structlog.get_logger(__name__)

T = TypeVar("T")

#: What keeps the events of other servers coming.
UpToDate = Callable[[], contextlib.AbstractAsyncContextManager[object]]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Retention:
    """How long ended tasks stay in the history."""

    #: Since they ended.
    age: dt.timedelta = dt.timedelta(days=365)
    #: How many ended tasks at most.
    count: int = 100_000


class Tasks:
    """Every running operation of the service, and the history of those that ended."""

    def __init__(
        self,
        *,
        store: TaskStore,
        engine: Engine,
        clock: Clock,
        publish: Publish,
        retention: Retention = Retention(),
        shared: bool = False,
        may_carry: MayCarry = any_host,
        loops: Loops | None = None,
        up_to_date: UpToDate = contextlib.AsyncExitStack,
        pace: Clock | None = None,
    ) -> None:
        """``shared``: other servers work on the same store, and a cancel may be asked for at any of them.

        ``up_to_date``: while it is entered, ``on_event_elsewhere`` is given their events.
        ``may_carry``: which hosts are this server's, whose tasks it takes up at its launch. ``pace`` is the
        clock of looks for cancels: by a simulated one that goes fast they would never end.
        """
        self._pace = pace or SystemClock()
        self._loops = loops or Loops(clock)
        self._store = store
        self._engine = engine
        self._clock = clock
        self._publish = publish
        self._retention = retention
        self._shared = shared
        self._up_to_date_with_others = up_to_date
        self._may_carry = may_carry
        self._works: dict[str, Work] = {}
        self._stepless: set[str] = set()
        #: Tasks that were started here and have not begun yet, with their arguments: not to be read again.
        self._fresh: dict[int, tuple[Task, Mapping[str, Json]]] = {}
        self._contexts: dict[int, TaskContext] = {}
        self._endings: dict[int, asyncio.Event] = {}
        self._watching: list[asyncio.Task[None]] = []
        engine.register(_RUN_KIND, self._run)

    def register(self, kind: str, work: Work, *, stepless: bool = False) -> None:
        """Register the work for tasks of ``kind``. Before ``launch``.

        ``stepless`` work takes no steps and has no journal but the task itself, which costs two writes and
        no thread: for what is short and many. After a crash it is begun again from the start, and told so
        (``RunningTask.resumed``); what it has done by then, it must know itself.
        """
        self._works[kind] = work
        if stepless:
            self._stepless.add(kind)

    async def launch(self) -> None:
        """Take up every task of this server that a crash left unfinished, and start those it left unstarted.

        What works on a host goes with that host, whichever server began it.
        """
        ours = [task for task in await self._all_live() if self._is_ours(task)]
        await self._claim(ours)
        await self._engine.launch(self._may_carry)
        await self._take_up(ours)
        self._watching.append(self._loops.start("history retention", self._purge_for_ever))
        if self._shared:
            self._watching.append(self._loops.start("cancels of other servers", self._hear_cancels))

    async def take_over(self, hosts: Collection[str]) -> None:
        """Take up the unfinished tasks of hosts that have become this server's, whoever began them.

        For when their former server can act no more: see ``Engine.take_over``.
        """
        live = [task for host in hosts for task in await self._all_live(host)]
        await self._claim(live)
        await self._engine.take_over(hosts)
        await self._take_up(live)

    async def let_go(self, hosts: Collection[str]) -> None:
        """Stop the tasks of hosts that are this server's no more; they stay live, for the next owner."""
        await self._engine.let_go(hosts)

    async def close(self) -> None:
        """Stop; what is unfinished goes on at the next launch."""
        for watch in self._watching:
            watch.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)
        await self._engine.close()

    async def start(
        self,
        kind: str,
        description: str,
        argument: Mapping[str, Json],
        *,
        lock: str | None = None,
        host: str | None = None,
        about: str = "",
        parent_id: int | None = None,
        owner: str = "innkeeper",
        cancel_effect: CancelEffect = CancelEffect.BACK_TO_START,
    ) -> Task:
        """Write the task down, then run it. Raises ``MachineBusy`` naming the task that holds ``lock``.

        ``host`` is the id of the host that it works on: with that host it goes to another server. ``about``
        is what people call that which it holds, where the lock does not say it. Raises ``HypervisorError``
        (ERROR_ONLY_IF_CONNECTED) where this server does not look after the host now.
        """
        if host and not self._may_carry(host):
            raise _not_ours(description)
        new = NewTask(
            kind=kind,
            description=description,
            argument=argument,
            lock=lock,
            about=about,
            parent_id=parent_id,
            owner=owner,
            cancel_effect=cancel_effect,
            host=host or None,
            server=self._engine.server,
            carrier=self._carrier_of(kind),
        )
        try:
            task = await self._store.create(new, self._clock.now())
        except LockHeld as held:
            raise await self._busy(held.task_id) from held
        self._publish(task_created(task))
        self._fresh[task.id] = task, _as_kept(argument)
        try:
            await self._start_run(task)
        except BaseException:  # it begins at the next launch; until then its end is not seen here
            self._fresh.pop(task.id, None)
            raise
        return task

    async def refuse_held(self, lock: str) -> None:
        """Raises ``MachineBusy``, naming the task, where a live one holds the lock."""
        held = await self._store.list(TaskFilter(live=True, lock=lock, limit=1))
        if held:
            raise await self._busy(held[0].id)

    async def get(self, task_id: int) -> Task:
        """The task as it is now. Raises ``TaskNotFound``."""
        return self._up_to_date(await self._store.get(task_id))

    async def list(self, wanted: TaskFilter = ANY_TASK) -> Sequence[Task]:
        """The tasks that the filter admits, newest first."""
        found = await self._store.list(wanted)
        return [self._up_to_date(task) for task in found]

    async def log(self, task_id: int, *, after: int = 0, limit: int = 1000) -> Sequence[LogLine]:
        """The lines of the task's log numbered above ``after``. Raises ``TaskNotFound``."""
        return await self._store.log(task_id, after=after, limit=limit)

    async def cancel(self, task_id: int) -> None:
        """Ask for a cancel (``IVMTask::Cancel``). Raises ``TaskNotCancelable`` (0x80004005)."""
        if not await self._store.request_cancel(task_id):
            raise _not_cancelable(await self._store.get(task_id))
        context = self._contexts.get(task_id)
        if context is not None:
            context.cancel()
        else:
            if task_id in self._fresh:  # it begins cancelled
                task, argument = self._fresh[task_id]
                self._fresh[task_id] = dataclasses.replace(task, cancel_requested=True), argument
            self._publish(task_changed(await self._store.get(task_id), self._clock.now()))

    async def wait(self, task_id: int, timeout: float | None = None) -> bool:
        """Whether the task ended within ``timeout`` seconds."""
        deadline = None if timeout is None else self._clock.monotonic() + timeout
        if self._is_here(task_id):
            return await self._wait_until(task_id, deadline)
        if (await self._store.get(task_id)).is_complete:
            return True
        async with self._up_to_date_with_others():
            return await self._wait_until(task_id, deadline)

    def on_event_elsewhere(self, event: Event) -> None:
        """Note the end of a task on another server."""
        if event.kind is EventKind.TASK_ENDED:
            self._note_end(int(event.subject))

    async def wait_for_completion(self, task_id: int, timeout_ms: int) -> None:
        """As ``IVMTask::WaitForCompletion``: −1 for ever, or 0 to 4,000,000; running out is no error.

        Raises ``InvalidArgument`` for any other time-out.
        """
        if timeout_ms != -1 and not 0 <= timeout_ms <= MAX_WAIT_MS:
            raise InvalidArgument(
                f"A task cannot be waited for {timeout_ms} ms.",
                advice=f"Give 0 to {MAX_WAIT_MS:,} ms, or -1 to wait for ever.",
            )
        await self.wait(task_id, None if timeout_ms == -1 else timeout_ms / 1000)

    async def purge(self) -> int:
        """Forget what the retention no longer asks to keep; returns how many tasks."""
        before = self._clock.now() - self._retention.age
        await self._engine.purge(before)
        return await self._store.purge(before=before, keep=self._retention.count)

    # -- machinery ------------------------------------------------------------------------------------

    def _carrier_of(self, kind: str) -> str | None:
        return self._engine.incarnation if kind in self._stepless else None

    async def _start_run(self, task: Task) -> None:
        if task.kind in self._stepless:
            self._engine.carry(_key(task), _RUN_KIND, {"task": task.id}, host=task.host)
        else:
            await self._engine.start(_key(task), _RUN_KIND, {"task": task.id}, host=task.host)

    def _is_ours(self, task: Task) -> bool:
        """Whether this server goes on with it; a task of before there were several is whoever's finds it."""
        if task.host is not None:
            return self._may_carry(task.host)
        return task.server in (None, self._engine.server)

    async def _claim(self, live: Sequence[Task]) -> None:
        """Make journalled tasks ours, before their runs: from here on no former server can end them."""
        ids = [task.id for task in live if task.kind not in self._stepless]
        await self._store.adopt(ids, server=self._engine.server, carrier=None)

    async def _take_up(self, live: Sequence[Task]) -> None:
        """Go on with live tasks of ours that are not carried here; their runs the engine has taken up."""
        elsewhere = [task for task in live if not self._is_here(task.id)]
        await self._adopt_stepless([task for task in elsewhere if task.kind in self._stepless])
        await self._adopt_journalled([task for task in elsewhere if task.kind not in self._stepless])

    async def _adopt_stepless(self, found: Sequence[Task]) -> None:
        """Begin stepless work again that ended with its server's life."""
        ids = [task.id for task in found]
        engine = self._engine
        for task in await self._store.adopt(ids, server=engine.server, carrier=engine.incarnation):
            engine.carry(_key(task), _RUN_KIND, {"task": task.id, "resumed": True}, host=task.host)

    async def _adopt_journalled(self, found: Sequence[Task]) -> None:
        running = set(await self._engine.unfinished())
        unstarted = [task for task in found if _key(task) not in running]
        for task in unstarted:
            await self._start_run(task)
        await self._end_abandoned(unstarted)

    async def _wait_until(self, task_id: int, deadline: float | None) -> bool:
        ended = self._endings.setdefault(task_id, asyncio.Event())
        # The event comes first and the look second: an end in between is seen by one of them.
        while not ended.is_set() and (self._is_here(task_id) or not await self._has_ended(task_id)):
            timeout_seconds = None if deadline is None else deadline - self._clock.monotonic()
            if timeout_seconds is not None and timeout_seconds <= 0:
                return False
            await self._either(
                ended, timeout_seconds if self._is_here(task_id) else _shorter(timeout_seconds)
            )
        self._endings.pop(task_id, None)
        return True

    def _note_end(self, task_id: int) -> None:
        """Wake who waits for a task that has ended."""
        ending_event = self._endings.pop(task_id, None)
        if ending_event is not None:
            ending_event.set()

    def _is_here(self, task_id: int) -> bool:
        """Whether its end will be seen here, the moment it comes."""
        return task_id in self._contexts or task_id in self._fresh

    async def _has_ended(self, task_id: int) -> bool:
        return (await self._store.get(task_id)).is_complete

    async def _run(self, key: str, argument: Mapping[str, Json], steps: Steps) -> Json:
        """Do the work of one task and end it: the body of every run."""
        with patience.endless():  # who asked for it has gone on
            return await self._run_patiently(argument, steps)

    async def _run_patiently(self, argument: Mapping[str, Json], steps: Steps) -> Json:
        task_id = argument["task"]
        assert isinstance(task_id, int)
        fresh = self._fresh.get(task_id)
        task, given = fresh or (await self._store.get(task_id), await self._store.argument(task_id))
        if task.is_complete:
            # The crash came between the task's end and the run's, and nobody may have been told.
            self._publish(task_ended(task, self._clock.now()))
            return None
        context = TaskContext(
            task,
            steps,
            store=self._store,
            clock=self._clock,
            publish=self._publish,
            resumed=bool(argument.get("resumed")),
        )
        self._contexts[task.id] = context
        self._fresh.pop(task_id, None)
        try:
            await self._end(context, await self._work(context, given))
        finally:
            # Also when the service closes: what was reported must not be lost.
            await context.close()
            self._contexts.pop(task.id, None)
        return None

    async def _work(self, context: TaskContext, argument: Mapping[str, Json]) -> Ending:
        work = self._works.get(context.task.kind)
        if work is None:
            return _unknown(context.task)
        try:
            await work(context, argument)
        except (NewerVersion, LeftUnfinished) as left:
            context.log(str(left), LogLevel.WARNING)
            raise
        except Exception as exc:  # the top of a task: whatever its work raises is how it ended
            ending = ending_of(exc, context.task.cancel_effect)
            if ending.result is TaskResult.THREAD_CRASH_ERROR:
                context.log(traceback_of(exc), LogLevel.ERROR)
            return ending
        context.complete()
        return SUCCESS

    async def _end(self, context: TaskContext, ending: Ending) -> None:
        words = await context.last_words()
        await self._write_end(context.task, ending, words)
        if context.closing is not None:
            await context.closing

    async def _write_end(self, task: Task, ending: Ending, words: LastWords) -> None:
        ended = dataclasses.replace(
            task,
            result=ending.result,
            error=ending.error,
            error_description=ending.error_description,
            ended_at=self._clock.now(),
        )
        lines = await self._insist(
            lambda: self._store.end(
                task.id,
                result=ending.result,
                error=ending.error,
                error_description=ending.error_description,
                at=ended.ended_at or self._clock.now(),
                server=self._engine.server,
                words=words,
            )
        )
        for line in lines or ():
            self._publish(task_logged(line))
        if lines is not None or (await self._store.get(task.id)).ended_at == ended.ended_at:
            self._publish(task_ended(ended, self._clock.now()))
        else:
            _log.warning("task.end_left", task_id=task.id)
        # In one turn: who begins to wait from here on finds the end in the store, and waits for no event.
        self._contexts.pop(task.id, None)
        self._note_end(task.id)

    async def _insist(self, write: Callable[[], Awaitable[T]]) -> T:
        """Write what must be written, as soon as the store can: else a lock would stay held for nothing."""
        pause = 1.0
        while True:
            try:
                return await write()
            except ServiceError as exc:
                _log.warning("task.end_not_written", error=str(exc), again_in_seconds=pause)
            await self._clock.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _all_live(self, host: str | None = None) -> Sequence[Task]:
        """The tasks that have not ended, of one host or of all."""
        wanted = TaskFilter(live=True, host=host, limit=_PAGE)
        live: list[Task] = []
        page = await self._store.list(wanted)
        while page:
            live.extend(page)
            page = await self._store.list(dataclasses.replace(wanted, before_id=page[-1].id))
        return live

    async def _end_abandoned(self, started: Sequence[Task]) -> None:
        """End the tasks that could not be started as their runs are over: their ending was never written."""
        running = set(await self._engine.unfinished()) if started else set()
        for task in started:
            if _key(task) not in running and not (await self._store.get(task.id)).is_complete:
                _log.warning("task.abandoned", task_id=task.id)
                await self._write_end(task, _abandoned(), NO_WORDS)

    def _up_to_date(self, task: Task) -> Task:
        """``task`` with the progress that is not written yet."""
        context = self._contexts.get(task.id)
        if context is None or task.is_complete:
            return task
        return dataclasses.replace(task, progress=context.task.progress)

    async def _busy(self, task_id: int) -> MachineBusy:
        holder = await self._store.get(task_id)
        return MachineBusy(
            f"{holder.about} is busy: task {task_id} ({holder.description}) holds it.",
            machine=holder.about,
            task_id=task_id,
            advice=f"Wait for it (innkeeper task watch {task_id}) or cancel it.",
        )

    async def _either(self, ended: asyncio.Event, seconds: float | None) -> None:
        """Return when the event is set, or after ``seconds`` of the injected clock."""
        if seconds is None:
            await ended.wait()
        else:
            await within(self._clock, seconds, ended.wait())

    async def _hear_cancels(self) -> None:
        """Pass on cancels that were asked for at another server to the work done here."""
        while True:
            await self._pace.sleep(_LOOK_INTERVAL)
            try:
                asked = await self._store.list(_TO_CANCEL) if self._contexts else ()
            except ServiceError as exc:
                _log.warning("tasks.look_failed", error=str(exc))
                continue
            for task in asked:
                if task.id in self._contexts:
                    self._contexts[task.id].cancel()

    async def _purge_for_ever(self) -> None:
        while True:
            try:
                await self.purge()
            except Exception as exc:  # the history can be purged an hour later
                _log.warning("tasks.purge_failed", traceback=traceback_of(exc))
            await self._clock.sleep(_PURGE_INTERVAL)


def _not_ours(description: str) -> HypervisorError:
    return HypervisorError(
        f"“{description}” was not begun: this server does not look after the host now.",
        code=ErrorCode.ERROR_ONLY_IF_CONNECTED,
        advice="innkeeper server list shows which server does; try again in half a minute.",
    )


def _key(task: Task) -> str:
    """The run's key: of this very task, also when a lost store begins to count from 1 again."""
    return f"task-{task.id}-{task.created_at:%Y%m%dT%H%M%S.%f}"


def _as_kept(argument: Mapping[str, Json]) -> Mapping[str, Json]:
    kept = as_json(argument)
    assert isinstance(kept, Mapping)
    return kept


def _shorter(timeout_seconds: float | None) -> float:
    return _SAFETY_INTERVAL if timeout_seconds is None else min(timeout_seconds, _SAFETY_INTERVAL)


def _unknown(task: Task) -> Ending:
    return ending_of(
        InnkeeperError(
            f"This version of Innkeeper does not know tasks of the kind {task.kind!r}.",
            code=ErrorCode.E_NOTIMPL,
            advice="Start it again, or go back to the version that began it.",
        ),
        task.cancel_effect,
    )


def _abandoned() -> Ending:
    return ending_of(
        InnkeeperError(
            "The task ended, but its result could not be stored.",
            code=ErrorCode.E_UNEXPECTED,
            advice="Check what it worked on before you start it again.",
        ),
        CancelEffect.NONE,
    )


def _not_cancelable(task: Task) -> TaskNotCancelable:
    if task.is_complete:
        return TaskNotCancelable(f"Task {task.id} ({task.description}) has ended already.")
    return TaskNotCancelable(
        f"Task {task.id} ({task.description}) is past the point where it could be cancelled.",
        advice="Wait until it ends.",
    )
