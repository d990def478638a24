"""Ports of tasks: a store that keeps them and an engine that runs them durably."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Final, Protocol

from innkeeper.tasks.task import (
    ANY_TASK,
    CancelEffect,
    LogLevel,
    LogLine,
    NewTask,
    Progress,
    Task,
    TaskFilter,
    TaskResult,
)
from innkeeper.wire.events import Json


class Clock(Protocol):
    """Wall time for people, monotonic time for waiting."""

    def now(self) -> dt.datetime:
        """The wall time, aware and in UTC."""

    def monotonic(self) -> float:
        """Seconds from an unknown start, never going back."""

    async def sleep(self, seconds: float) -> None:
        """Wait on the monotonic clock."""


class Steps(Protocol):
    """The journal of one durable run."""

    async def run(self, name: str, action: Callable[[], Awaitable[Json]]) -> Json:
        """Do ``action`` and record its result, or return the result recorded before a crash.

        Only the step in flight at a crash is done again, so an action looks before it does.
        The order of names is the same in every run with the same recorded results.
        An error that the action raises is recorded too, and raised again. What is returned is what JSON
        keeps of the value. Steps of one run are taken one after the other, never inside one another.

        A step that the body itself cancels (a time-out, a lost race) does not return when the run goes over
        its journal again: it waits to be cancelled again. It is surer to race inside the action, and to
        return who won.
        """


#: The body of a durable run: its key, its argument, its journal. Returns its result.
Body = Callable[[str, Mapping[str, Json], Steps], Awaitable[Json]]

#: Whether this server may work on a host now: it owns it, and can reach it.
MayCarry = Callable[[str], bool]


def any_host(host: str) -> bool:
    """Admit every host: for a server that shares none."""
    return True


class Engine(Protocol):
    """Runs bodies durably: what was started runs to its end, across crashes of the process."""

    def register(self, kind: str, body: Body) -> None:
        """Register the body of runs of ``kind``. Before ``launch``."""

    async def launch(self, may_carry: MayCarry = any_host) -> None:
        """Open the journal and take up every run that a former life of this server left unfinished.

        Not those of hosts that it may not work on (any more): they wait for who may.
        """

    async def start(
        self, key: str, kind: str, argument: Mapping[str, Json], *, host: str | None = None
    ) -> None:
        """Start a run here once: a second start with the same key does nothing.

        ``host`` is the id of the host that the run works on, and goes on with; ``None`` where it is this
        server's own.
        """

    def carry(self, key: str, kind: str, argument: Mapping[str, Json], *, host: str | None = None) -> None:
        """Run a body here and now, without a journal: its steps are done and not recorded.

        A crash, and the end of the service, ends it where it stands, and no engine takes it up.
        """

    async def take_over(self, hosts: Collection[str]) -> None:
        """Take up the unfinished runs of these hosts, from their last recorded step.

        Whoever has carried them can record nothing more. For a server that has become the hosts' owner, and
        whose former owner can act no more: the step in flight is done again.
        """

    async def let_go(self, hosts: Collection[str]) -> None:
        """Stop the runs of these hosts here, and leave them unfinished for who carries them next.

        For a server that no longer owns the hosts; returns when their bodies have let go, or soon.
        """

    @property
    def server(self) -> str:
        """The id of this server among those that share the journal; the same in every life."""

    @property
    def incarnation(self) -> str:
        """The name of this life of the server: another at every start."""

    async def unfinished(self) -> Sequence[str]:
        """The keys of the runs that have not ended."""

    async def purge(self, before: dt.datetime) -> int:
        """Forget the journals of runs that ended before; returns how many."""

    async def close(self) -> None:
        """Stop taking steps; unfinished runs go on at the next launch."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LastWords:
    """What a task has said and nobody has written down yet."""

    #: ``None`` where it is written.
    progress: Progress | None = None
    lines: Sequence[tuple[dt.datetime, LogLevel, str]] = ()


NO_WORDS: Final = LastWords()


class TaskStore(Protocol):
    """Keeps tasks and their logs. Every write is durable when the call returns."""

    async def create(self, new: NewTask, at: dt.datetime) -> Task:
        """Write a new task; raises ``LockHeld`` where a live task holds ``lock``."""

    async def adopt(self, task_ids: Collection[int], *, server: str, carrier: str | None) -> Sequence[Task]:
        """Give live tasks to a server, and to its memory where ``carrier`` is named; returns those it got.

        A task that ``carrier`` has already is not given to it again.
        """

    async def get(self, task_id: int) -> Task:
        """Raises ``TaskNotFound``."""

    async def argument(self, task_id: int) -> Mapping[str, Json]:
        """What the task was started with."""

    async def list(self, wanted: TaskFilter = ANY_TASK) -> Sequence[Task]:
        """The tasks that the filter admits, newest first."""

    async def progress(self, task_id: int, progress: Progress) -> None:
        """Write down how far a live task has come; an ended one stays as it is."""

    async def set_cancel_effect(self, task_id: int, effect: CancelEffect) -> None:
        """Write down what a cancel would do from now on."""

    async def request_cancel(self, task_id: int) -> bool:
        """Write down that a cancel was asked for; ``False`` where none is possible (any more).

        One step with the look at the cancel's effect: after ``set_cancel_effect(NONE)`` has returned, no
        cancel is taken.
        """

    async def end(
        self,
        task_id: int,
        *,
        result: TaskResult,
        error: int,
        error_description: str,
        at: dt.datetime,
        server: str,
        words: LastWords = NO_WORDS,
    ) -> Sequence[LogLine] | None:
        """End a task that ``server`` carries, which frees its lock. Its last words go before.

        Returns the lines, numbered; ``None`` where it has ended, or another server carries it by now: then
        it stays as it is.
        """

    async def append_log(
        self,
        task_id: int,
        lines: Sequence[tuple[dt.datetime, LogLevel, str]],
        progress: Progress | None = None,
    ) -> Sequence[LogLine]:
        """Add lines to a task's log, and number them; with its progress, where that is to be written too."""

    async def log(self, task_id: int, *, after: int = 0, limit: int = 1000) -> Sequence[LogLine]:
        """The lines numbered above ``after``, oldest first."""

    async def purge(self, *, before: dt.datetime, keep: int) -> int:
        """Forget the tasks that ended before, and all but the last ``keep`` ended ones, with their logs.

        Returns how many.
        """


class LockHeld(Exception):
    """A live task holds the lock; ``Tasks`` turns it into ``MachineBusy``."""

    def __init__(self, task_id: int) -> None:
        super().__init__(task_id)
        self.task_id = task_id
