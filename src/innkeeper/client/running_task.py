"""One instance of a scheduled task while it lives."""

from __future__ import annotations

from typing import Final

from innkeeper.client.calls import schedule as calls
from innkeeper.client.transport import Transport
from innkeeper.wire import schedule as wire
from innkeeper.wire.states import RunState, TaskState

_STATES: Final = {
    RunState.CLAIMED: TaskState.RUNNING,
    RunState.RUNNING: TaskState.RUNNING,
    RunState.QUEUED: TaskState.QUEUED,
}


class RunningTask:
    """One instance of a task (``IRunningTask``); ``refresh`` and ``state`` ask the service anew."""

    def __init__(self, transport: Transport, message: wire.RunMessage) -> None:
        self._transport = transport
        #: What the service said of it last.
        self.message = message

    @property
    def name(self) -> str:
        """The task's name (``Name``)."""
        return self.message.name

    @property
    def path(self) -> str:
        """The task's path (``Path``)."""
        return self.message.path

    @property
    def instance_guid(self) -> str:
        """The instance's identity (``InstanceGuid``)."""
        return self.message.id

    @property
    def engine_pid(self) -> int:
        """The process that runs it: the service (``EnginePID``)."""
        return self.message.engine_pid

    @property
    def current_action(self) -> int:
        """The number of the action being done, from 1; 0 before the first (``CurrentAction``)."""
        return self.message.action

    @property
    def state(self) -> TaskState:
        """``RUNNING`` or ``QUEUED``, as of now (``State``). Raises as ``refresh`` does."""
        self.refresh()
        return _STATES.get(self.message.state, TaskState.UNKNOWN)

    @property
    def reason(self) -> str:
        """The reason of the instance's state, for a person."""
        return self.message.reason

    @property
    def task_id(self) -> int | None:
        """The running operation that carries it: its log has the output."""
        return self.message.task_id

    def refresh(self) -> None:
        """Ask the service anew (``Refresh``). Raises ``ScheduleError`` (0x8004130B) where it has ended."""
        self.message = self._transport.send(calls.instance(self.message.id))

    def stop(self) -> None:
        """Stop it (``Stop``). Raises ``ScheduleError`` (0x8004130B) where it has ended."""
        request = wire.InstanceRequest(instance=self.message.id)
        self._transport.send(calls.stop_instance(request))

    def pause(self) -> None:
        """Pause the instance (``ITaskHandler::Pause``): its program, with all that it has started.

        Raises ``NotSupported`` (0x80004001) for an operation that cannot, ``ScheduleError`` (0x8004130B)
        where it has ended.
        """
        self._command("pause")

    def resume(self) -> None:
        """Resume the instance (``ITaskHandler::Resume``); raises as ``pause``."""
        self._command("resume")

    def _command(self, verb: str) -> None:
        request = wire.InstanceRequest(instance=self.message.id)
        self.message = self._transport.send(calls.command_instance(verb, request))
