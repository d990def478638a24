"""Routes of scheduled tasks and their folders."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from fastapi import APIRouter

from innkeeper.errors import InvalidArgument
from innkeeper.identity import roles
from innkeeper.identity.caller import Caller
from innkeeper.identity.roles import Role
from innkeeper.schedule.calendar.host import host_zone
from innkeeper.schedule.model.definition import TaskDefinition
from innkeeper.schedule.model.enumerations import LogonType, TaskCreation, TaskRunFlags
from innkeeper.schedule.path import SchedulePath
from innkeeper.schedule.registered import Registered, Run, RunFilter
from innkeeper.schedule.running.instance import definition_of
from innkeeper.schedule.running.whom import refuse_powers
from innkeeper.schedule.security.sddl import Right
from innkeeper.server.house import House
from innkeeper.server.http.callers import who
from innkeeper.server.http.paging import Order, PageWanted, Place, ThePage, wrong_place
from innkeeper.server.identity.needs import needs
from innkeeper.server.identity.subjects import (
    folder_in_body,
    folder_in_query,
    scheduled_task_in_body,
    unseen,
    what_they_see,
)
from innkeeper.server.identity.visibility import sees_folder
from innkeeper.server.routes.asking import TheCaller, TheHouse, TheUser
from innkeeper.server.scheduled_machines import called_now, keys_of_machines
from innkeeper.wire import schedule as wire

router = APIRouter(prefix="/schedule", tags=["schedule"])

_BY_PATH: Final[Order[Registered]] = Order(lambda task: (task.path.key,))

#: The digits of the greatest number that a database has.
_MOST_DIGITS: Final = 18

#: A run, and its task where that is still there.
RunAndTask = tuple[Run, Registered | None]


@router.get("/folder", operation_id="get_schedule_folder", dependencies=needs(Role.VIEWER, what_they_see))
async def get_folder(house: TheHouse, caller: TheCaller, path: str = "\\") -> wire.FolderMessage:
    """A folder, and the folders directly in it."""
    registry = house.schedule.registry
    folder = await registry.folder(path)
    if not sees_folder(caller, str(folder.path)):
        raise unseen(roles.folder(path))
    asking, guard = await who(caller, path), await registry.guard()
    guard.check_folder(asking, Right.READ, folder)
    inside = [
        each
        for each in await registry.folders(folder.path)
        if sees_folder(caller, str(each.path))
        and guard.may(asking, Right.READ, each.path, each.sddl, task=False)
    ]
    return wire.FolderMessage(
        path=str(folder.path), name=folder.path.name, folders=tuple(str(each.path) for each in inside)
    )


@router.post(
    "/folder",
    status_code=201,
    operation_id="create_schedule_folder",
    dependencies=needs(Role.ADMINISTRATOR, folder_in_body("path")),
)
async def create_folder(
    request: wire.FolderRequest, house: TheHouse, caller: TheCaller
) -> wire.FolderMessage:
    """Create a folder, and those above it."""
    guard = await house.schedule.registry.guard()
    guard.check_place(await who(caller, request.path), SchedulePath.parse(request.path))
    folder = await house.schedule.registry.create_folder(request.path, request.sddl)
    return wire.FolderMessage(path=str(folder.path), name=folder.path.name, folders=())


@router.delete(
    "/folder",
    status_code=204,
    operation_id="delete_schedule_folder",
    dependencies=needs(Role.ADMINISTRATOR, folder_in_query("path")),
)
async def delete_folder(house: TheHouse, caller: TheCaller, path: str) -> None:
    """Remove an empty folder."""
    registry = house.schedule.registry
    folder = await registry.folder(path)
    (await registry.guard()).check_folder(await who(caller, path), Right.DELETE, folder)
    await house.schedule.registry.delete_folder(path)


@router.get("/tasks", operation_id="list_scheduled_tasks", dependencies=needs(Role.VIEWER, what_they_see))
async def list_tasks(
    house: TheHouse, caller: TheCaller, page: ThePage, folder: str = "\\", hidden: bool = False
) -> wire.ScheduledTaskList:
    """The tasks directly in a folder."""
    registry = house.schedule.registry
    within = await registry.folder(folder)
    if not sees_folder(caller, str(within.path)):
        raise unseen(roles.folder(folder))
    asking, guard = await who(caller, folder), await registry.guard()
    guard.check_folder(asking, Right.READ, within)
    seen = (
        task
        for task in await registry.tasks(within.path, hidden=hidden)
        if caller.may(Role.VIEWER, roles.folder(str(task.path)))
        and guard.may(asking, Right.READ, task.path, task.sddl, task.owner, task=True)
    )
    found = page.of(seen, _BY_PATH)
    return wire.ScheduledTaskList(
        tasks=tuple([await _message(house, caller, task) for task in found.entries]),
        next_after=found.next_after,
    )


@router.get(
    "/task", operation_id="get_scheduled_task", dependencies=needs(Role.VIEWER, folder_in_query("path"))
)
async def get_task(house: TheHouse, caller: TheCaller, path: str) -> wire.ScheduledTaskMessage:
    """One task."""
    return await _message(house, caller, await permitted(house, caller, Right.READ, path))


@router.post(
    "/task",
    status_code=201,
    operation_id="register_scheduled_task",
    dependencies=needs(Role.ADMINISTRATOR, folder_in_body("path")),
)
async def register(
    request: wire.RegisterRequest, house: TheHouse, user: TheUser, caller: TheCaller
) -> wire.ScheduledTaskMessage:
    """Register a task, or only check it."""
    asking = await who(caller, request.path or "\\")
    definition = TaskDefinition.from_xml(request.xml, strict=True)
    # First: machines that the caller may not see are not told of.
    refuse_powers(definition, asking)
    machines = await keys_of_machines(definition, house)
    task = await house.schedule.registry.register(
        request.path,
        request.xml,
        TaskCreation(request.flags),
        user_id=request.user_id,
        password=request.password,
        logon_type=_logon_type(request.logon_type),
        sddl=request.sddl,
        owner=user,
        who=asking,
        machines=machines,
    )
    house.schedule.scheduler.wake()
    return await _message(house, caller, task)


@router.delete(
    "/task",
    status_code=204,
    operation_id="delete_scheduled_task",
    dependencies=needs(Role.ADMINISTRATOR, folder_in_query("path")),
)
async def delete_task(house: TheHouse, caller: TheCaller, path: str) -> None:
    """Delete a task and its history."""
    await permitted(house, caller, Right.DELETE, path)
    await house.schedule.registry.delete(path)


@router.post(
    "/task/enable",
    operation_id="enable_scheduled_task",
    dependencies=needs(Role.OPERATOR, folder_in_body("path")),
)
async def enable(
    request: wire.EnableRequest, house: TheHouse, caller: TheCaller
) -> wire.ScheduledTaskMessage:
    """Enable or disable a task."""
    task = await permitted(house, caller, Right.WRITE, request.path)
    task = await house.schedule.registry.set_enabled(task, request.enabled)
    house.schedule.scheduler.wake()
    return await _message(house, caller, task)


@router.post(
    "/task/run",
    status_code=202,
    operation_id="run_scheduled_task",
    dependencies=needs(Role.OPERATOR, scheduled_task_in_body("path")),
)
async def run(request: wire.RunRequest, house: TheHouse, caller: TheCaller) -> wire.RunMessage:
    """Start a task by hand."""
    task = await permitted(house, caller, Right.EXECUTE, request.path)
    flags = TaskRunFlags(request.flags)
    run_as = await asyncio.to_thread(
        house.schedule.starters.account_of,
        await who(caller, request.path),
        flags,
        session=request.session,
        user=request.user,
    )
    started = await house.schedule.scheduler.start(
        task, request.arguments, flags, session=request.session, run_as=run_as
    )
    return run_message(started, task)


@router.post(
    "/task/stop",
    operation_id="stop_scheduled_task",
    dependencies=needs(Role.OPERATOR, folder_in_body("path")),
)
async def stop(request: wire.TaskPathRequest, house: TheHouse, caller: TheCaller) -> wire.StopMessage:
    """Stop all instances of a task."""
    task = await permitted(house, caller, Right.EXECUTE, request.path)
    return wire.StopMessage(stopped=await house.schedule.scheduler.stop(task))


@router.get(
    "/task/runs", operation_id="list_scheduled_runs", dependencies=needs(Role.VIEWER, folder_in_query("path"))
)
async def list_runs(
    house: TheHouse, caller: TheCaller, page: ThePage, path: str, live: bool | None = None
) -> wire.RunList:
    """The instances of a task, newest first."""
    task = await permitted(house, caller, Right.READ, path)
    return await page_of_runs(house, page, RunFilter(task_id=task.id, live=live), _is_seen)


async def _is_seen(task: Registered) -> bool:
    return True


async def page_of_runs(
    house: House, page: PageWanted, wanted: RunFilter, sees: Callable[[Registered], Awaitable[bool]]
) -> wire.RunList:
    """Return the page of the runs that are wanted, newest first, whose tasks the caller sees."""

    async def read(place: Place | None, limit: int) -> Sequence[tuple[Place, RunAndTask]]:
        before = None if place is None else _number(place)
        found = await house.schedule.scheduler.search(wanted, before=before, limit=limit)
        return [((str(number),), (run, task)) for number, run, task in found]

    async def is_wanted(each: RunAndTask) -> bool:
        return each[1] is not None and await sees(each[1])

    found = await page.read(read, is_wanted, parts=1)
    return wire.RunList(
        runs=tuple(run_message(run, task) for run, task in found.entries if task is not None),
        next_after=found.next_after,
    )


def _number(place: Place) -> int:
    if not (place[0].isascii() and place[0].isdecimal() and len(place[0]) <= _MOST_DIGITS):
        raise wrong_place()
    return int(place[0])


async def permitted(house: House, caller: Caller, right: Right, path: str) -> Registered:
    """Return the task of a path, where its security descriptor allows the caller this access."""
    registry = house.schedule.registry
    task = await registry.task(path)
    (await registry.guard()).check_task(await who(caller, path), right, task)
    return task


def _logon_type(number: int) -> LogonType:
    try:
        return LogonType(number)
    except ValueError as problem:
        raise InvalidArgument(f"{number} is not a logon type.", advice="Give 0 to 6.") from problem


async def _message(house: House, caller: Caller, task: Registered) -> wire.ScheduledTaskMessage:
    definition = definition_of(task)
    # Off the loop: a zone's file may have to be read.
    following = await asyncio.to_thread(lambda: definition.next_run_time(house.clock.now(), zone=host_zone()))
    return wire.ScheduledTaskMessage(
        path=str(task.path),
        name=task.path.name,
        state=await house.schedule.scheduler.state(task),
        enabled=task.enabled,
        hidden=task.hidden,
        owner=task.owner,
        xml=task.xml,
        next_run_time=following,
        last_run_time=task.last_run,
        last_task_result=task.last_result,
        number_of_missed_runs=task.missed_runs,
        notices=await asyncio.to_thread(house.schedule.notices.of, definition),
        machines=await called_now(task, house, caller),
    )


def run_message(run: Run, task: Registered) -> wire.RunMessage:
    """Return one instance as a message."""
    return wire.RunMessage(
        id=run.id,
        path=str(task.path),
        name=task.path.name,
        action=run.action,
        engine_pid=os.getpid(),
        state=run.state,
        trigger=run.trigger,
        due=run.due,
        started_at=run.started_at,
        ended_at=run.ended_at,
        result=run.result,
        reason=run.reason,
        task_id=run.operation,
    )
