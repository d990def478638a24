"""The page of accounts and roles, and of one's own tokens and password."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from innkeeper.errors import InnkeeperError
from innkeeper.server.pages.door import Door, whole
from innkeeper.server.pages.forms import Form, Mistake, mistake_of, mistake_of_field, read_form, wrong
from innkeeper.server.pages.numbers import number_in
from innkeeper.server.pages.rendering import answer, is_fragment, show
from innkeeper.wire.identity import (
    EnableUserRequest,
    GrantMessage,
    GrantRequest,
    ReachName,
    RoleName,
    SessionList,
    TokenList,
    TokenMade,
    TokenRequest,
    UserList,
    UserMessage,
)
from innkeeper.wire.messages import Nothing


async def people(request: Request) -> Response:
    """Show everybody who has an account or a role."""
    return await _people(request)


async def add(request: Request) -> Response:
    """Add an account."""

    async def command(door: Door, form: Form) -> None:
        role = form.text("role")
        body = {"name": form.text("name"), "password": form.verbatim("password"), "role": role or None}
        await door.post("/users", UserMessage, body)

    return await _done(request, command, {"password": "add-password", "name": "add-name"}, "add-name")


async def set_password(request: Request) -> Response:
    """Set somebody's password."""

    async def command(door: Door, form: Form) -> None:
        await door.put(
            f"/users/{form.text('name')}/password", UserMessage, {"password": form.verbatim("password")}
        )

    return await _done(request, command, {}, f"password-{(await read_form(request)).text('name')}")


async def enable(request: Request) -> Response:
    """Close an account, or open it again."""

    async def command(door: Door, form: Form) -> None:
        body = EnableUserRequest(enabled=form.text("enabled") == "true")
        await door.put(f"/users/{form.text('name')}/enabled", UserMessage, body)

    return await _done(request, command, {}, "")


async def ask_remove(request: Request) -> Response:
    """Show what is lost with an account, and ask for confirmation."""
    values = {"name": request.query_params.get("name", "")}
    if is_fragment(request):
        return await answer(request, "people_remove_form.html", values)
    return await show(request, "people_remove.html", values, here="People")


async def remove(request: Request) -> Response:
    """Remove an account."""

    async def command(door: Door, form: Form) -> None:
        await door.delete(f"/users/{form.text('name')}")

    return await _done(request, command, {}, "")


async def give(request: Request) -> Response:
    """Give somebody a role."""

    async def command(door: Door, form: Form) -> None:
        body = GrantRequest(
            holder=form.text("holder"),
            realm=form.text("realm"),
            is_group=form.ticked("is_group"),
            role=RoleName(form.text("role")),
            reach=ReachName(form.text("reach")),
            name=form.text("on"),
        )
        await door.post("/roles", GrantMessage, body)

    return await _done(request, command, {"realm": "realm"}, "holder")


async def take(request: Request) -> Response:
    """Remove a role."""

    async def command(door: Door, form: Form) -> None:
        await door.delete(
            "/roles",
            holder=form.text("holder"),
            realm=form.text("realm"),
            is_group=form.text("is_group") == "true",
            reach=form.text("reach"),
            name=form.text("on"),
        )

    return await _done(request, command, {}, "")


async def account(request: Request) -> Response:
    """Show one's own tokens and password."""
    return await _account(request)


async def make_token(request: Request) -> Response:
    """Make a token; its secret is shown on this page alone."""
    form = await read_form(request)
    if not form.text("name"):
        mistake = wrong("name", "A token needs a name.", "Name it after what will use it.")
        return await _account(request, mistakes=[mistake], status=422)
    try:
        days = number_in(form.text("days"), "number of days", least=1, most=3650)
        scope = None if not form.text("role") else ({"role": form.text("role")},)
        body = TokenRequest.model_validate({"name": form.text("name"), "days": days, "scope": scope})
        made = await Door(request).post("/tokens", TokenMade, body)
    except InnkeeperError as error:
        return await _account(request, mistakes=[mistake_of(error, {"days": "days"})], status=422)
    return await _account(request, made=made)


async def revoke(request: Request) -> Response:
    """Revoke a token."""
    await Door(request).delete(f"/tokens/{(await read_form(request)).text('id')}")
    return RedirectResponse("/account", 303)


async def end_session(request: Request) -> Response:
    """End one of one's own sessions, or all of them."""
    session_id = (await read_form(request)).text("id")
    await Door(request).delete(f"/sessions/{session_id}" if session_id else "/sessions")
    return RedirectResponse("/account", 303)


async def change_password(request: Request) -> Response:
    """Change one's own password."""
    form = await read_form(request)
    if form.verbatim("password") != form.verbatim("again"):
        mistake = wrong("again", "The two new passwords differ.", "Type the same password twice.")
        return await _account(request, mistakes=[mistake], status=422)
    try:
        body = {"current": form.verbatim("current"), "password": form.verbatim("password")}
        await Door(request).put("/password", Nothing, body)
    except InnkeeperError as error:
        return await _account(request, mistakes=[mistake_of_field("current", error)], status=422)
    return RedirectResponse("/account?changed=1", 303)


async def _done(
    request: Request,
    command: Callable[[Door, Form], Awaitable[None]],
    fields: Mapping[str, str],
    about: str,
) -> Response:
    """Do it and go back; or show the page again, with the mistake beside its field."""
    form = await read_form(request)
    try:
        await command(Door(request), form)
    except ValueError:
        sentence = (
            "A role on a machine, a label or a folder needs its name; one on the whole server has none."
        )
        mistake = wrong("on", sentence, "Correct the name.")
        return await _people(request, form=form, mistakes=[mistake], status=422)
    except InnkeeperError as error:
        mistake = mistake_of(error, fields)
        if not mistake.field:
            mistake = mistake_of_field(about, error)
        return await _people(request, form=form, mistakes=[mistake], status=422)
    return RedirectResponse("/people", 303)


async def _people(
    request: Request, *, form: Form | None = None, mistakes: list[Mistake] | None = None, status: int = 200
) -> Response:
    found = await whole(Door(request), "/users", UserList)
    values = {
        "users": found.users,
        "realms": found.realms,
        "roles": [role.value for role in RoleName],
        "reaches": list(ReachName),
        "mistakes": mistakes or [],
        "entered": (lambda name: form.text(name)) if form else (lambda name: ""),
    }
    return await show(request, "people.html", values, here="People", status=status)


async def _account(
    request: Request,
    *,
    made: TokenMade | None = None,
    mistakes: list[Mistake] | None = None,
    status: int = 200,
) -> Response:
    tokens = (await whole(Door(request), "/tokens", TokenList)).tokens
    values = {
        "tokens": tokens,
        "sessions": (await whole(Door(request), "/sessions", SessionList)).sessions,
        "made": made,
        "mistakes": mistakes or [],
        "roles": [role.value for role in RoleName],
        "changed": "changed" in request.query_params,
    }
    return await show(request, "account.html", values, status=status)
