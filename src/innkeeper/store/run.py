"""One durable run: its body on the service's loop, its journal on another."""

from __future__ import annotations

import asyncio
import contextlib
import enum
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TypeVar

import structlog
from dbos import DBOS
from dbos import error as dbos_error

from innkeeper.store.journal_loop import call_on
from innkeeper.tasks.outcome import (
    INTERRUPTED,
    JournalMismatch,
    LeftUnfinished,
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
    """What the journal may be told besides a step or a record."""

    #: Stop: the run goes on another time, or elsewhere.
    PARK = enum.auto()


class _Step:
    """One step on its way between the body and the journal."""

    def __init__(
        self, name: str, service: asyncio.AbstractEventLoop, journal: asyncio.AbstractEventLoop
    ) -> None:
        self.name = name
        self._service = service
        self._journal = journal
        #: For the body: the record that the journal holds, or ``None`` to do the step now.
        self.looked: asyncio.Future[Record | None] = service.create_future()
        #: For the body: set when the record is kept.
        self.kept: asyncio.Future[None] = service.create_future()
        #: For the journal: what the step came to.
        self._answered: asyncio.Future[Record | _Word] = journal.create_future()

    async def perform(self) -> Record:
        """Pass the step to the body, and return its record; on the journal's loop."""
        self.set_result_of(self.looked, None)
        answer = await self._answered
        if isinstance(answer, _Word):
            raise Parked
        return answer

    def answer(self, answer: Record | _Word) -> None:
        """Hand over what the step came to; the first answer counts."""
        _tell(self._journal, self._answered, answer)

    def set_result_of(self, future: asyncio.Future[T], value: T) -> None:
        """Set a future of the body; on the journal's loop."""
        _call_service(self._service, lambda: None if future.done() else future.set_result(value))

    def fail(self, error: Exception) -> None:
        """Pass a step's failure to the body; on the journal's loop."""
        _call_service(self._service, lambda: None if self.looked.done() else self.looked.set_exception(error))


def _call_service(loop: asyncio.AbstractEventLoop, action: Callable[[], object]) -> None:
    """Run ``action`` on the service's loop; parks the run where that loop has gone."""
    try:
        call_on(loop, action)
    except RuntimeError as exc:
        raise Parked from exc


def _tell(loop: asyncio.AbstractEventLoop, future: asyncio.Future[T], value: T) -> None:
    call_on(loop, lambda: None if future.done() else future.set_result(value))


class Run:
    """One run while it is carried by this process (``Steps`` for its body)."""

    def __init__(
        self,
        *,
        key: str,
        host: str | None,
        body: Body,
        argument: Mapping[str, Json],
        service: asyncio.AbstractEventLoop,
    ) -> None:
        """Made on the journal's loop."""
        self.key = key
        self.host = host
        self._body = body
        self._argument = argument
        self._service = service
        self._journal = asyncio.get_running_loop()
        self._requests: asyncio.Queue[_Step | Record | _Word] = asyncio.Queue()
        self._turn = StepTurn()
        self._open: _Step | None = None
        #: Whether it was told to stop here.
        self.parked = False
        #: Whether a newer version is to end it.
        self.left = False
        #: The body, once it has begun.
        self.task: asyncio.Task[None] | None = None
        #: Set when the body does nothing more; of the journal's loop.
        self.body_gone = asyncio.Event()
        #: Set when another may carry the run here; of the journal's loop.
        self.ended = asyncio.Event()

    # -- on the journal's loop --------------------------------------------------------------------------

    async def serve(self) -> Record:
        """Begin the body, keep its journal until it ends, and return its result."""
        try:
            _call_service(self._service, self._begin)
        except Parked:
            self.body_gone.set()
            raise
        while True:
            request = await self._requests.get()
            if isinstance(request, _Word):
                raise Parked
            if not isinstance(request, _Step):
                return request
            await self._keep(request)

    async def _keep(self, step: _Step) -> None:
        try:
            record = await DBOS.run_step_async({"name": step.name}, step.perform)
        except dbos_error.DBOSUnexpectedStepError as exc:
            step.fail(JournalMismatch(str(exc)))
        except Exception as exc:
            # Another process carries the run now, or its journal cannot be written: this one lets go of it.
            _log.warning("engine.run_let_go", key=self.key, traceback=traceback_of(exc))
            _call_service(self._service, self.park)
            raise Parked from exc
        else:
            step.set_result_of(step.looked, record)
            step.set_result_of(step.kept, None)

    # -- on the service's loop --------------------------------------------------------------------------

    async def run(self, name: str, action: Callable[[], Awaitable[Json]]) -> Json:
        """Do ``action`` and record its result, or return the result recorded before a crash."""
        async with self._turn:
            if self.parked:
                raise asyncio.CancelledError
            self._settle_interrupted()
            step = self._open = _Step(name, self._service, self._journal)
            self._request(step)
            recorded = await step.looked
            if recorded is None:
                recorded, error = await attempt(action)
                step.answer(recorded)
                await step.kept
            else:
                error = None
            self._open = None
            if error is not None:
                raise error
            return await replay(recorded)

    def park(self) -> None:
        """Stop the body, and leave the run unfinished."""
        self.parked = True
        if self.task is not None:
            self.task.cancel()
        self._let_go()

    def _let_go(self) -> None:
        """Release the journal."""
        if self._open is not None:
            self._open.answer(_Word.PARK)
        self._request(_Word.PARK)

    def _request(self, request: _Step | Record | _Word) -> None:
        call_on(self._journal, lambda: self._requests.put_nowait(request))

    def _begin(self) -> None:
        if self.parked:
            self._note_body_gone()
            return
        self.task = self._service.create_task(self._live(), name=f"run {self.key}")
        self.task.add_done_callback(lambda _: self._note_body_gone())

    def _note_body_gone(self) -> None:
        with contextlib.suppress(RuntimeError):  # the journal's loop has gone before
            call_on(self._journal, self.body_gone.set)

    async def _live(self) -> None:
        try:
            record, error = await attempt(partial(self._body, self.key, self._argument, self))
        except LeftUnfinished:
            self.left = True
            self._let_go()
            raise
        except BaseException:
            # The service ends, with or without saying so: the run goes on at the next launch.
            self._let_go()
            raise
        self._settle_interrupted()
        self._request(record)
        if error is not None:
            _log.error("engine.run_broke", key=self.key, traceback=traceback_of(error))

    def _settle_interrupted(self) -> None:
        """Record the step that the body cancelled, now that the body has gone on without it."""
        if self._open is not None:
            self._open.answer(INTERRUPTED)
            self._open = None
