"""Client for event loops: the same objects, whose waiting is the loop's."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import httpx

from innkeeper.client.connection import Account, enter, reach
from innkeeper.client.doors import Door
from innkeeper.client.greenlet_bridge import on_loop, wait_for
from innkeeper.client.inn import Inn
from innkeeper.client.transport import Transport
from innkeeper.errors import InnkeeperError

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

T = TypeVar("T")

_END: Final = object()


class AsyncInn:
    """A connection to a service, for an event loop.

    Everything that an ``Inn`` has is used inside ``run``: plain code, which the loop carries on while it
    waits for the service. Any number of them run at the same time, without threads::

        async with innkeeper.connect_async() as inn:
            task = await inn.run(lambda inn: inn.machines["web-1"].startup())
            await inn.run(lambda inn: task.wait())

    Wires (displays, consoles, channels) are opened here too, and read and written in threads of one's own.
    """

    def __init__(self, inn: Inn) -> None:
        self._inn = inn

    @property
    def connected(self) -> bool:
        """Whether the connection is open (``Connected``)."""
        return self._inn.connected

    @property
    def target_server(self) -> str:
        """The computer that the service runs on (``TargetServer``)."""
        return self._inn.target_server

    @property
    def connected_user(self) -> str:
        """The user that the service takes the caller for (``ConnectedUser``)."""
        return self._inn.connected_user

    @property
    def connected_domain(self) -> str:
        """The realm that this user belongs to (``ConnectedDomain``)."""
        return self._inn.connected_domain

    @property
    def highest_version(self) -> int:
        """The highest version of the documented interface (``HighestVersion``)."""
        return self._inn.highest_version

    async def run(self, work: Callable[[Inn], T]) -> T:
        """Call a function with the service. Raises what it raises; a cancel reaches it where it waits."""
        return await on_loop(lambda: work(self._inn))

    async def iterate(self, work: Callable[[Inn], Iterator[T]]) -> AsyncIterator[T]:
        """Iterate over something of the service: ``inn.iterate(lambda inn: inn.events())``."""
        items = await self.run(work)
        try:
            while (item := await on_loop(lambda: next(items, _END))) is not _END:
                yield item  # type: ignore[misc]  # an item of T: the end has just been told apart
        finally:
            await on_loop(lambda: _close(items))

    async def close(self) -> None:
        """Close the connection."""
        await self.run(lambda inn: inn.close())


def _close(items: Iterator[object]) -> None:
    close = getattr(items, "close", None)
    if close is not None:
        close()


@contextlib.asynccontextmanager
async def connect_async(
    server: str | None = None,
    user: str | None = None,
    domain: str | None = None,
    password: str | None = None,
    *,
    socket: Path | str | None = None,
    fingerprint: str = "",
) -> AsyncIterator[AsyncInn]:
    """Connect as ``connect`` does, from an event loop; raises what it raises."""
    account = Account.given(user, domain, password)
    found = await asyncio.to_thread(reach, server, socket, fingerprint, as_oneself=account is None)
    inn = AsyncInn(await on_loop(lambda: enter(_LoopTransport.through(found), account)))
    try:
        yield inn
    finally:
        await inn.close()


# How the same objects wait on the loop


class _LoopTransport(Transport):
    """A transport that waits on the loop."""

    @classmethod
    def through(cls, found: Transport) -> Transport:
        """The same way to the same service."""
        found.close()
        return cls(_LoopDoor(found.door), found.token)

    def pause(self, seconds: float) -> None:
        """Sleep, for this call alone."""
        wait_for(asyncio.sleep(seconds))


class _LoopDoor:
    """A door whose HTTP waits on the loop."""

    def __init__(self, door: Door) -> None:
        self._door = door

    @property
    def place(self) -> str:
        """The service's address, for a person."""
        return self._door.place

    @property
    def is_local(self) -> bool:
        """Whether the service's files and sockets are those of this computer."""
        return self._door.is_local

    def http(self, token: str) -> httpx.Client:
        """Speak HTTP through it."""
        plain = self._door.http(token)
        plain.close()
        carrier = _Carrier(self._door.on_loop())
        return httpx.Client(
            transport=carrier, base_url=plain.base_url, headers=plain.headers, trust_env=False
        )

    def on_loop(self) -> httpx.AsyncBaseTransport:
        """Carry HTTP through it on an event loop."""
        return self._door.on_loop()

    def join(self, path: str, token: str) -> ClientConnection:
        """Open a WebSocket; raises websockets' errors."""
        return wait_for(asyncio.to_thread(self._door.join, path, token))

    def unreachable(self, error: httpx.ConnectError) -> InnkeeperError:
        """Return the error for a missing connection."""
        return self._door.unreachable(error)


class _Carrier(httpx.BaseTransport):
    """Carries the requests of a plain client on the loop."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one, and wait for the head of its answer."""
        answer = wait_for(self._inner.handle_async_request(request))
        assert isinstance(answer.stream, httpx.AsyncByteStream)  # as httpx's asynchronous transports give it
        return httpx.Response(
            answer.status_code,
            headers=answer.headers,
            stream=_Pieces(answer.stream),
            extensions=answer.extensions,
        )

    def close(self) -> None:
        """Close the connections."""
        wait_for(self._inner.aclose())


class _Pieces(httpx.SyncByteStream):
    """The pieces of an answer, each waited for on the loop."""

    def __init__(self, pieces: httpx.AsyncByteStream) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        pieces = aiter(self._pieces)
        while (piece := wait_for(anext(pieces, None))) is not None:
            yield piece

    def close(self) -> None:
        """Read no more."""
        wait_for(self._pieces.aclose())
