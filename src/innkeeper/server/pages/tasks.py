"""The pages of running and ended operations, with cancel."""

from __future__ import annotations

from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from innkeeper.server.pages.door import Door
from innkeeper.server.pages.forms import read_form
from innkeeper.server.pages.numbers import number_in
from innkeeper.server.pages.rendering import answer, is_fragment, show
from innkeeper.wire.events import EventGroup
from innkeeper.wire.messages import LogMessage, TaskList, TaskMessage

#: Ended tasks on one page of the history.
_PAGE = 50
#: Lines of a log on its page; the service hands out so many at once.
_LINES = 1000


async def tasks(request: Request) -> Response:
    """Show running tasks, and the history with a search."""
    door, query = Door(request), request.query_params
    text, machine = query.get("q", "").strip(), query.get("machine", "").strip()
    before = number_in(query.get("before"), "before")
    ended = await door.get(
        "/tasks",
        TaskList,
        live=False,
        text=text or None,
        machine=machine or None,
        before_id=before,
        limit=_PAGE,
    )
    older = {"q": text, "machine": machine, "before": str(ended.next_before_id or "")}
    values = {
        "ended": ended.tasks,
        "text": text,
        "machine": machine,
        "older": f"/tasks?{urlencode(older)}" if ended.next_before_id else "",
        "is_first": before is None,
    }
    if is_fragment(request) and request.headers.get("hx-target") == "history":
        return await answer(request, "tasks_history.html", values)
    running = (await door.get("/tasks", TaskList, live=True, limit=1000)).tasks
    if is_fragment(request):
        return await answer(request, "tasks_running.html", {"running": running})
    return await show(
        request, "tasks.html", {**values, "running": running}, here="Tasks", live=EventGroup.TASK.pattern
    )


async def task(request: Request) -> Response:
    """Show one task and its log as it grows."""
    door, task_id = Door(request), request.path_params["task_id"]
    found = await door.get(f"/tasks/{task_id}", TaskMessage)
    after = number_in(request.query_params.get("after"), "after") or 0
    log = await door.get(f"/tasks/{task_id}/log", LogMessage, after=after, limit=_LINES)
    values = {
        "task": found,
        "lines": log.lines,
        "more": log.lines[-1].number if len(log.lines) == _LINES else None,
        "after": after,
        "machine": found.about if (found.lock or "").startswith("machine:") else "",
    }
    if is_fragment(request):
        return await answer(request, "task_state.html", values)
    live = "" if found.is_complete else EventGroup.TASK.pattern
    return await show(request, "task.html", values, here="Tasks", live=live)


async def ask_cancel(request: Request) -> Response:
    """Show what a cancel would do, and ask for confirmation."""
    found = await Door(request).get(f"/tasks/{request.path_params['task_id']}", TaskMessage)
    if is_fragment(request):
        return await answer(request, "task_cancel_form.html", {"task": found})
    return await show(request, "task_cancel.html", {"task": found}, here="Tasks")


async def cancel(request: Request) -> Response:
    """Cancel the task."""
    await read_form(request)
    task_id = request.path_params["task_id"]
    await Door(request).post(f"/tasks/{task_id}/cancel", TaskMessage)
    return RedirectResponse(f"/tasks/{task_id}", 303)
