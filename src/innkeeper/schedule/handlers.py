"""Call Innkeeper's own operations by class id, as Windows calls COM handlers (``ITaskHandler``)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from innkeeper.errors import ErrorCode, ScheduleError


class TaskHandlerStatus(Protocol):
    """What a handler tells of itself while it works (``ITaskHandlerStatus``)."""

    def update_status(self, percent: int, message: str) -> None:
        """How far it has come, 0 to 100, and what it does (``UpdateStatus``)."""

    def task_completed(self, result: int) -> None:
        """Its result, where it is not 0 (``TaskCompleted``)."""


#: A handler: given its status and the action's data, it returns when it is done (``Start``), and is stopped
#: by cancelling it (``Stop``).
Handler = Callable[[TaskHandlerStatus, str], Awaitable[None]]


class Handlers:
    """The handlers of this inn, by class id."""

    def __init__(self) -> None:
        self._handlers: dict[str, tuple[str, Handler]] = {}

    def register(self, class_id: str, name: str, handler: Handler) -> None:
        """Let ``class_id`` (with braces) mean this handler."""
        self._handlers[class_id.casefold()] = (name, handler)

    def names(self) -> dict[str, str]:
        """What each class id does, for a person."""
        return {class_id: name for class_id, (name, _) in self._handlers.items()}

    def find(self, class_id: str) -> Handler:
        """The handler of a class id. Raises ``ScheduleError`` (0x8004130E)."""
        found = self._handlers.get(class_id.casefold())
        if found is None:
            raise ScheduleError(
                f"No operation of this inn has the class id {class_id}.",
                code=ErrorCode.SCHED_E_INVALID_TASK,
                advice="Name one of Innkeeper's own operations, or run a program instead.",
                node="ClassId",
                value=class_id,
            )
        return found[1]
