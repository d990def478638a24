"""Describe what is said of scheduled tasks between a client and the service."""

from __future__ import annotations

from pydantic import AwareDatetime, Field

from innkeeper.wire.messages import Message, Paged, Request
from innkeeper.wire.states import RunState, TaskState

#: CREATE_OR_UPDATE of the documented flags of registration.
CREATE_OR_UPDATE = 6


class FolderMessage(Message):
    """A folder of scheduled tasks (``ITaskFolder``)."""

    path: str
    name: str
    #: The paths of the folders directly in it.
    folders: tuple[str, ...]


class FolderRequest(Request):
    """Make a folder, and those around it."""

    path: str = Field(max_length=10_000)
    sddl: str = ""


class ScheduledTaskMessage(Message):
    """A registered task (``IRegisteredTask``)."""

    path: str
    name: str
    state: TaskState
    enabled: bool
    hidden: bool
    owner: str
    #: The definition.
    xml: str
    next_run_time: AwareDatetime | None
    last_run_time: AwareDatetime | None
    #: The exit code of the last run, or a result code.
    last_task_result: int
    number_of_missed_runs: int
    #: What of the definition has no effect on the service's computer, and why: a sentence each.
    notices: tuple[str, ...] = ()
    #: The machines that it works on, by the host and the name that each has now.
    machines: tuple[str, ...] = ()


class ScheduledTaskList(Paged):
    """Registered tasks, in the order of their paths."""

    entries_field = "tasks"

    tasks: tuple[ScheduledTaskMessage, ...]


class RegisterRequest(Request):
    """Register a task (``RegisterTask``)."""

    #: Where; in the root folder under a new name where nothing is said.
    path: str | None = Field(default=None, max_length=10_000)
    xml: str
    #: The documented flags of registration.
    flags: int = CREATE_OR_UPDATE
    user_id: str | None = None
    password: str | None = None
    #: The documented number of the logon type.
    logon_type: int = 0
    sddl: str = ""


class TaskPathRequest(Request):
    """Name a scheduled task."""

    path: str = Field(max_length=10_000)


class EnableRequest(TaskPathRequest):
    """Enable or disable a task."""

    enabled: bool


class RunRequest(TaskPathRequest):
    """Start a task by hand (``RunEx``)."""

    arguments: tuple[str, ...] = ()
    #: The documented flags of a start.
    flags: int = 0
    session: int = 0
    #: As whom: an account's name, or its security identifier; the task's principal where ``None``.
    user: str | None = Field(default=None, max_length=256)


class RunMessage(Message):
    """One instance of a task, live or in the history (``IRunningTask``)."""

    #: ``InstanceGuid``.
    id: str
    #: The task's.
    path: str = ""
    name: str = ""
    #: The number of the action being done, from 1 (``CurrentAction``).
    action: int = 0
    #: The service's process (``EnginePID``).
    engine_pid: int = 0
    state: RunState
    #: The trigger's number from 1; 0 where a person started it.
    trigger: int
    due: AwareDatetime
    started_at: AwareDatetime | None
    ended_at: AwareDatetime | None
    result: int
    reason: str
    #: The running operation that carries it: its log has the output.
    task_id: int | None


class RunList(Paged):
    """Instances of a task, newest first."""

    entries_field = "runs"

    runs: tuple[RunMessage, ...]


class RunTimesMessage(Message):
    """When a task's triggers run (``GetRunTimes``)."""

    times: tuple[AwareDatetime, ...]
    #: 0 where these are all, 1 where there are more (``S_FALSE``), 0x00041304 for none in that time,
    #: 0x00041305 for a task that no clock starts.
    code: int


class DescriptorMessage(Message):
    """A security descriptor in SDDL."""

    sddl: str
    #: Whether it was set; else it shows what holds by roles.
    is_own: bool


class DescriptorRequest(TaskPathRequest):
    """Request to set the security descriptor of a folder or a task."""

    sddl: str = Field(max_length=16_384)
    #: 0, or 0x10 to give the task's principal no entry of its own.
    flags: int = 0


class InstanceRequest(Request):
    """Name an instance."""

    instance: str = Field(max_length=64)


class StopMessage(Message):
    """Whether there was anything to stop."""

    stopped: bool
