"""Client of the scheduler: folders, registered tasks, their instances."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator, Sequence
from typing import Final, Protocol

from innkeeper.client.calls import Query
from innkeeper.client.calls import schedule as calls
from innkeeper.client.numbered import NumberedCollection
from innkeeper.client.running_task import RunningTask
from innkeeper.client.transport import Transport
from innkeeper.errors import InvalidArgument
from innkeeper.wire import schedule as wire
from innkeeper.wire.commands import class_id_of
from innkeeper.wire.schedule_times import TaskRunsMessage
from innkeeper.wire.states import RunState, TaskState

#: TASK_ENUM_HIDDEN, the one flag of lists.
_HIDDEN: Final = 1
#: SECURITY_INFORMATION: owner, group, list, audits.
_ALL_PARTS: Final = 15


class Definition(Protocol):
    """What can be registered beside XML itself: ``innkeeper.schedule.TaskDefinition``."""

    @property
    def xml_text(self) -> str: ...


class Schedule:
    """The scheduler: folders and scheduled tasks."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def folder(self, path: str = "\\") -> TaskFolder:
        """The folder of this path (``GetFolder``). Raises ``ScheduleError`` (0x80070002)."""
        return TaskFolder(self._transport, self._transport.send(calls.folder(path)))

    def calendar(
        self,
        paths: Sequence[str] = (),
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
        *,
        count: int = 1000,
        hidden: bool = False,
    ) -> tuple[TaskRunsMessage, ...]:
        """When tasks run: those of these paths, or every enabled one; for 30 days from now on."""
        query: Query = {
            "path": tuple(paths) or None,
            "start": None if start is None else start.isoformat(),
            "end": None if end is None else end.isoformat(),
            "count": count,
            "hidden": hidden,
        }
        return self._transport.send(calls.calendar(query)).tasks

    def history(
        self, text: str = "", *, states: Sequence[RunState] = (), limit: int = 100
    ) -> tuple[wire.RunMessage, ...]:
        """Instances of all tasks whose path, or whose reason, has a text, newest first, of these states."""
        return tuple(itertools.islice(self.search(text, states=states), limit))

    def search(self, text: str = "", *, states: Sequence[RunState] = ()) -> Iterator[wire.RunMessage]:
        """Instances as ``history`` has them, however many there are, page by page."""
        query: Query = {"text": text, "state": tuple(states)}
        return (run for page in self._transport.pages(calls.history(query)) for run in page.runs)

    @property
    def operations(self) -> dict[str, str]:
        """The class ids of Innkeeper's own operations, by name: for ``ComHandlerAction``."""
        found = self._transport.send(calls.operations()).operations
        return {each.name: each.class_id for each in found}

    def operation(self, name: str) -> str:
        """The class id of an operation, by any of its names: ``"save"``, ``"start"``, ``"stop"`` …

        Raises ``InvalidArgument`` with the list of all names.
        """
        return class_id_of(name, self.operations)

    def task(self, path: str) -> RegisteredTask:
        """The task of this path. Raises ``ScheduleError`` (0x80070002)."""
        return RegisteredTask(self._transport, path)

    def running_tasks(self, flags: int = 0) -> NumberedCollection[RunningTask]:
        """The instances of all tasks that are live (``GetRunningTasks``); 1 shows those of hidden tasks."""
        found = self._transport.whole(calls.running(hidden=bool(_flags(flags))))
        return _instances(self._transport, found)


class TaskFolder:
    """A folder of scheduled tasks (``ITaskFolder``), as it was when it was asked for."""

    def __init__(self, transport: Transport, message: wire.FolderMessage) -> None:
        self._transport = transport
        self.path = message.path
        self.name = message.name
        self._inside = message.folders

    @property
    def folders(self) -> tuple[str, ...]:
        """The paths of the folders directly in it (``GetFolders``)."""
        return self._inside

    @property
    def tasks(self) -> NumberedCollection[RegisteredTask]:
        """The tasks directly in it that are not hidden (``GetTasks``)."""
        return self.get_tasks()

    def get_tasks(self, flags: int = 0) -> NumberedCollection[RegisteredTask]:
        """The tasks directly in it (``GetTasks``); 1 (``TASK_ENUM_HIDDEN``) shows hidden ones too."""
        found = self.list_tasks(hidden=bool(_flags(flags)))
        return NumberedCollection(found, lambda task: task.name)

    def get_folders(self) -> NumberedCollection[TaskFolder]:
        """The folders directly in it, as they are now (``GetFolders``)."""
        inside = (Schedule(self._transport).folder(path) for path in self._inside)
        return NumberedCollection(inside, lambda folder: folder.name)

    def get_folder(self, path: str) -> TaskFolder:
        """The folder of a path from here, or from the root where it begins so (``GetFolder``)."""
        return Schedule(self._transport).folder(self._under(path))

    def get_security_descriptor(self, information: int = _ALL_PARTS) -> str:
        """Return the security descriptor as SDDL (``GetSecurityDescriptor``).

        ``information`` is the sum of owner 1, group 2, list 4, audit 8.
        """
        return _descriptor(self._transport, "folder", self.path, information).sddl

    def permissions(self) -> wire.DescriptorMessage:
        """Return the security descriptor, and whether it is the folder's own."""
        return _descriptor(self._transport, "folder", self.path, _ALL_PARTS)

    def set_security_descriptor(self, sddl: str, flags: int = 0) -> None:
        """Set the security descriptor (``SetSecurityDescriptor``); empty returns to roles alone."""
        _set_descriptor(self._transport, "folder", self.path, sddl, flags)

    def list_tasks(self, *, hidden: bool = False) -> Iterator[RegisteredTask]:
        """The tasks directly in it, hidden ones where they are asked for."""
        for page in self._transport.pages(calls.tasks(self.path, hidden)):
            for message in page.tasks:
                yield RegisteredTask(self._transport, message.path, message)

    def task(self, name: str) -> RegisteredTask:
        """The task of this name or path (``GetTask``)."""
        return RegisteredTask(self._transport, self._under(name))

    def create_folder(self, name: str, sddl: str = "") -> TaskFolder:
        """Make a folder in it, and those around it (``CreateFolder``)."""
        request = wire.FolderRequest(path=self._under(name), sddl=sddl)
        return TaskFolder(self._transport, self._transport.send(calls.create_folder(request)))

    def delete_folder(self, name: str) -> None:
        """Remove an empty folder in it (``DeleteFolder``)."""
        self._transport.send(calls.delete_folder(self._under(name)))

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
        message = self._transport.send(calls.register(request))
        return RegisteredTask(self._transport, message.path, message)

    def delete_task(self, name: str) -> None:
        """Forget a task in it (``DeleteTask``)."""
        self._transport.send(calls.delete_task(self._under(name)))

    def _under(self, name: str) -> str:
        if name.startswith("\\"):
            return name
        return self.path.rstrip("\\") + "\\" + name


