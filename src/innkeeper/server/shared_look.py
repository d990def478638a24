"""A look that costs something, shared by all who ask at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class SharedLook(Generic[T]):
    """Looks once at a time however many ask, and believes what it saw for a while."""

    def __init__(self, look: Callable[[], Awaitable[T]], believed_seconds: float) -> None:
        self._look = look
        self._believed_seconds = believed_seconds
        self._under_way: asyncio.Task[T] | None = None
        self._believed_until = float("-inf")

    async def __call__(self) -> T:
        """Return what is seen; whoever stops waiting leaves the look to the others."""
        is_done = self._under_way is not None and self._under_way.done()
        if self._under_way is None or (is_done and asyncio.get_running_loop().time() >= self._believed_until):
            self._under_way = asyncio.create_task(self._seen(), name="shared look")
        return await asyncio.shield(self._under_way)

    async def _seen(self) -> T:
        self._believed_until = float("-inf")
        seen = await self._look()
        self._believed_until = asyncio.get_running_loop().time() + self._believed_seconds
        return seen
