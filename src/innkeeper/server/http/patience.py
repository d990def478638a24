"""Requests wait for a database that is away, but not for ever."""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from innkeeper.errors import StoreAway
from innkeeper.server.http.problems import response_of
from innkeeper.tasks import patience

#: How long one call of the store may keep a request waiting; then it is answered with status 503.
LONGEST_SECONDS: Final = 10.0


class BoundedPatience:
    """Middleware: what a request asks of the store has an answer in time, if only that there is none."""

    def __init__(self, app: ASGIApp, seconds: float = LONGEST_SECONDS) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; answer it where what it passes on its way finds no database."""
        answered = False

        async def answer(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            with patience.bounded(self._seconds):
                await self._app(scope, receive, answer)
        except StoreAway as error:
            if answered or scope["type"] != "http":
                raise
            await response_of(error)(scope, receive, send)
