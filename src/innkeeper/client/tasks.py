"""Follow running operations of a service (``IVMTask``)."""

from __future__ import annotations

import time
from collections.abc import Iterator

from innkeeper.client import calls
from innkeeper.client.problems import is_away
from innkeeper.client.transport import Transport
from innkeeper.errors import InvalidArgument, ServiceError
from innkeeper.wire.messages import MAX_WAIT_MS, LogLineMessage, TaskMessage
from innkeeper.wire.states import CancelEffect, TaskResult

#: How long one request for the end of a task stays open.
LONGEST_WAIT_SECONDS = 25

#: How long a wait bears a service that is away, as it is while it is started again.
AWAY_SECONDS = 60.0


class Task:
    """One operation. Its members are read from the service until it is complete.

    Carries ``IVMTask``: every member raises ``ServiceError`` where the service is away, and
    ``TaskNotFound`` where the history has forgotten the task.
    """

    def __init__(self, transport: Transport, message: TaskMessage) -> None:
        self._transport = transport
        self._message = message

    def __repr__(self) -> str:
        return f"<Task {self.id}: {self._message.description}>"

    @property
    def id(self) -> int:
        """The task's id, never used again."""
        return self._message.id

    @property
    def description(self) -> str:
        """The task's description, for a person."""
        return self._message.description

    @property
    def phase(self) -> str:
        """What is being done now, for a person."""
        return self.read().phase

    @property
    def percent_completed(self) -> int:
        """0 to 100; 0 where nobody knows yet."""
        return self.read().percent_completed

    @property
    def is_cancelable(self) -> bool:
        """Whether a cancel would have an effect now."""
        return self.read().is_cancelable

    @property
    def cancel_effect(self) -> CancelEffect:
        """What a cancel would do now."""
        return self.read().cancel_effect

    @property
    def is_complete(self) -> bool:
        """Whether the task has ended, well or not."""
        return self.read().is_complete

    @property
    def result(self) -> TaskResult | None:
        """The task's result; ``None`` while it runs."""
        return self.read().result

    @property
    def error(self) -> int:
        """The documented identifier of the late error, as an unsigned integer; 0 where there is none."""
        return self.read().error

    @property
    def error_description(self) -> str:
        """The late error in a sentence."""
        return self.read().error_description

    @property
    def known(self) -> TaskMessage:
        """The task's last known state; nothing is asked. (Not in the documentation.)"""
        return self._message

    def read(self) -> TaskMessage:
        """All that is known of it at this moment."""
        if not self._message.is_complete:
            self._message = self._transport.send(calls.task(self.id))
        return self._message

    def log(self, after: int = 0) -> Iterator[LogLineMessage]:
        """The lines of its log so far, those numbered above ``after``."""
        while lines := self._transport.send(calls.task_log(self.id, after=after)).lines:
            yield from lines
            after = lines[-1].number

    def cancel(self) -> None:
        """Ask for a cancel; the stated effect follows. Raises ``TaskNotCancelable`` (0x80004005)."""
        self._message = self._transport.send(calls.cancel(self.id))

    def wait_for_completion(self, timeout_ms: int) -> None:
        """Wait as ``IVMTask::WaitForCompletion``: −1 for ever, or 0 to 4,000,000 milliseconds.

        Time running out is no error: look at ``is_complete``. Raises ``InvalidArgument`` for any other time.
        """
        if not -1 <= timeout_ms <= MAX_WAIT_MS:
            raise InvalidArgument(
                f"{timeout_ms} is not a time to wait: give −1 (for ever) or 0 to {MAX_WAIT_MS:,} ms.",
                advice="Use wait(timeout) for a time in seconds.",
            )
        self.wait(None if timeout_ms == -1 else timeout_ms / 1000)

    def wait(self, timeout: float | None = None) -> bool:
        """Whether the task ended within ``timeout`` seconds; a restart of the service meanwhile is borne."""
        deadline = None if timeout is None else time.monotonic() + timeout
        away_since: float | None = None
        while not self._message.is_complete:
            left = LONGEST_WAIT_SECONDS if deadline is None else deadline - time.monotonic()
            if left < 0:
                return self.read().is_complete
            try:
                self._wait_once(left)
                away_since = None
            except ServiceError as error:
                if not is_away(error):
                    raise
                away_since = away_since or time.monotonic()
                if time.monotonic() - away_since > AWAY_SECONDS:
                    raise
                self._transport.pause(min(0.5, max(left, 0)))
        return True

    def _wait_once(self, seconds: float) -> None:
        wait_seconds = min(seconds, LONGEST_WAIT_SECONDS)
        self._message = self._transport.send(calls.task(self.id, wait_seconds=wait_seconds))


class TaskCollection:
    """The running operations and the history of those that ended (``IVMTaskCollection``)."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def __getitem__(self, task_id: int) -> Task:
        """One task; raises ``TaskNotFound``."""
        return Task(self._transport, self._transport.send(calls.task(task_id)))

    def __iter__(self) -> Iterator[Task]:
        """Every task, newest first."""
        return (Task(self._transport, message) for message in self.search())

    def live(self) -> list[Task]:
        """Those that run now, newest first."""
        return [Task(self._transport, message) for message in self.search(live=True)]

    def search(
        self,
        *,
        live: bool | None = None,
        kind: str | None = None,
        machine: str | None = None,
        text: str | None = None,
    ) -> Iterator[TaskMessage]:
        """Tasks that fit, newest first, page by page."""
        before_id: int | None = None
        while True:
            call = calls.tasks(live=live, kind=kind, machine=machine, text=text, before_id=before_id)
            page = self._transport.send(call)
            yield from page.tasks
            before_id = page.next_before_id
            if before_id is None:
                return
