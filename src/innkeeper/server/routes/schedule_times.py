"""Routes of the calendar and the history of all scheduled tasks."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping
from typing import Annotated, Final

from fastapi import APIRouter, Query

from innkeeper.errors import InvalidArgument
from innkeeper.identity.roles import Role
from innkeeper.schedule.calendar.host import host_zone
from innkeeper.schedule.calendar.named import NamedCalendar
from innkeeper.schedule.registered import Registered, RunFilter, RunState
from innkeeper.schedule.running.instance import definition_of
from innkeeper.schedule.security.sddl import Right
from innkeeper.server.http.paging import ThePage
from innkeeper.server.identity.needs import needs
from innkeeper.server.identity.subjects import what_they_see
from innkeeper.server.routes.asking import TheCaller, TheHouse
from innkeeper.server.routes.schedule import page_of_runs
from innkeeper.server.routes.schedule_instances import sees_task
from innkeeper.wire import schedule_times as wire
from innkeeper.wire.moment import Moment
from innkeeper.wire.schedule import RunList

router = APIRouter(prefix="/schedule", tags=["schedule"])

#: How far to look where nobody says.
_USUAL = dt.timedelta(days=30)
_LAST: Final = dt.datetime.max.replace(tzinfo=dt.UTC)

Count = Annotated[int, Query(ge=1, le=10_000)]
States = Annotated[list[RunState] | None, Query(max_length=7)]
Paths = Annotated[list[str] | None, Query(max_length=100)]


@router.get("/calendar", operation_id="get_schedule_calendar", dependencies=needs(Role.VIEWER, what_they_see))
async def calendar(
    house: TheHouse,
    caller: TheCaller,
    path: Paths = None,
    start: Moment | None = None,
    end: Moment | None = None,
    count: Count = 1000,
    hidden: bool = False,
) -> wire.RunCalendar:
    """When tasks run: those of these paths, or every enabled one; 30 days from now on."""
    registry = house.schedule.registry
    if path is None:
        found = [task for task in await registry.all_tasks(hidden=hidden) if task.enabled]
    else:
        found = [await registry.task(each) for each in path]
    seen = [task for task in found if await sees_task(house, caller, Right.READ, task)]
    begin = start or house.clock.now()
    until = end or min(begin, _LAST - _USUAL) + _USUAL
    if until < begin:
        raise InvalidArgument(f"{until} comes before {begin}.", advice="Give an end after the start.")
    calendars = await house.schedule.calendars.named()
    times = await asyncio.to_thread(
        lambda: tuple(_times(task, begin, until, count, calendars) for task in seen)
    )
    return wire.RunCalendar(tasks=times)


@router.get(
    "/history", operation_id="search_schedule_history", dependencies=needs(Role.VIEWER, what_they_see)
)
async def history(
    house: TheHouse, caller: TheCaller, page: ThePage, text: str = "", state: States = None
) -> RunList:
    """The instances of all tasks whose path or reason contains a text; newest first."""
    wanted = RunFilter(text=text, states=tuple(state or ()))
    return await page_of_runs(house, page, wanted, lambda task: sees_task(house, caller, Right.READ, task))


@router.get("/operations", operation_id="list_schedule_operations", dependencies=needs(Role.VIEWER))
async def operations(house: TheHouse) -> wire.OperationList:
    """Innkeeper's own operations, which tasks may name by class id."""
    names = house.schedule.handlers.names()
    found = [
        wire.OperationMessage(name=name, class_id=class_id.upper())
        for class_id, name in sorted(names.items(), key=lambda each: each[1])
    ]
    return wire.OperationList(operations=tuple(found))


def _times(
    task: Registered,
    start: dt.datetime,
    end: dt.datetime,
    count: int,
    calendars: Mapping[str, NamedCalendar],
) -> wire.TaskRunsMessage:
    definition, home = definition_of(task), host_zone()
    times = definition.run_times(start, end, count + 1, zone=home, calendars=calendars)
    return wire.TaskRunsMessage(
        path=str(task.path),
        zone=definition.extension.zone or getattr(home, "key", None) or str(home),
        times=tuple(times[:count]),
        more=len(times) > count,
    )
