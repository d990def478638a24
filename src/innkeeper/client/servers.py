"""Look after the servers that share a database."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from innkeeper.client.calls import servers as calls
from innkeeper.client.transport import Transport
from innkeeper.wire.servers import ServerMessage

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

    def wait_until_idle(self, name: str) -> ServerMessage:
        """Wait until nothing is in flight on a server."""
        while (found := self[name]).in_flight and found.alive:
            time.sleep(_LOOK_SECONDS)
        return found

    def join(self, name: str) -> ServerMessage:
        """Bring a drained server back to work: it takes hosts again."""
        return self._transport.send(calls.join(name))

    def retire(self, name: str, *, living: bool = False) -> ServerMessage:
        """Give up a server's name, and free its hosts. Raises ``InvalidArgument`` for one that lives.

        ``living``: that one too.
        """
        return self._transport.send(calls.retire(name, living=living))