class RegisteredTask:
    """A registered task (``IRegisteredTask``); each property is what the service says now."""

    def __init__(
        self, transport: Transport, path: str, message: wire.ScheduledTaskMessage | None = None
    ) -> None:
        self._transport = transport
        self.path = path
        self.name = (message or self.read()).name

    def read(self) -> wire.ScheduledTaskMessage:
        """All that the service says of it now."""
        return self._transport.send(calls.task(self.path))

    @property
    def state(self) -> TaskState:
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
        self._transport.send(calls.enable(request))

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

    @property
    def state_number(self) -> int:
        """``State`` as the documented number of ``TASK_STATE``."""
        return self.state.number

    @property
    def notices(self) -> tuple[str, ...]:
        """Return which parts of the definition have no effect on the service's computer, and why."""
        return self.read().notices

    @property
    def machines(self) -> tuple[str, ...]:
        """The machines that it works on, by the host and the name that each has now."""
        return self.read().machines

    def run(self, *arguments: str, flags: int = 0, session: int = 0) -> RunningTask:
        """Start an instance now (``Run``); up to 32 arguments are ``$(Arg0)`` and on."""
        return self.run_ex(arguments, flags, session)

    def run_ex(
        self, arguments: Sequence[str] = (), flags: int = 0, session: int = 0, user: str | None = None
    ) -> RunningTask:
        """Start an instance now (``RunEx``), with ``TASK_RUN_FLAGS``, in a session, or as a user.

        Raises ``ScheduleError`` where it is disabled (0x80041326), may not be started by hand (0x80041328),
        or the user or session is none (0x80070534, 0x80070520).
        """
        request = wire.RunRequest(
            path=self.path, arguments=tuple(arguments), flags=int(flags), session=session, user=user
        )
        return RunningTask(self._transport, self._transport.send(calls.run(request)))

    def get_instances(self) -> NumberedCollection[RunningTask]:
        """Return the running instances (``GetInstances``)."""
        return _instances(self._transport, wire.RunList(runs=self.runs(live=True)))

    def get_run_times(
        self, start: dt.datetime | None = None, end: dt.datetime | None = None, count: int = 100
    ) -> tuple[dt.datetime, ...]:
        """When its triggers run from ``start`` on and before ``end`` (``GetRunTimes``), disabled ones too."""
        query: Query = {
            "path": self.path,
            "start": None if start is None else start.isoformat(),
            "end": None if end is None else end.isoformat(),
            "count": count,
        }
        return self._transport.send(calls.run_times(query)).times

    def get_security_descriptor(self, information: int = _ALL_PARTS) -> str:
        """Return the security descriptor as SDDL (``GetSecurityDescriptor``).

        ``information`` is the sum of owner 1, group 2, list 4, audit 8.
        """
        return _descriptor(self._transport, "task", self.path, information).sddl

    def permissions(self) -> wire.DescriptorMessage:
        """Return the security descriptor, and whether it is the task's own."""
        return _descriptor(self._transport, "task", self.path, _ALL_PARTS)

    def set_security_descriptor(self, sddl: str, flags: int = 0) -> None:
        """Set the security descriptor (``SetSecurityDescriptor``); empty returns to roles alone.

        The task's principal gets an entry to read and start it, unless ``flags`` are 0x10.
        """
        _set_descriptor(self._transport, "task", self.path, sddl, flags)

    def stop(self) -> bool:
        """Stop all instances (``Stop``); whether there were any."""
        request = wire.TaskPathRequest(path=self.path)
        return self._transport.send(calls.stop(request)).stopped

    def runs(self, *, live: bool | None = None) -> tuple[wire.RunMessage, ...]:
        """Return the task's instances, newest first (``GetInstances`` and the history)."""
        return self._transport.whole(calls.runs(self.path, live)).runs


def _flags(flags: int) -> int:
    if flags & ~_HIDDEN:
        raise InvalidArgument(f"{flags:#x} are not flags of a list.", advice="Give 0, or 1 for hidden tasks.")
    return flags


def _instances(transport: Transport, message: wire.RunList) -> NumberedCollection[RunningTask]:
    return NumberedCollection((RunningTask(transport, each) for each in message.runs), lambda run: run.name)


def _descriptor(transport: Transport, noun: str, path: str, information: int) -> wire.DescriptorMessage:
    return transport.send(calls.descriptor(noun, path, information))


def _set_descriptor(transport: Transport, noun: str, path: str, sddl: str, flags: int) -> None:
    request = wire.DescriptorRequest(path=path, sddl=sddl, flags=int(flags))
    transport.send(calls.set_descriptor(noun, request))
