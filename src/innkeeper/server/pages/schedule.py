"""The pages of folders and scheduled tasks."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import itertools
from collections.abc import Sequence
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from innkeeper.schedule.calendar.host import host_zone
from innkeeper.schedule.model.definition import TaskDefinition
from innkeeper.schedule.path import SchedulePath
from innkeeper.server.pages import drafts
from innkeeper.server.pages.door import Door, whole
from innkeeper.server.pages.forms import read_form
from innkeeper.server.pages.rendering import answer, is_fragment, show
from innkeeper.server.pages.visitor import offered_on_folder
from innkeeper.wire.events import EventKind, filter_of
from innkeeper.wire.schedule import (
    EnableRequest,
    FolderMessage,
    FolderRequest,
    RunList,
    RunMessage,
    RunRequest,
    ScheduledTaskList,
    ScheduledTaskMessage,
    StopMessage,
    TaskPathRequest,
)

_ROOT = "\\"
#: What makes its pages read anew: instances are tasks.
_LIVE = filter_of(EventKind.TASK_CREATED, EventKind.TASK_ENDED)
#: Folders shown in the tree at most.
_MAX_FOLDERS = 300
#: Runs in a preview.
PREVIEWED = 8
#: How far ahead a preview looks.
_HORIZON = dt.timedelta(days=3653)
#: How long it may look for them, in seconds.
_TIMEOUT_SECONDS = 2.0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Branch:
    """A folder in the tree."""

    path: str
    name: str
    depth: int


async def schedule(request: Request) -> Response:
    """Show a folder's tasks, at the root those of all folders, and the tree of folders."""
    door = Door(request)
    folder = await door.get(
        "/schedule/folder", FolderMessage, path=request.query_params.get("folder") or _ROOT
    )
    branches = await tree(door)
    listed = [branch.path for branch in branches] if folder.path == _ROOT else [folder.path]
    values = {
        "folder": folder,
        "is_root": folder.path == _ROOT,
        "tasks": [task for path in listed for task in await _tasks(door, path)],
        "tree": branches,
        "may": offered_on_folder(request, folder.path),
    }
    if is_fragment(request):
        return await answer(request, "schedule_tasks.html", values)
    return await show(request, "schedule.html", values, here="Schedule", live=_LIVE)


async def _tasks(door: Door, folder: str) -> Sequence[ScheduledTaskMessage]:
    return (await whole(door, "/schedule/tasks", ScheduledTaskList, folder=folder)).tasks


async def tree(door: Door) -> list[Branch]:
    """Return all folders that the visitor may see, each below its parent."""
    found: list[Branch] = []
    waiting = [(_ROOT, 0)]
    while waiting and len(found) < _MAX_FOLDERS:
        path, depth = waiting.pop()
        folder = await door.get("/schedule/folder", FolderMessage, path=path)
        found.append(Branch(path=folder.path, name=folder.name if depth else "All tasks", depth=depth))
        waiting += [(inside, depth + 1) for inside in reversed(folder.folders)]
    return found


async def task(request: Request) -> Response:
    """Show one scheduled task: triggers, actions and history."""
    door, path = Door(request), request.query_params.get("path", "")
    found = await door.get("/schedule/task", ScheduledTaskMessage, path=path)
    runs = (await whole(door, "/schedule/task/runs", RunList, path=found.path)).runs
    definition = TaskDefinition.from_xml(found.xml)
    values = {
        "task": found,
        "runs": runs[:50],
        "running": [run for run in runs if run.state.is_live],
        "definition": definition,
        "coming": await coming(definition, request.app.state.house.clock.now()),
        "zone": definition.extension.zone or "",
        "folder": str(SchedulePath.parse(found.path).parent),
        "actions": [drafts.message(action) for action in definition.actions],
        "may": offered_on_folder(request, found.path),
        "saved": "saved" in request.query_params,
    }
    if is_fragment(request):
        return await answer(request, "schedule_task_now.html", values)
    return await show(request, "schedule_task.html", values, here="Schedule", live=_LIVE)


async def coming(definition: TaskDefinition, now: dt.datetime) -> Sequence[dt.datetime]:
    """Return the next runs; fewer where finding them takes long."""

    def find() -> list[dt.datetime]:
        runs = definition.plan(zone=host_zone()).runs(now, now + _HORIZON)
        return list(itertools.islice(runs, PREVIEWED))

    try:
        return await asyncio.wait_for(asyncio.to_thread(find), _TIMEOUT_SECONDS)
    except TimeoutError:
        return ()


async def export(request: Request) -> Response:
    """Send the definition as a file that Windows reads."""
    found = await Door(request).get(
        "/schedule/task", ScheduledTaskMessage, path=request.query_params.get("path", "")
    )
    content = await asyncio.to_thread(TaskDefinition.from_xml(found.xml).to_xml)
    name = quote(f"{found.name}.xml", safe="")
    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{name}", "Cache-Control": "no-store"}
    return Response(content, 200, headers, "application/xml")


async def run(request: Request) -> Response:
    """Start the task now."""
    path = (await read_form(request)).text("path")
    await Door(request).post("/schedule/task/run", RunMessage, RunRequest(path=path))
    return _back_to(path)


async def stop(request: Request) -> Response:
    """Stop the task's running instances."""
    path = (await read_form(request)).text("path")
    await Door(request).post("/schedule/task/stop", StopMessage, TaskPathRequest(path=path))
    return _back_to(path)


async def enable(request: Request) -> Response:
    """Enable or disable the task."""
    form = await read_form(request)
    body = EnableRequest(path=form.text("path"), enabled=form.text("enabled") == "true")
    await Door(request).post("/schedule/task/enable", ScheduledTaskMessage, body)
    return _back_to(body.path)


async def ask_delete(request: Request) -> Response:
    """Show what is lost, and ask for confirmation."""
    found = await Door(request).get(
        "/schedule/task", ScheduledTaskMessage, path=request.query_params.get("path", "")
    )
    if is_fragment(request):
        return await answer(request, "schedule_delete_form.html", {"task": found})
    return await show(request, "schedule_delete.html", {"task": found}, here="Schedule")


async def delete(request: Request) -> Response:
    """Delete the task and its history."""
    path = (await read_form(request)).text("path")
    await Door(request).delete("/schedule/task", path=path)
    return RedirectResponse(f"/schedule?folder={quote(str(SchedulePath.parse(path).parent), safe='')}", 303)


async def make_folder(request: Request) -> Response:
    """Create a folder."""
    form = await read_form(request)
    above = form.text("folder").rstrip("\\")
    made = await Door(request).post(
        "/schedule/folder", FolderMessage, FolderRequest(path=f"{above}\\{form.text('name')}")
    )
    return RedirectResponse(f"/schedule?folder={quote(made.path, safe='')}", 303)


def _back_to(path: str) -> Response:
    return RedirectResponse(f"/schedule/task?path={quote(path, safe='')}", 303)
