"""HTTP/1.1 connections that send short answers in one packet."""

from __future__ import annotations

import asyncio

import h11
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState


class Connection(h11.Connection):
    """Sends an answer's head together with the first bytes of its body.

    So a short answer is one packet, one TLS record, and one waking of the reader. A head whose body has no
    length given goes out at once: such a body may begin much later.
    """

    _held: tuple[bytes, ...] = ()

    def send(self, event: h11.Event) -> bytes | None:  # type: ignore[override]  # h11 has an overload for each event
        """Return the bytes of an event; none for a head that waits for its body."""
        pieces = self.send_with_data_passthrough(event)
        if pieces is None:
            return None
        if type(event) is h11.Response and _has_length(event):
            self._held = tuple(pieces)
            return b""
        pieces, self._held = [*self._held, *pieces], ()
        return b"".join(pieces)


class HttpProtocol(H11Protocol):
    """uvicorn's HTTP protocol on h11, sending short answers in one piece."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, object],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        limit = config.h11_max_incomplete_event_size
        self.conn = Connection(h11.SERVER) if limit is None else Connection(h11.SERVER, limit)


def _has_length(head: h11.Response) -> bool:
    return any(name.lower() == b"content-length" for name, _ in head.headers.raw_items())
