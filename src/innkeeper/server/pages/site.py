"""Put the pages beside the interface: their routes, their headers, their way to say a problem."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from innkeeper.server.pages import problems, static, tasks, tonight
from innkeeper.server.pages.headers import PageHeaders

router = APIRouter(include_in_schema=False)


async def home(request: Request) -> Response:
    """The inn's front is the night."""
    return RedirectResponse("/tonight", 303)


for path, method, endpoint in (
    ("/", "GET", home),
    (static.PREFIX + "/{tag}/{name:path}", "GET", static.serve),
    ("/tonight", "GET", tonight.tonight),
    ("/tasks", "GET", tasks.tasks),
    ("/tasks/{task_id:int}", "GET", tasks.task),
    ("/tasks/{task_id:int}/cancel", "GET", tasks.ask_cancel),
    ("/tasks/{task_id:int}/cancel", "POST", tasks.cancel),
):
    router.add_api_route(path, endpoint, methods=[method], response_model=None)


def install(app: FastAPI) -> None:
    """Serve the pages from this application."""
    app.include_router(router)
    problems.install(app)
    app.add_middleware(PageHeaders)
