"""The interface of a running task, as its work sees it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from innkeeper.tasks.task import CancelEffect, LogLevel
from innkeeper.wire.events import Json


class RunningTask(Protocol):
    """Context of a running task: journal, progress, cancellation."""

    @property
    def id(self) -> int: ...

    @property
    def host(self) -> str | None:
        """The id of the host that it works on; ``None`` where that is no host, or is not known."""

    @property
    def cancel_requested(self) -> bool: ...

    @property
    def resumed(self) -> bool:
        """Whether a crash came since it was begun, and nothing of it was recorded (``stepless`` kinds)."""

    async def step(self, name: str, action: Callable[[], Awaitable[Json]]) -> Json:
        """Do ``action`` once for good: recorded, and not repeated after a crash unless it was in flight."""

    def report(
        self,
        phase: str | None = None,
        *,
        number: int | None = None,
        count: int | None = None,
        percent: int | None = None,
        bytes_done: int | None = None,
        bytes_total: int | None = None,
    ) -> None:
        """Report progress. Cheap: writes to the store are thinned out, events are not."""

    def log(self, text: str, level: LogLevel = LogLevel.INFO) -> None:
        """Add a line to the task's log."""

    async def set_cancel_effect(self, effect: CancelEffect) -> None:
        """Record durably what a cancel would do from here on."""

    def end_with(self, writing: Awaitable[object]) -> None:
        """Wait for a write under way together with the task's end: they are on the disk together."""

    def on_cancel(self, call: Callable[[], None]) -> None:
        """Call ``call`` once when a cancel is asked for, or now where one was."""

    async def cancelled(self) -> None:
        """Return when a cancel has been asked for (for use in a race with the work)."""


#: The work of one kind of task. Raising ``InnkeeperError`` ends it with that error;
#: raising ``TaskCancelled`` ends it as cancelled, and says that the stated effect has taken place.
Work = Callable[[RunningTask, Mapping[str, Json]], Awaitable[None]]


class TaskCancelled(Exception):
    """The work has stopped because of a cancel, and its stated effect has taken place."""
