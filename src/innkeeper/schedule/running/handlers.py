"""Handlers of Innkeeper's operations by class id, in place of COM handlers (``ITaskHandler``)."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from innkeeper.errors import ErrorCode, NotSupported, ScheduleError


class TaskHandlerStatus(Protocol):
    """Progress reports of a handler (``ITaskHandlerStatus``)."""

    def update_status(self, percent: int, message: str) -> None:
        """Report progress, 0 to 100, and the present activity (``UpdateStatus``)."""

    def task_completed(self, result: int) -> None:
        """Report the result, where it is not 0 (``TaskCompleted``)."""


class TaskHandler(Protocol):
    """One call of an operation (``ITaskHandler``)."""

    async def start(self, status: TaskHandlerStatus, data: str) -> None:
        """Do the work, with the action's data, and return when it is done (``Start``).

        Raises ``InnkeeperError`` where it fails. When it is cancelled, ``stop`` has been called.
        """

    async def stop(self) -> int:
        """End the work as soon as it can be ended, and return its code (``Stop``)."""

    async def pause(self) -> None:
        """Pause the work (``Pause``). Raises ``NotSupported`` (0x80004001) where it cannot."""

    async def resume(self) -> None:
        """Resume the work (``Resume``)."""


#: Gives the data that names machines by their keys, which are told by their names.
ByKeys = Callable[[str, Mapping[str, str]], str]

#: A handler as a function: given its status and the action's data, it returns when it is done, and is
#: stopped by cancelling it.
Handler = Callable[[TaskHandlerStatus, str], Awaitable[None]]


class FunctionHandler:
    """A function as a handler; it cannot be paused."""

    def __init__(self, function: Handler) -> None:
        self._function = function
        self._work: asyncio.Task[None] | None = None

    async def start(self, status: TaskHandlerStatus, data: str) -> None:
        """Call the function, and wait for it."""
        self._work = asyncio.ensure_future(self._called(status, data))
        try:
            await asyncio.shield(self._work)
        except asyncio.CancelledError:
            await self.stop()
            raise

    async def stop(self) -> int:
        """Cancel the function, and wait for its end."""
        if self._work is not None and not self._work.done():
            self._work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._work
        return ErrorCode.S_OK

    async def pause(self) -> None:
        """Refuse to pause a function."""
        raise not_pausable()

    async def resume(self) -> None:
        """Refuse to resume, as ``pause`` does."""
        raise not_pausable()

    async def _called(self, status: TaskHandlerStatus, data: str) -> None:
        await self._function(status, data)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """An operation that can be called by its class id."""

    name: str
    make: Callable[[], TaskHandler]
    #: What its data is, for a person.
    data: str = ""
    #: Raises ``InnkeeperError`` for data that it would not take.
    check: Callable[[str], None] = lambda data: None
    #: A name means the machine that it meant when the task was registered.
    by_keys: ByKeys = lambda data, keys: data


class Handlers:
    """The handlers of this service, by class id."""

    def __init__(self) -> None:
        self._operations: dict[str, Operation] = {}

    def register(
        self, class_id: str, name: str, handler: Handler, by_keys: ByKeys = lambda data, keys: data
    ) -> None:
        """Register a function for ``class_id`` (with braces)."""
        self.add(class_id, Operation(name=name, make=lambda: FunctionHandler(handler), by_keys=by_keys))

    def add(self, class_id: str, operation: Operation) -> None:
        """Register an operation for ``class_id`` (with braces)."""
        self._operations[class_id.casefold()] = operation

    def names(self) -> dict[str, str]:
        """Return each class id's operation, in words."""
        return {class_id: operation.name for class_id, operation in self._operations.items()}

    def find(self, class_id: str) -> Operation:
        """The operation of a class id. Raises ``ScheduleError`` (0x8004130E)."""
        found = self._operations.get(class_id.casefold())
        if found is None:
            raise ScheduleError(
                f"No operation of this service has the class id {class_id}.",
                code=ErrorCode.SCHED_E_INVALID_TASK,
                advice="Name one of Innkeeper's own operations, or run a program instead.",
                node="ClassId",
                value=class_id,
            )
        return found


def not_pausable() -> NotSupported:
    """Return the error for work that cannot be paused."""
    return NotSupported(
        "This operation cannot be paused.", code=ErrorCode.E_NOTIMPL, advice="Stop it, or wait for its end."
    )
