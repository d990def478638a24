"""Log-in and log-out pages."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from innkeeper.errors import NotAuthenticated, ServiceError
from innkeeper.server.identity import sessions
from innkeeper.server.pages.forms import Mistake, mistake_of_field, read_form, wrong
from innkeeper.server.pages.rendering import answer

#: Where one goes who came from nowhere.
_FRONT = "/tonight"


async def ask(request: Request) -> Response:
    """Show the log-in form."""
    return await _page(request, wanted=_own_path(request.query_params.get("next", "")))


async def log_in(request: Request) -> Response:
    """Begin a session and go to the page that was asked for; or show the form again with the mistake."""
    form = await read_form(request)
    user, realm, wanted = form.text("user"), form.text("realm"), _own_path(form.text("next"))
    if not user:
        mistake = wrong("user", "The name is missing.", "Give your user name.")
        return await _page(request, wanted=wanted, realm=realm, mistake=mistake, status=422)
    try:
        response = RedirectResponse(wanted, 303)
        return await sessions.log_in(request, realm, user, form.verbatim("password"), response)
    except (NotAuthenticated, ServiceError) as refused:
        mistake = mistake_of_field("password", refused)
        status = 401 if isinstance(refused, NotAuthenticated) else 503
        return await _page(request, wanted=wanted, user=user, realm=realm, mistake=mistake, status=status)


async def log_out(request: Request) -> Response:
    """End the session."""
    return await sessions.log_out(request, RedirectResponse("/login", 303))


async def _page(
    request: Request,
    *,
    wanted: str,
    user: str = "",
    realm: str = "",
    mistake: Mistake | None = None,
    status: int = 200,
) -> Response:
    values = {
        "wanted": wanted,
        "user": user,
        "realm": realm,
        "realms": sessions.realms(request),
        "mistakes": [mistake] if mistake else [],
    }
    return await answer(request, "login.html", values, status=status)


def _own_path(wanted: str) -> str:
    """Return the path to continue at, if it is one of this service."""
    inside = wanted.startswith("/") and not wanted.startswith(("//", "/\\", "/v1/", "/login"))
    plain = wanted.isascii() and wanted.isprintable() and "\\" not in wanted.partition("?")[0]
    return wanted if inside and plain and len(wanted) < 2000 else _FRONT
