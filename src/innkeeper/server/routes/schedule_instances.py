"""Routes of running instances and run times of scheduled tasks."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
from typing import Annotated, Final

from fastapi import APIRouter, Query

from innkeeper.errors import ErrorCode
from innkeeper.identity import roles
from innkeeper.identity.caller import Caller
from innkeeper.identity.roles import Role
from innkeeper.schedule.calendar.host import host_zone
from innkeeper.schedule.registered import Registered, Run, RunFilter
from innkeeper.schedule.running.instance import definition_of
from innkeeper.schedule.running.scheduler import not_running
from innkeeper.schedule.security.sddl import Right
from innkeeper.server.house import House
from innkeeper.server.http.callers import who
from innkeeper.server.http.paging import ThePage
from innkeeper.server.identity.needs import needs
from innkeeper.server.identity.subjects import folder_in_query, what_they_see
from innkeeper.server.routes.asking import TheCaller, TheHouse
from innkeeper.server.routes.schedule import page_of_runs, permitted, run_message
from innkeeper.wire import schedule as wire
from innkeeper.wire.moment import Moment

router = APIRouter(prefix="/schedule", tags=["schedule"])

#: The first moment that every zone can show.
_EVER: Final = dt.datetime(1, 1, 3, tzinfo=dt.UTC)


@router.get("/running", operation_id="list_running_tasks", dependencies=needs(Role.VIEWER, what_they_see))
async def list_running(
    house: TheHouse, caller: TheCaller, page: ThePage, hidden: bool = False
) -> wire.RunList:
    """The instances of all tasks that are live (``GetRunningTasks``), newest first."""

    async def sees(task: Registered) -> bool:
        return (hidden or not task.hidden) and await sees_task(house, caller, Right.READ, task)

    return await page_of_runs(house, page, RunFilter(live=True), sees)


@router.get("/instance", operation_id="get_running_task", dependencies=needs(Role.VIEWER, what_they_see))
async def get_instance(house: TheHouse, caller: TheCaller, instance: str) -> wire.RunMessage:
    """One instance that is live (``IRunningTask::Refresh``); one that has ended is an error (0x8004130B)."""
    run, task = await _instance(house, caller, Right.READ, instance)
    return run_message(run, task)


@router.post(
    "/instance/stop", operation_id="stop_running_task", dependencies=needs(Role.OPERATOR, what_they_see)
)
async def stop_instance(
    request: wire.InstanceRequest, house: TheHouse, caller: TheCaller
) -> wire.StopMessage:
    """Stop one instance (``IRunningTask::Stop``)."""
    run, _ = await _instance(house, caller, Right.EXECUTE, request.instance)
    await house.schedule.scheduler.stop_run(run)
    return wire.StopMessage(stopped=True)


@router.post(
    "/instance/pause", operation_id="pause_running_task", dependencies=needs(Role.OPERATOR, what_they_see)
)
async def pause_instance(
    request: wire.InstanceRequest, house: TheHouse, caller: TheCaller
) -> wire.RunMessage:
    """Pause one instance (``ITaskHandler::Pause``)."""
    run, task = await _instance(house, caller, Right.EXECUTE, request.instance)
    await house.schedule.scheduler.pause_run(run)
    return run_message(run, task)


@router.post(
    "/instance/resume", operation_id="resume_running_task", dependencies=needs(Role.OPERATOR, what_they_see)
)
async def resume_instance(
    request: wire.InstanceRequest, house: TheHouse, caller: TheCaller
) -> wire.RunMessage:
    """Resume one instance (``ITaskHandler::Resume``)."""
    run, task = await _instance(house, caller, Right.EXECUTE, request.instance)
    await house.schedule.scheduler.resume_run(run)
    return run_message(run, task)


@router.get(
    "/task/run-times",
    operation_id="list_run_times",
    dependencies=needs(Role.VIEWER, folder_in_query("path")),
)
async def list_run_times(
    house: TheHouse,
    caller: TheCaller,
    path: str,
    start: Moment | None = None,
    end: Moment | None = None,
    count: Annotated[int, Query(ge=1, le=10_000)] = 100,
) -> wire.RunTimesMessage:
    """When a task's triggers run (``GetRunTimes``); disabled triggers count, as documented."""
    task = await permitted(house, caller, Right.READ, path)
    calendars = await house.schedule.calendars.named()

    def work() -> wire.RunTimesMessage:
        plan = definition_of(task).plan(zone=host_zone(), calendars=calendars)
        if not plan.recurrences:
            return wire.RunTimesMessage(times=(), code=ErrorCode.SCHED_S_TASK_NOT_SCHEDULED)
        found = list(itertools.islice(plan.runs(start or _EVER, end), count + 1))
        code = ErrorCode.S_FALSE if len(found) > count else ErrorCode.S_OK
        return wire.RunTimesMessage(
            times=tuple(found[:count]), code=code if found else ErrorCode.SCHED_S_TASK_NO_MORE_RUNS
        )

    return await asyncio.to_thread(work)


async def _instance(house: House, caller: Caller, right: Right, identifier: str) -> tuple[Run, Registered]:
    run, task = await house.schedule.scheduler.instance(identifier)
    role = Role.VIEWER if right is Right.READ else Role.OPERATOR
    if not caller.may(role, roles.folder(str(task.path))):
        raise not_running(identifier)
    (await house.schedule.registry.guard()).check_task(await who(caller, str(task.path)), right, task)
    return run, task


async def sees_task(house: House, caller: Caller, right: Right, task: Registered) -> bool:
    """Whether a caller may see, or do more with, a task."""
    path = str(task.path)
    if not caller.may(Role.VIEWER, roles.folder(path)):
        return False
    guard = await house.schedule.registry.guard()
    return guard.may(await who(caller, path), right, task.path, task.sddl, task.owner, task=True)
