"""One durable run: its body on the event loop, its journal in a thread of DBOS."""

from __future__ import annotations

import asyncio
import enum
import queue
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TypeVar

import structlog
from dbos import DBOS
from dbos import error as dbos_error

from innkeeper.tasks.outcome import (
    INTERRUPTED,
    JournalMismatch,
    Record,
    StepTurn,
    attempt,
    replay,
    traceback_of,
)
from innkeeper.tasks.ports import Body
from innkeeper.wire.events import Json

_log = structlog.get_logger(__name__)

T = TypeVar("T")


class Parked(BaseException):
    """Raised to stop a run and leave it unfinished.

    Not an ``Exception``: DBOS records those as the outcome of the step or of the run.
    """


class _Word(enum.Enum):
    """What a thread may be told besides a step or a record."""

    #: Stop: the service closes.
    PARK = enum.auto()


class _Step:
    """One step on its way between the loop and the thread."""

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop) -> None:
        self.name = name
        self._loop = loop
        #: For the loop: the record that the journal holds, or ``None`` to do the step now.
        self.looked: asyncio.Future[Record | None] = loop.create_future()
        #: For the loop: set when the record is kept.
        self.kept: asyncio.Future[None] = loop.create_future()
        #: For the thread: what the step came to.
        self.answers: queue.SimpleQueue[Record | _Word] = queue.SimpleQueue()

    def perform(self) -> Record:
        """Run the step and return its record; runs in the thread."""
        self.set_result_of(self.looked, None)
        answer = self.answers.get()
        if isinstance(answer, _Word):
            raise Parked
        return answer

    def set_result_of(self, future: asyncio.Future[T], value: T) -> None:
        """Set a future of the loop; called in the thread."""
        self._call(lambda: None if future.done() else future.set_result(value))

    def fail(self, error: Exception) -> None:
        """Pass a step's failure to the body; called in the thread."""
        self._call(lambda: None if self.looked.done() else self.looked.set_exception(error))

    def _call(self, action: Callable[[], None]) -> None:
        call_on(self._loop, action)


def call_on(loop: asyncio.AbstractEventLoop, action: Callable[[], None]) -> None:
    """Run ``action`` on the loop; parks the calling run where the loop has gone."""
    try:
        loop.call_soon_threadsafe(action)
    except RuntimeError as exc:
        raise Parked from exc


class Run:
    """One run while it is carried by this process (``Steps`` for its body)."""

    def __init__(
        self, key: str, body: Body, argument: Mapping[str, Json], loop: asyncio.AbstractEventLoop
    ) -> None:
        self.key = key
        self._body = body
        self._argument = argument
        self._loop = loop
        self._requests: queue.SimpleQueue[_Step | Record | _Word] = queue.SimpleQueue()
        self._turn = StepTurn()
        self._open: _Step | None = None
        self._closing = False
        #: The body, once it has begun.
        self.task: asyncio.Task[None] | None = None

    # -- in the thread ----------------------------------------------------------------------------------

    def serve(self) -> Record:
        """Begin the body, keep its journal until it ends, and return its result."""
        call_on(self._loop, self._begin)
        while True:
            request = self._requests.get()
            if isinstance(request, _Word):
                raise Parked
            if not isinstance(request, _Step):
                return request
            self._keep(request)

    def _keep(self, step: _Step) -> None:
        try:
            record = DBOS.run_step({"name": step.name}, step.perform)
        except dbos_error.DBOSUnexpectedStepError as exc:
            step.fail(JournalMismatch(str(exc)))
        except Exception as exc:
            # Another process carries the run now, or its journal cannot be written: this one lets go of it.
            _log.warning("engine.run_let_go", key=self.key, traceback=traceback_of(exc))
            call_on(self._loop, self.park)
            raise Parked from exc
        else:
            step.set_result_of(step.looked, record)
            step.set_result_of(step.kept, None)

    # -- on the loop ------------------------------------------------------------------------------------

    async def run(self, name: str, action: Callable[[], Awaitable[Json]]) -> Json:
        """Do ``action`` and record its result, or return the result recorded before a crash."""
        async with self._turn:
            if self._closing:
                raise asyncio.CancelledError
            self._settle_interrupted()
            step = self._open = _Step(name, self._loop)
            self._requests.put(step)
            recorded = await step.looked
            if recorded is None:
                recorded, error = await attempt(action)
                step.answers.put(recorded)
                await step.kept
            else:
                error = None
            self._open = None
            if error is not None:
                raise error
            return await replay(recorded)

    def park(self) -> None:
        """Stop the body, and leave the run unfinished."""
        self._closing = True
        if self.task is not None:
            self.task.cancel()
        self.let_go()

    def let_go(self) -> None:
        """Release the DBOS thread."""
        if self._open is not None:
            self._open.answers.put(_Word.PARK)
        self._requests.put(_Word.PARK)

    def _begin(self) -> None:
        if not self._closing:
            self.task = self._loop.create_task(self._live(), name=f"run {self.key}")

    async def _live(self) -> None:
        try:
            record, error = await attempt(partial(self._body, self.key, self._argument, self))
        except BaseException:
            # The service ends, with or without saying so: the run goes on at the next launch.
            self.let_go()
            raise
        self._settle_interrupted()
        self._requests.put(record)
        if error is not None:
            _log.error("engine.run_broke", key=self.key, traceback=traceback_of(error))

    def _settle_interrupted(self) -> None:
        """Record the step that the body cancelled, now that the body has gone on without it."""
        if self._open is not None:
            self._open.answers.put(INTERRUPTED)
            self._open = None
