"""Put the pages beside the interface: their routes, their headers, their way to say a problem."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from innkeeper.identity.roles import Role
from innkeeper.server.identity.needs import needs, open_to_all
from innkeeper.server.identity.subjects import what_they_see
from innkeeper.server.pages import editor, live, machine, machines, problems, schedule, static, tasks, tonight

router = APIRouter(include_in_schema=False)


async def home(request: Request) -> Response:
    """The inn's front is the night."""
    return RedirectResponse("/tonight", 303)


#: What each asks the interface is refused there to those who may not; a page by itself tells nothing.
for path, method, endpoint in (
    ("/", "GET", home),
    (static.PREFIX + "/{tag}/{name:path}", "GET", static.serve),
    ("/tonight", "GET", tonight.tonight),
    ("/machines", "GET", machines.machines),
    ("/machines/{name}", "GET", machine.machine),
    ("/machines/{name}/card", "GET", machines.card),
    ("/machines/{name}/console", "GET", machine.console),
    ("/machines/{name}/updates", "POST", machine.book),
    ("/machines/{name}/updates/take-back", "POST", machine.take_back),
    ("/machines/{name}/commands/{verb}", "GET", machine.ask),
    ("/machines/{name}/commands/{verb}", "POST", machine.command),
    ("/schedule", "GET", schedule.schedule),
    ("/schedule/task", "GET", schedule.task),
    ("/schedule/export", "GET", schedule.export),
    ("/schedule/run", "POST", schedule.run),
    ("/schedule/stop", "POST", schedule.stop),
    ("/schedule/enable", "POST", schedule.enable),
    ("/schedule/folder", "POST", schedule.make_folder),
    ("/schedule/delete", "GET", schedule.ask_delete),
    ("/schedule/delete", "POST", schedule.delete),
    ("/schedule/edit", "GET", editor.edit),
    ("/schedule/edit", "POST", editor.save),
    ("/schedule/preview", "POST", editor.preview),
    ("/tasks", "GET", tasks.tasks),
    ("/tasks/{task_id:int}", "GET", tasks.task),
    ("/tasks/{task_id:int}/cancel", "GET", tasks.ask_cancel),
    ("/tasks/{task_id:int}/cancel", "POST", tasks.cancel),
):
    router.add_api_route(path, endpoint, methods=[method], response_model=None, dependencies=open_to_all())

router.add_api_route(
    "/pages/events",
    live.stream,
    methods=["GET"],
    response_model=None,
    dependencies=needs(Role.VIEWER, what_they_see),
)


def install(app: FastAPI) -> None:
    """Serve the pages from this application."""
    app.include_router(router)
    problems.install(app)
