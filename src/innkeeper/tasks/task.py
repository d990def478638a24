"""Describe one running operation as others see it."""

from __future__ import annotations

import dataclasses
import datetime as dt

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
    #: What it holds while it lives, such as ``machine:web-1``; one live task a lock.
    lock: str | None
    #: The task that started this one, or ``None``.
    parent_id: int | None
    #: Who asked for it.
    owner: str
    #: The server whose memory it lives in, where it has no journal that another could take it up from.
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
        """Whether it has ended, well or not (``IVMTask::IsComplete``)."""
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
class LogLine:
    """One line of a task's log."""

    task_id: int
    #: Growing within the task, from 1.
    number: int
    at: dt.datetime
    level: LogLevel
    text: str
