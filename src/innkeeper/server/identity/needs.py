"""The role that each route needs, declared at the route.

A route says ``dependencies=needs(Role.OPERATOR, machine_in_path("name"))``, or ``open_to_all()``; a route of
plain Starlette is wrapped in ``guarded``. A test sees that every route has said one of them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from typing import cast

from fastapi import FastAPI, params
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount

from innkeeper.errors import InnkeeperError, NotAuthenticated, NotPermitted
from innkeeper.identity.caller import Caller
from innkeeper.identity.roles import Reach, Resource, Role
from innkeeper.server.http.callers import CALLER
from innkeeper.server.http.checked_text import check_json
from innkeeper.server.identity.acts import is_act, is_reading, tell_refused, told
from innkeeper.server.identity.sessions import refuse_forgery
from innkeeper.server.identity.subjects import Kind, Subject, house_of, the_inn, unseen

_ASK = "Ask an administrator for a role (innkeeper user role)."


@dataclasses.dataclass(frozen=True, slots=True)
class Need:
    """The role that a route needs, and on which resource."""

    #: ``None``: nobody is asked who they are.
    role: Role | None
    on: Subject

    async def __call__(self, connection: HTTPConnection) -> AsyncIterator[None]:
        """Refuse callers without the role; write the audit entry of an act around it."""
        async with self.passed(connection):
            yield

    @contextlib.asynccontextmanager
    async def passed(self, connection: HTTPConnection) -> AsyncIterator[None]:
        """Check and audit an act around a block of code."""
        # FastAPI has read the body before it asks what a route depends on; a stream nobody has read yet.
        check_json(getattr(connection, "_body", b""))
        if not self.is_told(connection):
            await self.let_in(connection)
            yield
            return
        await _see_labels(connection)
        caller, resource = caller_of(connection), await self._resource(connection)
        try:
            await self._check(connection)
        except InnkeeperError as refusal:
            await tell_refused(connection, caller, resource, refusal)
            raise
        async with told(connection, caller, resource):
            yield

    def is_told(self, connection: HTTPConnection) -> bool:
        """Whether the request is audited."""
        return self.role is not None and is_act(connection)

    async def let_in(self, connection: HTTPConnection) -> None:
        """Refuse callers without the role, for requests that are not audited."""
        await _see_labels(connection)
        await self._check(connection)

    async def _resource(self, connection: HTTPConnection) -> Resource | None:
        return await self.on.find(connection) if self.on.find is not None else None

    async def _check(self, connection: HTTPConnection) -> None:
        if not is_reading(connection):
            # What asks nobody who they are does nothing in anybody's name.
            await refuse_forgery(connection, connection.scope.get(CALLER) if self.role else None)
        if self.role is None:
            return
        caller = caller_of(connection)
        if self.on.find is not None:
            resource = await self._resource(connection)
            if resource is None:
                return
            if self.on.missing is not None and caller.role_on(resource) is None:
                raise self.on.missing(connection)
            refuse(caller, self.role, resource)
        elif not caller.may_somewhere(self.role):
            raise NotPermitted(f"{caller.name} has no role here that allows this.", advice=_ASK)


def needs(role: Role, on: Subject = the_inn) -> Sequence[params.Depends]:
    """Declare that a route needs this role on what the request is about."""
    return [params.Depends(Need(role, on))]


def open_to_all() -> Sequence[params.Depends]:
    """Declare that a route needs no authentication: log-in, and what reveals nothing."""
    return [params.Depends(Need(None, the_inn))]


Endpoint = Callable[[Request], Awaitable[Response]]


def guarded(need: Sequence[params.Depends], endpoint: Endpoint) -> Endpoint:
    """Declare the need of a plain Starlette route."""
    wanted = cast(Need, need[0].dependency)

    @functools.wraps(endpoint)
    async def checked(request: Request) -> Response:
        if not wanted.is_told(request):
            await wanted.let_in(request)
            return await endpoint(request)
        async with wanted.passed(request):
            return await endpoint(request)

    checked.__dict__["need"] = wanted
    return checked


async def _see_labels(connection: HTTPConnection) -> None:
    """Read the machines' labels again, for callers whose roles are on labels."""
    caller = cast("Caller | None", connection.scope.get(CALLER))
    if caller is not None and caller.goes_by_labels:
        await house_of(connection).board.all()


def caller_of(connection: HTTPConnection) -> Caller:
    """Return the caller. Raises ``NotAuthenticated`` for an unknown one."""
    caller = cast("Caller | None", connection.scope.get(CALLER))
    if caller is None:
        raise NotAuthenticated(
            "This request names nobody: the service must know who sends it.",
            advice="Log in (innkeeper login), or send a token.",
        )
    return caller


def refuse(caller: Caller, role: Role, resource: Resource) -> None:
    """Raise the error for a caller without the role; what they may not see is reported as not found."""
    held = caller.role_on(resource)
    if held is None and resource.kind is not Reach.INN:
        raise unseen(resource)
    if held is None or held < role:
        what = f"the {resource.kind} {resource.name}" if resource.name else "the whole server"
        raise NotPermitted(f"{caller.name} needs the role {role.word} on {what} for this.", advice=_ASK)


def declared(app: FastAPI) -> Iterator[tuple[BaseRoute, Need | None]]:
    """Return every route of the application with its need; mounted applications check by themselves."""
    return declared_in(app.routes)


def declared_in(routes: Iterable[BaseRoute]) -> Iterator[tuple[BaseRoute, Need | None]]:
    """Return these routes, and those of the routers among them, with their needs."""
    for route in _flat(routes):
        if not isinstance(route, Mount):
            yield route, _need_of(route)


def _flat(routes: Iterable[BaseRoute]) -> Iterator[BaseRoute]:
    """Flatten the routers that FastAPI keeps whole."""
    for route in routes:
        included = getattr(route, "original_router", None)
        if included is None:
            yield route
        else:
            yield from _flat(included.routes)


def _need_of(route: BaseRoute) -> Need | None:
    for dependency in getattr(route, "dependencies", ()):
        if isinstance(dependency.dependency, Need):
            return dependency.dependency
    return cast("Need | None", getattr(getattr(route, "endpoint", None), "need", None))


def allowed(app: FastAPI, kind: Kind, held: Role | None) -> tuple[str, ...]:
    """Return the operations (``operation_id``) on a kind of resource that a role is sufficient for.

    They come from what the routes have declared, so that nothing is offered that would be refused.
    """
    known: dict[tuple[Kind, Role | None], tuple[str, ...]] = app.state.allowed
    if (kind, held) not in known:
        known[kind, held] = tuple(sorted(_operations(app, kind, held)))
    return known[kind, held]


def _operations(app: FastAPI, kind: Kind, held: Role | None) -> Iterator[str]:
    for route, need in declared(app):
        if need is None or need.role is None or held is None or need.on.kind is not kind:
            continue
        if held >= need.role:
            yield str(getattr(route, "operation_id", None) or getattr(route, "name", ""))
