"""The resource that a request is about, for the check of the caller's role on it."""

from __future__ import annotations

import dataclasses
import enum
import json
from collections.abc import Awaitable, Callable
from typing import cast

from starlette.requests import HTTPConnection, Request

from innkeeper.errors import ErrorCode, InnkeeperError, MachineNotFound, ScheduleError, TaskNotFound
from innkeeper.identity.roles import THE_INN, Reach, Resource, folder, machine
from innkeeper.machines.asking import may_be_elsewhere
from innkeeper.machines.directory import MachineEntry
from innkeeper.machines.machine import Machine
from innkeeper.machines.service import lock_of
from innkeeper.server.house import House
from innkeeper.server.relay.reference import Gathered, Reference, ReferenceKind
from innkeeper.server.relay.schedules import starter_of
from innkeeper.tasks.task import Task

#: Names what decides which server of the inn answers a request; ``None`` where any may.
Where = Callable[[HTTPConnection], Awaitable[Reference | None]]

#: Finds what a request is about; ``None`` where that is not there, which the handler says by itself.
Find = Callable[[HTTPConnection], Awaitable[Resource | None]]

#: How the lock of a task on a machine begins.
MACHINE_LOCK = lock_of("")

#: The largest number that a task can have.
MAX_ID = 2**63 - 1


class Kind(enum.Enum):
    """Kind of resource a request is about."""

    INN = enum.auto()
    MACHINE = enum.auto()
    #: A folder of scheduled tasks, or a scheduled task.
    FOLDER = enum.auto()
    #: A running or ended task; the role on it is that on the machine that it is about.
    TASK = enum.auto()
    #: Many things, of which the handler shows each caller those that they may see.
    MANY = enum.auto()


@dataclasses.dataclass(frozen=True, slots=True)
class Subject:
    """How a route's resource is found in its requests."""

    kind: Kind
    #: ``None`` for many.
    find: Find | None
    #: What is said of one that the caller may not see, where that is not what ``unseen`` says.
    missing: Callable[[HTTPConnection], InnkeeperError] | None = None
    #: What decides which server answers; ``None`` where any does, from what all share.
    where: Where | None = None
    #: While the owner is away the server that was asked answers, from what all share.
    waits: bool = False
    #: How the parts of all servers are put together; ``None`` where one server has the whole.
    gathered: Gathered | None = None

    @property
    def waiting(self) -> Subject:
        """The same for what may be done while the owner of the host is away: it finds it when it is back."""
        return dataclasses.replace(self, waits=True)

    def of_all_servers(
        self,
        *,
        same: tuple[str, ...] = (),
        all_true: tuple[str, ...] = (),
        list_of_hosts: bool = False,
        pages_of: str = "",
        **lists: tuple[str, ...],
    ) -> Subject:
        """The same for a list of which each server has a part; ``lists`` names each list's order."""
        gathered = Gathered(
            tuple(lists.items()), same=same, all_true=all_true, list_of_hosts=list_of_hosts, pages_of=pages_of
        )
        return dataclasses.replace(self, gathered=gathered)


async def _the_inn(connection: HTTPConnection) -> Resource:
    return THE_INN


#: The whole server.
the_inn = Subject(Kind.INN, _the_inn)

#: Whatever of it the caller may see: the handler leaves out the rest.
what_they_see = Subject(Kind.MANY, None)


async def _host_in_query(connection: HTTPConnection) -> Reference | None:
    host = connection.query_params.get("host")
    return None if host is None else Reference(ReferenceKind.HOST, host)


async def _host_in_body(connection: HTTPConnection) -> Reference | None:
    host = await _field(connection, "host")
    return Reference(ReferenceKind.HOST, host) if host else None


#: The files of the host that ``?host=`` names, else of the computer that is asked.
files_of_a_host = Subject(Kind.INN, _the_inn, where=_host_in_query)

#: The host that a field of the body names, else the one that is asked.
host_in_body = Subject(Kind.INN, _the_inn, where=_host_in_body)


def machine_in_path(name: str) -> Subject:
    """The machine named in the path."""

    async def find(connection: HTTPConnection) -> Resource:
        return machine_called(house_of(connection), connection.path_params[name])

    async def where(connection: HTTPConnection) -> Reference:
        return Reference(ReferenceKind.MACHINE, connection.path_params[name])

    return Subject(Kind.MACHINE, find, where=where)


def machine_in_body(name: str) -> Subject:
    """The machine named in a field of the body."""

    async def find(connection: HTTPConnection) -> Resource:
        return machine_called(house_of(connection), await _field(connection, name))

    async def where(connection: HTTPConnection) -> Reference:
        return Reference(ReferenceKind.MACHINE, await _field(connection, name))

    return Subject(Kind.MACHINE, find, where=where)


