"""Hold the inn's scheduled tasks: folders, registered tasks, their instances."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Protocol

from innkeeper.client.calls import Call, Query
from innkeeper.client.transport import Transport
from innkeeper.wire import schedule as wire
from innkeeper.wire.messages import Nothing

_TASK = "/v1/schedule/task"
_FOLDER = "/v1/schedule/folder"


class Definition(Protocol):
    """What can be registered beside XML itself: ``innkeeper.schedule.TaskDefinition``."""

    @property
    def xml_text(self) -> str: ...


class Schedule:
    """The scheduler of the inn."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def folder(self, path: str = "\\") -> TaskFolder:
        """The folder of this path (``GetFolder``). Raises ``ScheduleError`` (0x80070002)."""
        query: Query = {"path": path}
        call = Call(method="GET", path=_FOLDER, answer=wire.FolderMessage, query=query)
        return TaskFolder(self._transport, self._transport.send(call))

    def task(self, path: str) -> RegisteredTask:
        """The task of this path. Raises ``ScheduleError`` (0x80070002)."""
        return RegisteredTask(self._transport, path)


class TaskFolder:
    """A folder of scheduled tasks (``ITaskFolder``), as it was when it was asked for."""

    def __init__(self, transport: Transport, said: wire.FolderMessage) -> None:
        self._transport = transport
        self.path = said.path
        self.name = said.name
        self._inside = said.folders

    @property
    def folders(self) -> tuple[str, ...]:
        """The paths of the folders directly in it (``GetFolders``)."""
        return self._inside

    @property
    def tasks(self) -> Sequence[RegisteredTask]:
        """The tasks directly in it that are not hidden (``GetTasks``)."""
        return list(self.list_tasks())

    def list_tasks(self, *, hidden: bool = False) -> Iterator[RegisteredTask]:
        """The tasks directly in it, hidden ones where they are asked for."""
        query: Query = {"folder": self.path, "hidden": hidden}
        call = Call(method="GET", path="/v1/schedule/tasks", answer=wire.ScheduledTaskList, query=query)
        for said in self._transport.send(call).tasks:
            yield RegisteredTask(self._transport, said.path, said)

    def task(self, name: str) -> RegisteredTask:
        """The task of this name or path (``GetTask``)."""
        return RegisteredTask(self._transport, self._under(name))

    def create_folder(self, name: str, sddl: str = "") -> TaskFolder:
        """Make a folder in it, and those around it (``CreateFolder``)."""
        request = wire.FolderRequest(path=self._under(name), sddl=sddl)
        call = Call(method="POST", path=_FOLDER, answer=wire.FolderMessage, body=request)
        return TaskFolder(self._transport, self._transport.send(call))

    def delete_folder(self, name: str) -> None:
        """Remove an empty folder in it (``DeleteFolder``)."""
        query: Query = {"path": self._under(name)}
        self._transport.send(Call(method="DELETE", path=_FOLDER, answer=Nothing, query=query))

    def register(
        self,
        name: str | None,
        definition: Definition | str,
        flags: int = wire.CREATE_OR_UPDATE,
        *,
        user_id: str | None = None,
        password: str | None = None,
        logon_type: int = 0,
        sddl: str = "",
    ) -> RegisteredTask:
        """Register a task in it (``RegisterTask``, ``RegisterTaskDefinition``), from a definition or XML."""
        request = wire.RegisterRequest(
            path=None if name is None else self._under(name),
            xml=definition if isinstance(definition, str) else definition.xml_text,
            flags=int(flags),
            user_id=user_id,
            password=password,
            logon_type=int(logon_type),
            sddl=sddl,
        )
        call = Call(method="POST", path=_TASK, answer=wire.ScheduledTaskMessage, body=request)
        said = self._transport.send(call)
        return RegisteredTask(self._transport, said.path, said)

    def delete_task(self, name: str) -> None:
        """Forget a task in it (``DeleteTask``)."""
        query: Query = {"path": self._under(name)}
        self._transport.send(Call(method="DELETE", path=_TASK, answer=Nothing, query=query))

    def _under(self, name: str) -> str:
        if name.startswith("\\"):
            return name
        return self.path.rstrip("\\") + "\\" + name


class RegisteredTask:
    """A registered task (``IRegisteredTask``); each property is what the service says now."""

    def __init__(
        self, transport: Transport, path: str, said: wire.ScheduledTaskMessage | None = None
    ) -> None:
        self._transport = transport
        self.path = path
        self.name = (said or self.read()).name

    def read(self) -> wire.ScheduledTaskMessage:
        """All that the service says of it now."""
        query: Query = {"path": self.path}
        return self._transport.send(
            Call(method="GET", path=_TASK, answer=wire.ScheduledTaskMessage, query=query)
        )

    @property
    def state(self) -> str:
        """``READY``, ``RUNNING``, ``QUEUED`` or ``DISABLED`` (``State``)."""
        return self.read().state

    @property
    def xml(self) -> str:
        """The definition (``Xml``)."""
        return self.read().xml

    @property
    def enabled(self) -> bool:
        """Whether its triggers start it (``Enabled``)."""
        return self.read().enabled

    @enabled.setter
    def enabled(self, enabled: bool) -> None:
        request = wire.EnableRequest(path=self.path, enabled=enabled)
        call = Call(method="POST", path=f"{_TASK}/enable", answer=wire.ScheduledTaskMessage, body=request)
        self._transport.send(call)

    @property
    def next_run_time(self) -> dt.datetime | None:
        """When its triggers run next, random delay apart (``NextRunTime``)."""
        return self.read().next_run_time

    @property
    def last_run_time(self) -> dt.datetime | None:
        """When it started last (``LastRunTime``)."""
        return self.read().last_run_time

    @property
    def last_task_result(self) -> int:
        """The exit code of its last run, or a result code (``LastTaskResult``)."""
        return self.read().last_task_result

    @property
    def number_of_missed_runs(self) -> int:
        """Starts missed since the last success (``NumberOfMissedRuns``)."""
        return self.read().number_of_missed_runs

    def run(self, *arguments: str, flags: int = 0, session: int = 0) -> wire.RunMessage:
        """Start an instance now (``Run``, ``RunEx``)."""
        request = wire.RunRequest(path=self.path, arguments=arguments, flags=int(flags), session=session)
        return self._transport.send(
            Call(method="POST", path=f"{_TASK}/run", answer=wire.RunMessage, body=request)
        )

    def stop(self) -> bool:
        """Stop all instances (``Stop``); whether there were any."""
        request = wire.TaskPathRequest(path=self.path)
        call = Call(method="POST", path=f"{_TASK}/stop", answer=wire.StopMessage, body=request)
        return self._transport.send(call).stopped

    def runs(self, *, live: bool | None = None) -> tuple[wire.RunMessage, ...]:
        """Its instances, newest first (``GetInstances`` and the history)."""
        query: Query = {"path": self.path, "live": live}
        call = Call(method="GET", path=f"{_TASK}/runs", answer=wire.RunList, query=query)
        return self._transport.send(call).runs
