"""Dependencies of routes: the service's parts, and the caller.

All are asynchronous though none waits: FastAPI calls a plain function in a thread, at every request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Query
from starlette.requests import HTTPConnection

from innkeeper.errors import ErrorCode, InvalidArgument
from innkeeper.identity.caller import Caller
from innkeeper.identity.roles import Resource
from innkeeper.server.house import House
from innkeeper.server.identity.acts import NOTE
from innkeeper.server.identity.needs import allowed, caller_of
from innkeeper.server.identity.subjects import Kind, house_of


async def _house(connection: HTTPConnection) -> House:
    return house_of(connection)


async def _caller(connection: HTTPConnection) -> Caller:
    return caller_of(connection)


async def _user(connection: HTTPConnection) -> str:
    return caller_of(connection).name


#: Says which operations on a thing the caller's role is enough for, by ``operation_id``.
Allowed = Callable[[Kind, Resource], tuple[str, ...]]


async def _allowed(connection: HTTPConnection) -> Allowed:
    caller = caller_of(connection)
    return lambda kind, resource: allowed(connection.app, kind, caller.role_on(resource))


async def _note(connection: HTTPConnection) -> Callable[[str], None]:
    return lambda text: connection.scope.__setitem__(NOTE, text)


async def _on_host(
    house: Annotated[House, Depends(_house)],
    host: Annotated[str | None, Query(max_length=255, description="The host whose files are meant.")] = None,
) -> None:
    """Refuse a host that nobody looks after; what another server looks after has gone to that one."""
    if host is not None and host not in house.machines.hosts:
        raise InvalidArgument(
            f"There is no host “{host}”.",
            code=ErrorCode.ERROR_NOT_FOUND,
            advice="innkeeper host list shows all of them.",
        )


#: Takes ``?host=`` for routes about the files of one host: those of the computer that is asked if left out.
on_a_host = [Depends(_on_host)]

#: Tells the audit log what an act was about, where its address does not; never a secret.
TheNote = Annotated[Callable[[str], None], Depends(_note)]

#: The running service.
TheHouse = Annotated[House, Depends(_house)]

#: Who asks, and what they may.
TheCaller = Annotated[Caller, Depends(_caller)]

#: The name of the user who asks, as tasks carry it.
TheUser = Annotated[str, Depends(_user)]

#: What the caller's roles are enough for.
TheAllowed = Annotated[Allowed, Depends(_allowed)]
