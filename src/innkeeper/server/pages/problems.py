"""Errors as pages, with the same sentence, identifier and advice as in the API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import cast
from urllib.parse import quote

from fastapi import FastAPI, Request
from pydantic import ValidationError
from starlette.responses import RedirectResponse, Response

from innkeeper.server.pages.rendering import answer, is_fragment
from innkeeper.wire.messages import Problem

_Handler = Callable[[Request, Exception], Awaitable[Response]]


def install(app: FastAPI) -> None:
    """Install the handlers that answer errors with a page where a page was asked for."""
    for kind, handler in list(app.exception_handlers.items()):
        app.add_exception_handler(kind, _as_page(cast(_Handler, handler)))


def wants_page(request: Request) -> bool:
    """Whether the request comes from a browser that wants a page."""
    return not request.url.path.startswith("/v1/") and "text/html" in request.headers.get("accept", "")


async def problem_page(request: Request, problem: Problem) -> Response:
    """Render an error as a page, without asking the service anything, since that may have failed."""
    phrase = HTTPStatus(problem.status).phrase
    values = {"problem": problem, "phrase": phrase}
    return await answer(request, "problem.html", values, status=problem.status)


def _as_page(handler: _Handler) -> _Handler:
    async def shown(request: Request, error: Exception) -> Response:
        refused = await handler(request, error)
        if not wants_page(request) and not is_fragment(request):
            return refused
        try:
            problem = Problem.model_validate_json(bytes(refused.body))
        except ValidationError:
            return refused
        if problem.status == HTTPStatus.UNAUTHORIZED:
            return _to_login(request)
        return await problem_page(request, problem)

    return shown


def _to_login(request: Request) -> Response:
    """Redirect to the log-in page and back here; a fragment redirects its whole page."""
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    if is_fragment(request):
        return Response(status_code=401, headers={"HX-Redirect": "/login"})
    wanted = f"?next={quote(here, safe='')}" if request.method == "GET" and here != "/" else ""
    return RedirectResponse(f"/login{wanted}", 303)
