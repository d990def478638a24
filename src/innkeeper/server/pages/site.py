"""Installation of the pages beside the API: routes, headers, errors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence

from fastapi import APIRouter, FastAPI, params
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from innkeeper.identity.roles import Role
from innkeeper.server.identity.needs import needs, open_to_all
from innkeeper.server.identity.subjects import what_they_see
from innkeeper.server.pages import (
    audit,
    editor,
    hosts,
    live,
    login,
    machine,
    machine_settings,
    machines,
    people,
    problems,
    reports,
    schedule,
    static,
    tasks,
    tonight,
)
from innkeeper.server.pages.shared import Shared

router = APIRouter(include_in_schema=False)


async def home(request: Request) -> Response:
    """Redirect to the night's page."""
    return RedirectResponse("/tonight", 303)


Endpoint = Callable[[Request], Awaitable[Response]]

#: What one may look at without being known.
OPEN: tuple[tuple[str, str, Endpoint], ...] = (
    ("/", "GET", home),
    (static.PREFIX + "/{tag}/{name:path}", "GET", static.serve),
    ("/favicon.ico", "GET", static.favicon),
    ("/login", "GET", login.ask),
    ("/login", "POST", login.log_in),
)

#: What takes somebody who may look at something. What exactly, the interface asks: a page is its client.
KNOWN: tuple[tuple[str, str, Endpoint], ...] = (
    ("/pages/events", "GET", live.stream),
    ("/tonight", "GET", tonight.tonight),
    ("/machines", "GET", machines.machines),
    ("/machines/figures", "GET", machines.figures),
    ("/machines/{name}", "GET", machine.machine),
    ("/machines/{name}/card", "GET", machines.card),
    ("/machines/{name}/console", "GET", machine.console),
    ("/machines/{name}/settings", "GET", machine_settings.edit),
    ("/machines/{name}/settings", "POST", machine_settings.save),
    ("/machines/{name}/updates", "POST", machine.book),
    ("/machines/{name}/updates/take-back", "POST", machine.take_back),
    ("/machines/{name}/updates/report", "GET", reports.report),
    ("/machines/{name}/ignored", "POST", reports.ignore),
    ("/machines/{name}/commands/{verb}", "GET", machine.ask),
    ("/machines/{name}/commands/{verb}", "POST", machine.command),
    ("/hosts", "GET", hosts.hosts),
    ("/hosts/servers/{verb}", "GET", hosts.ask),
    ("/hosts/servers/{verb}", "POST", hosts.change),
    ("/tasks", "GET", tasks.tasks),
    ("/tasks/{task_id:int}", "GET", tasks.task),
    ("/tasks/{task_id:int}/cancel", "GET", tasks.ask_cancel),
    ("/tasks/{task_id:int}/cancel", "POST", tasks.cancel),
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
    ("/people", "GET", people.people),
    ("/people/add", "POST", people.add),
    ("/people/password", "POST", people.set_password),
    ("/people/enable", "POST", people.enable),
    ("/people/remove", "GET", people.ask_remove),
    ("/people/remove", "POST", people.remove),
    ("/people/give", "POST", people.give),
    ("/people/take", "POST", people.take),
    ("/audit", "GET", audit.audit),
    ("/audit/verify", "GET", audit.verify),
    ("/account", "GET", people.account),
    ("/account/tokens", "POST", people.make_token),
    ("/account/revoke", "POST", people.revoke),
    ("/account/end", "POST", people.end_session),
    ("/account/password", "POST", people.change_password),
    ("/logout", "POST", login.log_out),
)


def _put(routes: Iterable[tuple[str, str, Endpoint]], need: Sequence[params.Depends]) -> None:
    for path, method, endpoint in routes:
        dependencies = [*need, params.Depends(live.mark)]
        router.add_api_route(path, endpoint, methods=[method], response_model=None, dependencies=dependencies)


_put(OPEN, open_to_all())
_put(KNOWN, needs(Role.VIEWER, what_they_see))


def install(app: FastAPI) -> None:
    """Serve the pages from this application."""
    app.state.nights = Shared(tonight.NIGHT_SECONDS)
    app.include_router(router)
    problems.install(app)
