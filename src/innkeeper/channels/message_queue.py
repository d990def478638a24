"""Queue of a session's messages for one listener, however slow."""

from __future__ import annotations

import collections
from collections.abc import AsyncIterator

from innkeeper.channels.ports import GuestMessage, GuestOutput
from innkeeper.tasks.waiting import Signal

#: How many messages wait for a listener.
_MOST = 1000


class MessageQueue(AsyncIterator[GuestMessage]):
    """One listener's messages; ends with its session."""

    def __init__(self) -> None:
        self._messages: collections.deque[GuestMessage] = collections.deque()
        self._ended = False
        self._something = Signal()

    def put(self, message: GuestMessage) -> None:
        """Add a message. Where too many wait, output goes first, then the oldest."""
        if len(self._messages) >= _MOST:
            if isinstance(message, GuestOutput):
                return
            self._messages.popleft()
        self._messages.append(message)
        self._something.set()

    def end(self) -> None:
        """Mark the end: no more messages will come."""
        self._ended = True
        self._something.set()

    async def __anext__(self) -> GuestMessage:
        while not self._messages:
            if self._ended:
                raise StopAsyncIteration
            await self._something.wait()
        return self._messages.popleft()
