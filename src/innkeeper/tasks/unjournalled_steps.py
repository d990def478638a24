"""Steps of a run that keeps no journal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from innkeeper.tasks.outcome import as_json
from innkeeper.wire.events import Json


class UnjournalledSteps:
    """``Steps`` that are done and forgotten."""

    async def run(self, name: str, action: Callable[[], Awaitable[Json]]) -> Json:
        """Do ``action``; what it returns is what a journal would have kept of it."""
        return as_json(await action())
