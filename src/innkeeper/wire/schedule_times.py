"""Describe what is said of when all scheduled tasks run."""

from __future__ import annotations

from pydantic import AwareDatetime

from innkeeper.wire.messages import Message


class TaskRunsMessage(Message):
    """When a task's triggers start it, random delays apart."""

    path: str
    #: The IANA zone that its local boundaries are in.
    zone: str
    times: tuple[AwareDatetime, ...]
    #: Whether there are more than these.
    more: bool


class OperationMessage(Message):
    """One of Innkeeper's own operations, which a task may name by class id (``IComHandlerAction``)."""

    name: str
    class_id: str


class OperationList(Message):
    """Innkeeper's own operations, by name."""

    operations: tuple[OperationMessage, ...]


class RunCalendar(Message):
    """When tasks run, in the order of their paths."""

    tasks: tuple[TaskRunsMessage, ...]
