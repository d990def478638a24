"""Run bodies on a journal in memory, and stop the world at any step of it."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import types
import uuid
from collections.abc import Awaitable, Callable, Collection, Coroutine, Generator, Mapping, Sequence
from functools import partial

import structlog

from innkeeper.tasks.clock import SystemClock
from innkeeper.tasks.outcome import (
    INTERRUPTED,
    JournalMismatch,
    Record,
    StepTurn,
    as_json,
    attempt,
    replay,
    traceback_of,
)
from innkeeper.tasks.ports import Body, Clock, MayCarry, any_host
from innkeeper.tasks.unjournalled_steps import UnjournalledSteps
from innkeeper.wire.events import Json

_log = structlog.get_logger(__name__)


@dataclasses.dataclass(kw_only=True, slots=True)
class MemoryRun:
    """One run's part of the journal."""

    key: str
    kind: str
    argument: Json
    #: The host that it works on.
    host: str | None = None
    #: Name and record of each step done, in order.
    steps: list[tuple[str, Record]] = dataclasses.field(default_factory=list)
    ended_at: dt.datetime | None = None


class MemoryJournal:
    """What outlives a killed ``MemoryEngine``: give it to the next one."""

    def __init__(self) -> None:
        self.runs: dict[str, MemoryRun] = {}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class StepMoment:
    """A moment just before a step's action, or just after its result was recorded."""

    key: str
    kind: str
    #: The step's number in its run, from 1.
    number: int
    name: str
    #: Whether the step is done and recorded.
    done: bool


#: Is told of every moment; it may ``kill`` the engine, which stops the world right there.
StepHook = Callable[[StepMoment], Awaitable[None]]


class MemoryEngine:
    """An ``Engine`` whose journal is in memory.

    ``kill`` does what kill -9 does: no run takes another step, and no ``finally`` of theirs is reached.
    A new engine on the same journal takes them up at its ``launch``.
    """

    def __init__(
        self,
        journal: MemoryJournal | None = None,
        *,
        clock: Clock | None = None,
        on_step: StepHook | None = None,
    ) -> None:
        self.journal = MemoryJournal() if journal is None else journal
        self.on_step = on_step
        self._clock = SystemClock() if clock is None else clock
        self._bodies: dict[str, Body] = {}
        self._live: dict[str, asyncio.Task[None]] = {}
        #: The hosts of what is live.
        self._hosts: dict[str, str | None] = {}
        self._incarnation = uuid.uuid4().hex
        self._launched = False
        self._world = _World()

    def register(self, kind: str, body: Body) -> None:
        """Register the body of runs of ``kind``."""
        self._bodies[kind] = body

    async def launch(self, may_carry: MayCarry = any_host) -> None:
        """Take up every run that was left unfinished."""
        self._launched = True
        self._take_up(lambda run: run.host is None or may_carry(run.host))

    async def start(
        self, key: str, kind: str, argument: Mapping[str, Json], *, host: str | None = None
    ) -> None:
        """Start a run once: a second start with the same key does nothing."""
        if key in self.journal.runs:
            return
        run = MemoryRun(key=key, kind=kind, argument=as_json(argument), host=host)
        self.journal.runs[key] = run
        if self._launched:
            self._run(run)

    def carry(self, key: str, kind: str, argument: Mapping[str, Json], *, host: str | None = None) -> None:
        """Run a body without a journal."""
        self._begin(key, host, self._do_unjournalled(key, kind, argument))

    async def take_over(self, hosts: Collection[str]) -> None:
        """Take up the unfinished runs of these hosts."""
        self._take_up(lambda run: run.host in hosts)

    async def let_go(self, hosts: Collection[str]) -> None:
        """Stop the runs of these hosts, and leave them unfinished."""
        live = [task for key, task in self._live.items() if self._hosts[key] in hosts]
        for task in live:
            task.cancel()
        if live:
            await asyncio.wait(live)

    @property
    def server(self) -> str:
        """There is no other server."""
        return "memory"

    @property
    def incarnation(self) -> str:
        """The name of this life of the server."""
        return self._incarnation

    async def unfinished(self) -> Sequence[str]:
        """The keys of the runs that have not ended."""
        return [run.key for run in self.journal.runs.values() if run.ended_at is None]

    async def purge(self, before: dt.datetime) -> int:
        """Forget the runs that ended before; returns how many."""
        old = [r.key for r in self.journal.runs.values() if r.ended_at is not None and r.ended_at < before]
        for key in old:
            del self.journal.runs[key]
        return len(old)

    async def close(self) -> None:
        """Stop taking steps; unfinished runs go on at the next launch."""
        self._launched = False
        live = list(self._live.values())
        for task in live:
            task.cancel()
        if live:
            await asyncio.wait(live)

    def kill(self) -> None:
        """Stop the world, as kill -9 does."""
        self._launched = False
        self._world.stopped = True
        self._world.bystanders = asyncio.all_tasks()

    def _take_up(self, wanted: Callable[[MemoryRun], bool]) -> None:
        for run in self.journal.runs.values():
            if run.ended_at is None and run.key not in self._live and wanted(run):
                self._run(run)

    def _run(self, run: MemoryRun) -> None:
        self._begin(run.key, run.host, self._serve(run))

    def _begin(self, key: str, host: str | None, body: Coroutine[object, object, None]) -> None:
        live = asyncio.create_task(_freezing(body, self._world), name=f"run {key}")
        self._live[key], self._hosts[key] = live, host
        live.add_done_callback(lambda _: self._forget(key))

    def _forget(self, key: str) -> None:
        self._live.pop(key, None)
        self._hosts.pop(key, None)

    async def _serve(self, run: MemoryRun) -> None:
        assert isinstance(run.argument, Mapping)
        body = partial(self._bodies[run.kind], run.key, run.argument, _MemorySteps(self, run))
        _, error = await attempt(body)
        run.ended_at = self._clock.now()
        if error is not None:
            _log.error("engine.run_broke", key=run.key, kind=run.kind, traceback=traceback_of(error))

    async def _do_unjournalled(self, key: str, kind: str, argument: Mapping[str, Json]) -> None:
        _, error = await attempt(partial(self._bodies[kind], key, argument, UnjournalledSteps()))
        if error is not None:
            _log.error("engine.run_broke", key=key, kind=kind, traceback=traceback_of(error))

    async def notify(self, run: MemoryRun, name: str, number: int, *, done: bool) -> None:
        """Call the hook at a moment of a step."""
        if self.on_step is not None:
            await self.on_step(StepMoment(key=run.key, kind=run.kind, number=number, name=name, done=done))
        await self.stand_still_if_killed()

    async def stand_still_if_killed(self) -> None:
        """Never return once the world has stopped."""
        if self._world.stopped:
            await asyncio.get_running_loop().create_future()


