"""Routes of tasks: follow, cancel and search them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Path, Query
from fastapi.responses import StreamingResponse

from innkeeper.identity.roles import Role
from innkeeper.machines.service import lock_of
from innkeeper.server.house import House
from innkeeper.server.http.event_stream import STREAM, event_stream
from innkeeper.server.identity.needs import needs
from innkeeper.server.identity.subjects import MAX_ID, key_of, task_in_path, what_they_see
from innkeeper.server.identity.visibility import sees_task
from innkeeper.server.messages import log_message, task_message
from innkeeper.server.routes.asking import TheCaller, TheHouse
from innkeeper.tasks.task import Task, TaskFilter
from innkeeper.wire import messages as wire
from innkeeper.wire.events import EventGroup, EventKind

router = APIRouter(prefix="/tasks", tags=["tasks"])

TaskId = Annotated[int, Path(ge=0, le=MAX_ID)]


@router.get("", operation_id="list_tasks", dependencies=needs(Role.VIEWER, what_they_see))
async def list_tasks(
    house: TheHouse,
    caller: TheCaller,
    live: bool | None = None,
    kind: str | None = None,
    machine: str | None = None,
    text: str | None = None,
    before_id: Annotated[int | None, Query(ge=0, le=MAX_ID)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> wire.TaskList:
    """Tasks, newest first, page by page."""
    lock = None if machine is None else lock_of(await key_of(house, machine))
    wanted = TaskFilter(live=live, kind=kind, lock=lock, text=text, before_id=before_id, limit=limit)
    found = await house.tasks.list(wanted)
    now = house.clock.now()
    more = found[-1].id if len(found) == limit else None
    return wire.TaskList(
        tasks=tuple(
            [
                task_message(task, now, waits=await _waits(house, task))
                for task in found
                if sees_task(house, caller, task)
            ]
        ),
        next_before_id=more,
    )


@router.get("/{task_id}", operation_id="get_task", dependencies=needs(Role.VIEWER, task_in_path("task_id")))
async def get_task(
    task_id: TaskId, house: TheHouse, wait_seconds: Annotated[float, Query(ge=0, le=60)] = 0
) -> wire.TaskMessage:
    """One task: at once, or when it has ended or ``wait_seconds`` are over."""
    if wait_seconds > 0:
        await house.tasks.wait(task_id, wait_seconds)
    return await _said(house, task_id)


@router.post(
    "/{task_id}/cancel",
    status_code=202,
    operation_id="cancel_task",
    dependencies=needs(Role.OPERATOR, task_in_path("task_id")),
)
async def cancel_task(task_id: TaskId, house: TheHouse) -> wire.TaskMessage:
    """Cancel a task; the effect is the one that the task states."""
    await house.tasks.cancel(task_id)
    return await _said(house, task_id)


@router.get(
    "/{task_id}/log", operation_id="get_task_log", dependencies=needs(Role.VIEWER, task_in_path("task_id"))
)
async def get_task_log(
    task_id: TaskId,
    house: TheHouse,
    after: Annotated[int, Query(ge=0, le=MAX_ID)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 1000,
) -> wire.LogMessage:
    """Lines of the task's log, from a line number on."""
    await house.tasks.get(task_id)
    return log_message(task_id, list(await house.tasks.log(task_id, after=after, limit=limit)))


@router.get(
    "/{task_id}/events",
    operation_id="follow_task",
    response_class=StreamingResponse,
    responses=STREAM,
    dependencies=needs(Role.VIEWER, task_in_path("task_id")),
)
async def follow_task(
    task_id: TaskId, house: TheHouse, last_event_id: Annotated[str, Header()] = ""
) -> StreamingResponse:
    """A task's events until it has ended; resumes after ``Last-Event-ID``."""
    # The place comes first and the look second: an end in between is seen by one of them.
    since = last_event_id or await house.events.newest_id()
    if (await house.tasks.get(task_id)).is_complete:
        return StreamingResponse(_nothing(), media_type="text/event-stream")
    kinds = (EventGroup.TASK.pattern,)
    return event_stream(house.events, since, kinds, subject=str(task_id), until=EventKind.TASK_ENDED)


async def _said(house: House, task_id: int) -> wire.TaskMessage:
    task = await house.tasks.get(task_id)
    return task_message(task, house.clock.now(), waits=await _waits(house, task))


async def _waits(house: House, task: Task) -> str:
    """Why a task does not go on now: its server is away, and nobody else has its host."""
    if task.is_complete or task.server is None or house.neighbours is None:
        return ""
    return await house.neighbours.absence_of(task.server)


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""
