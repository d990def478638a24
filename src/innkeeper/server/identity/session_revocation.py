"""End of long requests (event streams, consoles) whose caller is no longer authenticated."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: How often it is asked whether they still are, in seconds.
LOOK_SECONDS: Final = 10.0


class RevocableRequest:
    """A request that ends when its caller's proof is no longer valid."""

    def __init__(self, is_still: Callable[[], Awaitable[bool]], look_seconds: float = LOOK_SECONDS) -> None:
        self._is_still = is_still
        self._look_seconds = look_seconds
        self._over = False
        self._begun = False

    async def run(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the request; its caller is checked again at intervals."""
        loop, request = asyncio.get_running_loop(), asyncio.current_task()
        assert request is not None  # the server gives each request a task of its own
        watches: list[asyncio.Task[None]] = []

        def watch() -> None:
            watches.append(loop.create_task(self._watch(request), name="visit"))

        async def noting(message: Message) -> None:
            self._begun = self._begun or message["type"] in ("http.response.start", "websocket.accept")
            await send(message)

        timer = loop.call_later(self._look_seconds, watch)
        try:
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
        while True:
            if not await self._is_still():
                break
            await asyncio.sleep(self._look_seconds)
        self._over = True
        request.cancel()

    async def _say_goodbye(self, scope: Scope, send: Send) -> None:
        """End the stream in good order; a reconnect is told why."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "Log in again."})
        elif self._begun:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