def folder_in_query(name: str, default: str = "\\") -> Subject:
    """The folder or scheduled task whose path is in the query."""

    async def find(connection: HTTPConnection) -> Resource:
        return _folder(connection.query_params.get(name, default))

    return Subject(Kind.FOLDER, find)


def folder_in_body(name: str) -> Subject:
    """The folder or scheduled task whose path is in a field of the body."""

    async def find(connection: HTTPConnection) -> Resource:
        return _folder(await _field(connection, name) or "\\")

    return Subject(Kind.FOLDER, find)


def scheduled_task_in_body(name: str) -> Subject:
    """The scheduled task whose path is in a field of the body; the server that starts it answers."""

    async def where(connection: HTTPConnection) -> Reference | None:
        path = _folder(await _field(connection, name)).name
        try:
            return starter_of(await house_of(connection).schedule.registry.task(path))
        except InnkeeperError:
            return None  # the handler says what is wrong with it

    return dataclasses.replace(folder_in_body(name), where=where)


def task_in_path(name: str) -> Subject:
    """What the task with this id is about."""

    async def find(connection: HTTPConnection) -> Resource | None:
        house, given = house_of(connection), str(connection.path_params[name])
        if not given.isdecimal() or int(given) > MAX_ID:
            return None
        try:
            return resource_of_task(house, await house.tasks.get(int(given)))
        except TaskNotFound:
            return None

    def missing(connection: HTTPConnection) -> InnkeeperError:
        return TaskNotFound(
            f"There is no task {connection.path_params[name]}.", advice="Run: innkeeper task list"
        )

    return Subject(Kind.TASK, find, missing)


def house_of(connection: HTTPConnection) -> House:
    """Return the running service of a request."""
    return cast(House, connection.app.state.house)


def machine_called(house: House, name: str) -> Resource:
    """Return a machine, by any reference to it, as a resource with the labels it was last seen with."""
    known = house.board.known(name)
    if known is not None:
        return dataclasses.replace(resource_of(known), asked=name)
    return machine(name, () if house.neighbours is None else house.neighbours.labels(name))


async def key_of(house: House, name: str) -> str:
    """Return the key of a machine, by any reference to it; one that is gone is what it was called.

    Those of hosts that other servers look after, or nobody does, are known too. Raises ``MachineAmbiguous``.
    """
    try:
        return (await house.machines.place_of(name)).key
    except InnkeeperError as error:
        if not may_be_elsewhere(error):
            raise
        entry = None if house.neighbours is None else await house.neighbours.entry_of_machine(name)
        if entry is None and not isinstance(error, MachineNotFound):
            raise
        return name if entry is None else entry.key


def resource_of(known: Machine | MachineEntry) -> Resource:
    """Return a machine as a resource."""
    return machine(known.title, known.labels, names=(f"{known.host}/{known.name}", known.key))


def resource_of_task(house: House, task: Task) -> Resource:
    """Return what a task is about: the machine that it locks, else the whole service."""
    return resource_of_lock(house, task.lock, task.about)


def resource_of_lock(house: House, lock: str | None, about: str) -> Resource:
    """Return what a task with this lock is about; ``about`` is what people called it."""
    if lock is None or not lock.startswith(MACHINE_LOCK):
        return THE_INN
    known = house.board.known(lock.removeprefix(MACHINE_LOCK))
    # One that is gone, or on another server's host, is known by the name that it had.
    return machine(about) if known is None else resource_of(known)


def unseen(resource: Resource) -> InnkeeperError:
    """Return the error for a resource that does not exist, also used for one the caller may not see."""
    if resource.kind is Reach.MACHINE:
        asked = resource.asked or resource.name
        return MachineNotFound(
            f"There is no machine “{asked}”.",
            machine=asked,
            advice="innkeeper machine list shows all of them.",
        )
    return ScheduleError(
        f"There is no folder {resource.name}.", code=ErrorCode.ERROR_FILE_NOT_FOUND, value=resource.name
    )


def _folder(path: str) -> Resource:
    return folder(path if path.startswith("\\") else f"\\{path}")


async def _field(connection: HTTPConnection, name: str) -> str:
    """Return a field of the body; empty where missing, which the route's own check refuses."""
    # FastAPI has read the body before it asks what a route depends on; it is kept in the request.
    try:
        body = json.loads(await cast(Request, connection).body())
    except ValueError:
        return ""
    return str(body.get(name) or "") if isinstance(body, dict) else ""
