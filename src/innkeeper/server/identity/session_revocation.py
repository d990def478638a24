"""End of long requests (event streams, consoles) whose caller may no longer make them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from innkeeper.tasks.outcome import traceback_of

_log = structlog.get_logger(__name__)

#: How often it is asked whether they still are, in seconds.
LOOK_SECONDS: Final = 10.0
#: For so long a request goes on whose caller cannot be looked up for some fault, in seconds.
UNKNOWN_SECONDS: Final = 30.0


class Revocations:
    """Tells the requests that go on when an account, a role, a token or a session was changed here."""

    def __init__(self) -> None:
        self._told: dict[Callable[[], None], None] = {}

    def happened(self) -> None:
        """Make every open request check its caller at once."""
        for tell in list(self._told):
            tell()

    @contextlib.contextmanager
    def told(self, tell: Callable[[], None]) -> Iterator[None]:
        """Call ``tell`` at each change while the context is open."""
        self._told[tell] = None
        try:
            yield
        finally:
            del self._told[tell]


class RevocableRequest:
    """A request that ends when its caller may no longer make it, however they proved who they are."""

    def __init__(
        self,
        is_still: Callable[[], Awaitable[bool]],
        revocations: Revocations,
        look_seconds: float = LOOK_SECONDS,
        unknown_seconds: float = UNKNOWN_SECONDS,
    ) -> None:
        self._is_still = is_still
        self._unknown_seconds = unknown_seconds
        self._revocations = revocations
        self._look_seconds = look_seconds
        self._look_now = asyncio.Event()
        self._over = False
        self._begun = False

    async def run(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the request; its caller is checked again at intervals."""
        loop, request = asyncio.get_running_loop(), asyncio.current_task()
        assert request is not None  # the server gives each request a task of its own
        watches: list[asyncio.Task[None]] = []

        def watch() -> None:
            self._look_now.set()
            if not watches:
                watches.append(loop.create_task(self._watch(request), name="caller of a request"))

        async def noting(message: Message) -> None:
            self._begun = self._begun or message["type"] in ("http.response.start", "websocket.accept")
            await send(message)

        def look_now() -> None:
            # What is not answered yet may be the very request that ends its own session.
            if self._begun:
                watch()

        timer = loop.call_later(self._look_seconds, watch)
        try:
            with self._revocations.told(look_now):
                await app(scope, receive, noting)
        except asyncio.CancelledError:
            if not self._over:
                raise
            request.uncancel()
            await self._say_goodbye(scope, send)
        finally:
            timer.cancel()
            for each in watches:
                each.cancel()

    async def _watch(self, request: asyncio.Task[object]) -> None:
        """End the request once its caller may no longer make it, or nobody could find that out for long."""
        loop = asyncio.get_running_loop()
        known_at = loop.time()
        while True:
            self._look_now.clear()
            try:
                async with asyncio.timeout(self._unknown_seconds):
                    if not await self._is_still():
                        break
                known_at = loop.time()
            except Exception as exc:  # whatever it is, it must not let the caller go on for ever
                _log.error("caller_not_looked_up", traceback=traceback_of(exc))
                if loop.time() - known_at >= self._unknown_seconds:
                    break
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._look_now.wait(), self._look_seconds)
        self._over = True
        request.cancel()

    async def _say_goodbye(self, scope: Scope, send: Send) -> None:
        """End the stream in good order; a reconnect is told why."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "Log in again."})
        elif self._begun:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
