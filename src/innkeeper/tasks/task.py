"""One running operation, as others see it."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping
from typing import Final

from innkeeper.wire.events import Json
from innkeeper.wire.states import CancelEffect as CancelEffect
from innkeeper.wire.states import LogLevel as LogLevel
from innkeeper.wire.states import TaskResult as TaskResult


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a task has come. Whoever does not know says so with ``None``."""

    #: What is being done now, for a person.
    phase: str = ""
    #: This phase's number, from 1; 0 before the first.
    phase_number: int = 0
    #: How many phases there are; 0 when unknown.
    phase_count: int = 0
    #: How much of the whole task is done, 0 to 100; never goes back.
    percent: int | None = None
    #: Bytes done and to do in this phase, where it is about bytes.
    bytes_done: int | None = None
    bytes_total: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One operation, running or ended (``IVMTask``): a snapshot, never changed in place."""

    #: Unique for the life of the inn, and growing (``IVMTask::ID``).
    id: int
    #: Which work it is: ``update_run``, ``machine_save``.
    kind: str
    #: What it does, for a person (``IVMTask::Description``).
    description: str
    #: What it holds while it lives, such as ``machine:`` and a machine's key; one live task a lock.
    lock: str | None
    #: What people call that which it holds: a machine's name, a disk's path; empty where it holds nothing.
    about: str
    #: The task that started this one, or ``None``.
    parent_id: int | None
    #: Who asked for it.
    owner: str
    #: The id of the host that it works on, or ``None``: it goes on at the server that owns that host.
    host: str | None
    #: The id of the server that carries it, or did last; ``None`` for a task of before there were several.
    server: str | None
    #: The life of a server whose memory it lives in, where it has no journal that it could go on from.
    carrier: str | None
    created_at: dt.datetime
    ended_at: dt.datetime | None
    progress: Progress
    #: What a cancel would do now.
    cancel_effect: CancelEffect
    #: A cancel was asked for; the effect follows.
    cancel_requested: bool
    #: ``None`` while it runs (the documents leave a result before the end open).
    result: TaskResult | None
    #: The documented identifier of the late error, 0 where there is none (``IVMTask::Error``).
    error: int
    #: The late error in a sentence (``IVMTask::ErrorDescription``).
    error_description: str

    @property
    def is_complete(self) -> bool:
        """Whether the task has ended, well or not (``IVMTask::IsComplete``)."""
        return self.result is not None

    @property
    def is_cancelable(self) -> bool:
        """Whether a cancel would have an effect now (``IVMTask::IsCancelable``)."""
        return not self.is_complete and self.cancel_effect is not CancelEffect.NONE

    @property
    def percent_completed(self) -> int:
        """0 to 100 (``IVMTask::PercentCompleted``); 0 where nobody knows yet."""
        return self.progress.percent or 0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class NewTask:
    """A task that is to be written down."""

    #: Which work it is.
    kind: str
    #: What it does, for a person.
    description: str
    #: What the work is given.
    argument: Mapping[str, Json]
    #: What it holds while it lives, or ``None``.
    lock: str | None = None
    #: What people call that which it holds: a machine's name, a disk's path; empty where it holds nothing.
    about: str = ""
    #: The task that starts this one, or ``None``.
    parent_id: int | None = None
    #: Who asks for it.
    owner: str = "innkeeper"
    #: What a cancel does at first.
    cancel_effect: CancelEffect = CancelEffect.BACK_TO_START
    #: The id of the host that it works on, or ``None``.
    host: str | None = None
    #: The id of the server that carries it.
    server: str | None = None
    #: The life of a server whose memory it lives in, where it has no journal.
    carrier: str | None = None

    def written(self, task_id: int, at: dt.datetime) -> Task:
        """The task that it is once it is written down."""
        return Task(
            id=task_id,
            kind=self.kind,
            description=self.description,
            lock=self.lock,
            about=self.about or (self.lock or "").partition(":")[2],
            parent_id=self.parent_id,
            owner=self.owner,
            host=self.host,
            server=self.server,
            carrier=self.carrier,
            created_at=at,
            ended_at=None,
            progress=Progress(),
            cancel_effect=self.cancel_effect,
            cancel_requested=False,
            result=None,
            error=0,
            error_description="",
        )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TaskFilter:
    """Which tasks are asked for; ``None`` asks for any."""

    #: Running, or ended.
    live: bool | None = None
    kind: str | None = None
    lock: str | None = None
    parent_id: int | None = None
    #: The id of the host that it works on.
    host: str | None = None
    #: Whether a cancel was asked for.
    cancel_requested: bool | None = None
    #: A text in the description or the error description, in any case.
    text: str | None = None
    #: Older than this task.
    before_id: int | None = None
    #: How many at most, newest first.
    limit: int = 100

    def admits(self, task: Task) -> bool:
        """Whether the task is one of them, however many there are."""
        return (
            (self.live is None or task.is_complete is not self.live)
            and self.kind in (None, task.kind)
            and self.lock in (None, task.lock)
            and self.parent_id in (None, task.parent_id)
            and self.host in (None, task.host)
            and self.cancel_requested in (None, task.cancel_requested)
            and (self.before_id is None or task.id < self.before_id)
            and (self.text is None or _mentions(task, self.text))
        )


#: The newest tasks, whatever they are.
ANY_TASK: Final = TaskFilter()


def _mentions(task: Task, text: str) -> bool:
    return text.casefold() in f"{task.description}\n{task.error_description}".casefold()


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LogLine:
    """One line of a task's log."""

    task_id: int
    #: Growing within the task, from 1.
    number: int
    at: dt.datetime
    level: LogLevel
    text: str
