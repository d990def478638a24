"""Visibility: what a caller may see of machines, tasks, folders and events."""

from __future__ import annotations

from collections.abc import Callable

from innkeeper.identity.caller import Caller
from innkeeper.identity.roles import Reach, Role, folder, machine
from innkeeper.server.house import House
from innkeeper.server.identity.subjects import machine_called, resource_of, resource_of_lock, resource_of_task
from innkeeper.tasks.task import Task
from innkeeper.updates.booking import Booking
from innkeeper.wire.events import Event, EventGroup, EventKind

#: Groups of events whose subject is a machine's name.
_OF_MACHINES = frozenset({EventGroup.MACHINE, EventGroup.AGENT, EventGroup.CHANNEL})


def sees_machine(house: House, caller: Caller, name: str) -> bool:
    """Whether the caller may see the machine."""
    return caller.may(Role.VIEWER, machine_called(house, name))


def sees_booking(house: House, caller: Caller, booking: Booking) -> bool:
    """Whether the caller may see the booking: by its machine, or by the name of one that is gone."""
    known = house.board.known(booking.of)
    return caller.may(Role.VIEWER, machine(booking.machine) if known is None else resource_of(known))


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
                lock, about = event.data.get("lock"), str(event.data.get("about") or "")
                mine = event.data["owner"] == caller.name
                tasks[event.subject] = mine or _sees_lock(lock if isinstance(lock, str) else None, about)
                if event.kind is EventKind.TASK_ENDED:
                    return tasks.pop(event.subject)
            return tasks.get(event.subject, False)
        return _sees(_machine_of(event))

    def _sees(name: str) -> bool:
        return bool(name) and sees_machine(house, caller, name)

    def _sees_lock(lock: str | None, about: str) -> bool:
        return caller.may(Role.VIEWER, resource_of_lock(house, lock, about))

    return sees


def _machine_of(event: Event) -> str:
    if event.kind.group in _OF_MACHINES:
        return event.about
    return str(event.data.get("key") or event.data.get("machine") or "")
