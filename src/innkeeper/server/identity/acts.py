"""Audit of every changing request: written before it is done, and completed with its outcome."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Final

from starlette.requests import HTTPConnection

from innkeeper.errors import InnkeeperError
from innkeeper.identity.audit import Outcome
from innkeeper.identity.caller import Caller
from innkeeper.identity.roles import Reach, Resource
from innkeeper.server.http.kept_slashes import with_slashes
from innkeeper.server.identity.subjects import house_of

#: Where a request's scope carries what its handler adds for the audit log.
NOTE: Final = "innkeeper.note"

#: Methods that change nothing. A WebSocket has none: it is asked like one that changes something.
_READING: Final = ("GET", "HEAD", "OPTIONS")


def is_reading(connection: HTTPConnection) -> bool:
    """Whether the request only reads."""
    return connection.scope.get("method") in _READING


def is_act(connection: HTTPConnection) -> bool:
    """Whether the request changes something and is audited; pages act through the API."""
    return connection.scope["path"].startswith("/v1/") and not is_reading(connection)


@contextlib.asynccontextmanager
async def told(connection: HTTPConnection, caller: Caller, resource: Resource | None) -> AsyncIterator[None]:
    """Write the audit entry of an act around it: before it is done, and its outcome."""
    audit = house_of(connection).audit
    begun = await audit.begin(caller, _action(connection), _name(resource), _request(connection))
    try:
        yield
    except BaseException as error:
        code = error.code.name if isinstance(error, InnkeeperError) else type(error).__name__
        await audit.end(begun, Outcome.FAILED, f"{code} {_noted(connection)}".rstrip())
        raise
    await audit.end(begun, Outcome.DONE, _noted(connection))


async def tell_refused(
    connection: HTTPConnection, caller: Caller, resource: Resource | None, refusal: InnkeeperError
) -> None:
    """Write the audit entry of an act that was not allowed."""
    detail = f"{_request(connection)}: {refusal.code.name}"
    await house_of(connection).audit.refused(caller, _action(connection), _name(resource), detail)


def _action(connection: HTTPConnection) -> str:
    route = connection.scope.get("route")
    return str(getattr(route, "operation_id", None) or getattr(route, "name", "") or "unknown")


def _name(resource: Resource | None) -> str:
    if resource is None or resource.kind is Reach.INN:
        return ""
    return f"{resource.kind} {resource.name}"


def _request(connection: HTTPConnection) -> str:
    query = f"?{connection.url.query}" if connection.url.query else ""
    return f"{connection.scope.get('method', 'WEBSOCKET')} {with_slashes(connection.scope['path'])}{query}"


def _noted(connection: HTTPConnection) -> str:
    return str(connection.scope.get(NOTE, ""))
