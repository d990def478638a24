"""Visibility: what a caller may see of machines, tasks, folders and events."""

from __future__ import annotations

from collections.abc import Callable

from innkeeper.identity.caller import Caller
from innkeeper.identity.roles import Reach, Role, folder
from innkeeper.server.house import House
from innkeeper.server.identity.subjects import MACHINE_LOCK, machine_called, resource_of_task
from innkeeper.tasks.task import Task
from innkeeper.wire.events import Event, EventGroup, EventKind

#: Groups of events whose subject is a machine's name.
_OF_MACHINES = frozenset({EventGroup.MACHINE, EventGroup.AGENT, EventGroup.CHANNEL})


def sees_machine(house: House, caller: Caller, name: str) -> bool:
    """Whether the caller may see the machine."""
    return caller.may(Role.VIEWER, machine_called(house, name))


def sees_task(house: House, caller: Caller, task: Task) -> bool:
    """Whether the caller may see the task: by its machine, or as its owner."""
    return task.owner == caller.name or caller.may(Role.VIEWER, resource_of_task(house, task))


def sees_folder(caller: Caller, path: str) -> bool:
    """Whether the caller may see the folder, or passes through it to one that they may see."""
    if caller.may(Role.VIEWER, folder(path)):
        return True
    below = path.casefold().rstrip("\\") + "\\"
    granted = (grant.name for grant in caller.grants if grant.reach is Reach.FOLDER)
    return any(
        name.casefold().startswith(below) and caller.may(Role.VIEWER, folder(name)) for name in granted
    )


def sees_event(house: House, caller: Caller) -> Callable[[Event], bool]:
    """Return a filter for the events a caller may see."""
    if caller.may(Role.VIEWER):
        return lambda event: True
    #: What has been heard of tasks: a line of a log says nothing of what its task is about.
    tasks: dict[str, bool] = {}

    def sees(event: Event) -> bool:
        if not event.subject:
            return True
        if event.kind.group is EventGroup.TASK:
            if "owner" in event.data:
                tasks[event.subject] = event.data["owner"] == caller.name or _sees(_machine_of_task(event))
                if event.kind is EventKind.TASK_ENDED:
                    return tasks.pop(event.subject)
            return tasks.get(event.subject, False)
        return _sees(_machine_of(event))

    def _sees(name: str) -> bool:
        return bool(name) and sees_machine(house, caller, name)

    return sees


def _machine_of_task(event: Event) -> str:
    lock = str(event.data.get("lock") or "")
    return lock.removeprefix(MACHINE_LOCK) if lock.startswith(MACHINE_LOCK) else ""


def _machine_of(event: Event) -> str:
    if event.kind.group in _OF_MACHINES:
        return event.subject
    return str(event.data.get("machine") or "")