class _MemorySteps:
    """The journal of one run (``Steps``)."""

    def __init__(self, engine: MemoryEngine, run: MemoryRun) -> None:
        self._engine = engine
        self._run = run
        self._taken = 0
        self._turn = StepTurn()
        self._interrupted: str | None = None

    async def run(self, name: str, action: Callable[[], Awaitable[Json]]) -> Json:
        """Do ``action`` and record its result, or return the result recorded before a crash."""
        async with self._turn:
            self._settle_interrupted()
            number = self._taken = self._taken + 1
            if number <= len(self._run.steps):
                return await replay(self._recorded(number, name))
            self._interrupted = name
            record, error = await self._do(name, number, action)
            self._interrupted = None
            if error is not None:
                raise error
            return await replay(record)

    async def _do(
        self, name: str, number: int, action: Callable[[], Awaitable[Json]]
    ) -> tuple[Record, Exception | None]:
        await self._engine.notify(self._run, name, number, done=False)
        record, error = await attempt(action)
        await self._engine.stand_still_if_killed()
        self._run.steps.append((name, record))
        await self._engine.notify(self._run, name, number, done=True)
        return record, error

    def _settle_interrupted(self) -> None:
        """Record the step that the body cancelled, now that the body has gone on without it."""
        if self._interrupted is not None and len(self._run.steps) < self._taken:
            self._run.steps.append((self._interrupted, INTERRUPTED))
        self._interrupted = None

    def _recorded(self, number: int, name: str) -> Record:
        recorded_name, record = self._run.steps[number - 1]
        if recorded_name != name:
            raise JournalMismatch(f"step {number} of {self._run.key} is {recorded_name!r}, not {name!r}")
        return record


class _World:
    """Whether a killed engine's runs may still move."""

    def __init__(self) -> None:
        self.stopped = False
        # Held for good: letting go of a coroutine would run its ``finally``, which kill -9 does not.
        self.frozen: list[Coroutine[object, object, None]] = []
        # Tasks that bodies have spawned, for the same reason.
        self.bystanders: set[asyncio.Task[object]] = set()


#: Worlds that were stopped, for the same reason.
_stopped_worlds: list[_World] = []


@types.coroutine
def _freezing(body: Coroutine[object, object, None], world: _World) -> Generator[object, object, None]:
    """Drive ``body``, until the world stops; then stand still, whatever comes."""
    answer: object = None
    failure: BaseException | None = None
    while not world.stopped:
        try:
            asked = body.send(answer) if failure is None else body.throw(failure)
        except StopIteration:
            return
        answer, failure = None, None
        try:
            answer = yield asked
        except BaseException as exc:  # a driver passes on whatever the loop throws in, cancellation too
            failure = exc
    world.frozen.append(body)
    _stopped_worlds.append(world)
    raise asyncio.CancelledError
