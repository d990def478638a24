"""Look after the servers that share a database."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator
from typing import Final

from innkeeper.client.calls import servers as calls
from innkeeper.client.transport import Transport
from innkeeper.errors import ErrorCode, ServiceError
from innkeeper.wire.servers import ServerMessage
from innkeeper.wire.states import ServerState

_LOOK_SECONDS: Final = 1.0


class ServerCollection:
    """The servers that share the service's database."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def __iter__(self) -> Iterator[ServerMessage]:
        """Go over the servers, by name."""
        return (server for page in self._transport.pages(calls.servers()) for server in page.servers)

    def __getitem__(self, name: str) -> ServerMessage:
        """Return one server as it is now. Raises ``ServiceError`` (ERROR_NOT_FOUND)."""
        return self._transport.send(calls.server(name))

    def drain(self, name: str) -> ServerMessage:
        """Drain a server: it begins nothing more, and hands its hosts over as they fall idle."""
        return self._transport.send(calls.drain(name))

    def wait_until_idle(
        self, name: str, *, told: Callable[[ServerMessage], None] | None = None
    ) -> ServerMessage:
        """Wait until a drained server has nothing left to do, nor a host that another could take.

        ``told`` is called at each look. Raises ``ServiceError`` where it is away with unfinished tasks,
        or has joined again.
        """
        found = drained = self[name]
        # A server that lives has heard that it is drained by its next sign of life.
        while found.alive and (_has_more_to_do(found) or found.last_seen == drained.last_seen):
            if told is not None:
                told(found)
            time.sleep(_LOOK_SECONDS)
            found = self[name]
        if not found.alive and found.in_flight:
            raise _is_away(found)
        return found

    def join(self, name: str) -> ServerMessage:
        """Bring a drained server back to work: it takes hosts again."""
        return self._transport.send(calls.join(name))

    def retire(self, name: str, *, living: bool = False) -> ServerMessage:
        """Give up a server's name, and free its hosts. Raises ``InvalidArgument`` for one that lives.

        ``living``: that one too.
        """
        return self._transport.send(calls.retire(name, living=living))


def _has_more_to_do(server: ServerMessage) -> bool:
    if server.state is not ServerState.DRAINING:
        raise ServiceError(
            f"The server {server.name} is not drained: somebody had it join again.",
            code=ErrorCode.ERROR_BUSY,
            advice=f"Drain it again: innkeeper server drain {server.name} --wait",
        )
    return bool(server.in_flight) or not all(host.stays for host in server.keeps)


def _is_away(server: ServerMessage) -> ServiceError:
    tasks = "a task" if server.in_flight == 1 else f"{server.in_flight} tasks"
    return ServiceError(
        f"The server {server.name} is away since {server.last_seen.astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC "
        f"with {tasks} unfinished: it ends and hands over nothing.",
        code=ErrorCode.ERROR_BUSY,
        advice="Start it again, and it goes on with them. Where it does not come back: "
        f"innkeeper server retire {server.name}",
    )
