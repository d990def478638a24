"""Visibility: what a caller may see of machines, tasks, folders and events."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from innkeeper.identity.caller import Caller
from innkeeper.identity.roles import Reach, Role, folder, machine
from innkeeper.machines.directory import MachineEntry
from innkeeper.server.house import House
from innkeeper.server.identity.subjects import (
    MACHINE_LOCK,
    machine_called,
    resource_of,
    resource_of_lock,
    resource_of_task,
)
from innkeeper.tasks.task import Task
from innkeeper.updates.booking import Booking
from innkeeper.wire.events import Event, EventGroup, EventKind

#: Groups of events whose subject is a machine's name.
_OF_MACHINES = frozenset({EventGroup.MACHINE, EventGroup.AGENT, EventGroup.CHANNEL})
#: The directory's word on a machine elsewhere is believed for so long: its labels may change.
_BELIEVED_SECONDS: Final = 10.0
_MOST_FOUND: Final = 10_000


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


def sees_event(house: House, caller: Caller) -> Callable[[Event], Awaitable[bool]]:
    """Return a filter for the events a caller may see, of machines at other servers too."""
    if caller.may(Role.VIEWER):
        return _sees_all
    #: What has been heard of tasks: a line of a log says nothing of what its task is about.
    tasks: dict[str, bool] = {}
    elsewhere = _Elsewhere(house)

    async def sees(event: Event) -> bool:
        if not event.subject:
            return True
        if event.kind.group is not EventGroup.TASK:
            name = _machine_of(event)
            return bool(name) and await sees_machine_called(name, _title_of(event))
        if "owner" in event.data:
            tasks[event.subject] = event.data["owner"] == caller.name or await sees_lock(event)
            if event.kind is EventKind.TASK_ENDED:
                return tasks.pop(event.subject)
        return tasks.get(event.subject, False)

    async def sees_lock(event: Event) -> bool:
        lock, about = str(event.data.get("lock") or ""), str(event.data.get("about") or "")
        if lock.startswith(MACHINE_LOCK) and house.board.known(lock.removeprefix(MACHINE_LOCK)) is None:
            return await sees_machine_called(lock.removeprefix(MACHINE_LOCK), about)
        return caller.may(Role.VIEWER, resource_of_lock(house, lock or None, about))

    async def sees_machine_called(name: str, title: str) -> bool:
        entry = await elsewhere.entry(name, title) if house.board.known(name) is None else None
        resource = machine_called(house, name) if entry is None else resource_of(entry)
        return caller.may(Role.VIEWER, resource) or (
            entry is None and caller.may(Role.VIEWER, machine(title))
        )

    return sees


async def _sees_all(event: Event) -> bool:
    return True


class _Elsewhere:
    """Machines at other servers, as the directory has them; looked up anew now and then."""

    def __init__(self, house: House) -> None:
        self._neighbours = house.neighbours
        self._found: dict[str, tuple[float, MachineEntry | None]] = {}

    async def entry(self, key: str, title: str) -> MachineEntry | None:
        """Return a machine by its key, or by what people call it."""
        if self._neighbours is None:
            return None
        now = asyncio.get_running_loop().time()
        at, found = self._found.get(key, (float("-inf"), None))
        if now - at < _BELIEVED_SECONDS:
            return found
        if len(self._found) >= _MOST_FOUND:
            self._found.clear()
        entries = await self._neighbours.directory.find(title.rpartition("/")[2])
        found = next((entry for entry in entries if key in (entry.key, entry.name)), None)
        self._found[key] = now, found
        return found


def _title_of(event: Event) -> str:
    """Return what people call the machine that an event is about."""
    if event.kind.group in _OF_MACHINES:
        return event.subject
    return str(event.data.get("machine") or "")


def _machine_of(event: Event) -> str:
    if event.kind.group in _OF_MACHINES:
        return event.about
    return str(event.data.get("key") or event.data.get("machine") or "")
