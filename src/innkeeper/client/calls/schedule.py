"""Calls of the scheduler: folders, tasks, instances."""

from __future__ import annotations

from innkeeper.client.calls.call import Call, Query, delete, get, post, put
from innkeeper.wire import schedule as wire
from innkeeper.wire.messages import Nothing
from innkeeper.wire.schedule_times import OperationList, RunCalendar

_TASK = "/v1/schedule/task"
_FOLDER = "/v1/schedule/folder"
_INSTANCE = "/v1/schedule/instance"


def folder(path: str) -> Call[wire.FolderMessage]:
    """One folder."""
    return get(_FOLDER, wire.FolderMessage, path=path)


def create_folder(request: wire.FolderRequest) -> Call[wire.FolderMessage]:
    """Make a folder, and those around it."""
    return post(_FOLDER, wire.FolderMessage, request)


def delete_folder(path: str) -> Call[Nothing]:
    """Remove an empty folder."""
    return delete(_FOLDER, path=path)


def calendar(query: Query) -> Call[RunCalendar]:
    """When tasks run between two moments."""
    return get("/v1/schedule/calendar", RunCalendar, **query)


def history(query: Query) -> Call[wire.RunList]:
    """Instances of all tasks, newest first."""
    return get("/v1/schedule/history", wire.RunList, **query)


def operations() -> Call[OperationList]:
    """The service's own operations."""
    return get("/v1/schedule/operations", OperationList)


def running(hidden: bool) -> Call[wire.RunList]:
    """Live instances of all tasks."""
    return get("/v1/schedule/running", wire.RunList, hidden=hidden)


def tasks(folder: str, hidden: bool) -> Call[wire.ScheduledTaskList]:
    """The tasks directly in a folder."""
    return get("/v1/schedule/tasks", wire.ScheduledTaskList, folder=folder, hidden=hidden)


def task(path: str) -> Call[wire.ScheduledTaskMessage]:
    """One task."""
    return get(_TASK, wire.ScheduledTaskMessage, path=path)


def register(request: wire.RegisterRequest) -> Call[wire.ScheduledTaskMessage]:
    """Register a task."""
    return post(_TASK, wire.ScheduledTaskMessage, request)


def delete_task(path: str) -> Call[Nothing]:
    """Forget a task."""
    return delete(_TASK, path=path)


def enable(request: wire.EnableRequest) -> Call[wire.ScheduledTaskMessage]:
    """Enable or disable a task."""
    return post(f"{_TASK}/enable", wire.ScheduledTaskMessage, request)


def run(request: wire.RunRequest) -> Call[wire.RunMessage]:
    """Start an instance of a task."""
    return post(f"{_TASK}/run", wire.RunMessage, request)


def run_times(query: Query) -> Call[wire.RunTimesMessage]:
    """When a task's triggers run between two moments."""
    return get(f"{_TASK}/run-times", wire.RunTimesMessage, **query)


def stop(request: wire.TaskPathRequest) -> Call[wire.StopMessage]:
    """Stop all instances of a task."""
    return post(f"{_TASK}/stop", wire.StopMessage, request)


def runs(path: str, live: bool | None) -> Call[wire.RunList]:
    """The instances of a task, newest first."""
    return get(f"{_TASK}/runs", wire.RunList, path=path, live=live)


def descriptor(noun: str, path: str, information: int) -> Call[wire.DescriptorMessage]:
    """The security descriptor of a folder or a task."""
    return get(f"/v1/schedule/{noun}/descriptor", wire.DescriptorMessage, path=path, information=information)


def set_descriptor(noun: str, request: wire.DescriptorRequest) -> Call[wire.DescriptorMessage]:
    """Set the security descriptor of a folder or a task."""
    return put(f"/v1/schedule/{noun}/descriptor", wire.DescriptorMessage, request)


def instance(guid: str) -> Call[wire.RunMessage]:
    """One live instance."""
    return get(_INSTANCE, wire.RunMessage, instance=guid)


def stop_instance(request: wire.InstanceRequest) -> Call[wire.StopMessage]:
    """Stop an instance."""
    return post(f"{_INSTANCE}/stop", wire.StopMessage, request)


def command_instance(verb: str, request: wire.InstanceRequest) -> Call[wire.RunMessage]:
    """Pause an instance, or let it go on."""
    return post(f"{_INSTANCE}/{verb}", wire.RunMessage, request)
