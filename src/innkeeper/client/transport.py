"""Carry calls through a door of the service, and turn what goes wrong on the way into our errors."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import httpx

from innkeeper.client.calls import Answer, Call, Query
from innkeeper.client.calls.call import raw
from innkeeper.client.doors import Door, LocalDoor, not_running
from innkeeper.errors import ErrorCode, ServiceError
from innkeeper.wire.event_stream import EventStream, StreamEvent
from innkeeper.wire.messages import Paged
from innkeeper.wire.places import sockets_to_try

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

Page = TypeVar("Page", bound=Paged)

#: Longer than the service's heartbeat on a quiet stream.
STREAM_SILENCE_SECONDS = 45.0


class Transport:
    """One door of one service, used from one thread, by one caller."""

    def __init__(self, door: Door, token: str = "") -> None:
        self.door = door
        self.token = token
        self._http = door.http(token)
        self._open = True

    @property
    def is_local(self) -> bool:
        """Whether the service's files and sockets are those of this computer."""
        return self.door.is_local

    def as_bearer(self, token: str) -> Transport:
        """Another connection through the same door, as whoever has the token."""
        return type(self)(self.door, token)

    def close(self) -> None:
        """Close the connection."""
        self._open = False
        self._http.close()

    def pause(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)

    def send(self, call: Call[Answer]) -> Answer:
        """Send a call and read its answer; raises the service's errors, or ``ServiceError``."""
        with self._translated():
            response = self._http.request(
                call.method,
                call.path,
                params=call.params,
                content=call.content,
                headers={"Content-Type": "application/json"} if call.body is not None else {},
                timeout=httpx.Timeout(call.timeout_seconds, connect=5.0),
            )
        return call.read(response.status_code, response.content)

    def pages(self, call: Call[Page]) -> Iterator[Page]:
        """Send a call, and again for each page behind the first; raises as ``send`` does."""
        after: str | None = None
        while True:
            page = self.send(dataclasses.replace(call, query={**call.query, "after": after}))
            yield page
            after = page.next_after
            if after is None:
                return

    def whole(self, call: Call[Page]) -> Page:
        """Send a call for each page of a list; returns all pages as one. Raises as ``send`` does."""
        return call.answer.joined(self.pages(call))

    def lines(self, call: Call[Answer]) -> Iterator[Answer]:
        """Send a call and read its answer line by line, as it comes; raises as ``send`` does."""
        with (
            self._translated(),
            self._http.stream(
                call.method,
                call.path,
                params=call.params,
                content=call.content,
                headers={"Content-Type": "application/json"} if call.body is not None else {},
                timeout=httpx.Timeout(call.timeout_seconds, connect=5.0),
            ) as response,
        ):
            if response.status_code >= 400:
                call.read(response.status_code, response.read())
            for line in response.iter_lines():
                yield call.read(response.status_code, line.encode())

    def fetch(self, path: str, query: Query) -> bytes:
        """Read a body that is no JSON; raises the service's errors, or ``ServiceError``."""
        call = raw(path, query)
        with self._translated():
            response = self._http.get(path, params=call.params, timeout=httpx.Timeout(60.0, connect=5.0))
        if response.status_code >= 400:
            call.read(response.status_code, response.content)
        return response.content

    def join(self, path: str) -> ClientConnection:
        """Open a WebSocket; raises websockets' errors."""
        self._check_open()
        return self.door.join(path, self.token)

    def stream(self, path: str, params: dict[str, str], last_id: str) -> Iterator[StreamEvent]:
        """Follow a stream of events until the service ends it; a lost connection is a ``ServiceError``."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
        timeout = httpx.Timeout(STREAM_SILENCE_SECONDS, connect=5.0)
        reader = EventStream()
        with (
            self._translated(),
            self._http.stream("GET", path, params=params, headers=headers, timeout=timeout) as response,
        ):
            if response.status_code >= 400:
                raw(path, {}).read(response.status_code, response.read())
            for piece in response.iter_raw():
                yield from reader.feed(piece)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        self._check_open()
        try:
            yield
        except httpx.ConnectError as error:
            raise self.door.unreachable(error) from error
        except httpx.TimeoutException as error:
            raise ServiceError(
                f"The service at {self.door.place} did not answer in time.",
                code=ErrorCode.ERROR_TIMEOUT,
                advice="See what it is doing: `innkeeper task list`, or its log.",
            ) from error
        except httpx.TransportError as error:
            raise ServiceError(
                f"The service at {self.door.place} closed the connection while it answered.",
                advice="Tasks that had begun continue when the service is started again: `innkeeper serve`.",
            ) from error

    def _check_open(self) -> None:
        if not self._open:
            raise ServiceError(
                "The connection to the service is closed.",
                code=ErrorCode.ERROR_ONLY_IF_CONNECTED,
                advice="Connect again.",
            )


def local(socket: Path | None = None) -> Transport:
    """The local service's door: the one named, or the first of the usual ones that is there."""
    places = (socket,) if socket is not None else sockets_to_try(os.environ, os.getuid())
    for place in places:
        if _exists(place):
            return Transport(LocalDoor(place))
    raise not_running(*places)


def _exists(place: Path) -> bool:
    try:
        return place.exists()
    except PermissionError:  # inside a directory that is closed to us: connecting will say so
        return True
