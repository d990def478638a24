"""How long a caller waits for a store that is away: work for ever, a request at the doors a few seconds."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Final

_limit: Final[contextvars.ContextVar[float | None]] = contextvars.ContextVar("patience", default=None)


def limit_seconds() -> float | None:
    """How long the running code may wait for the store; ``None`` for as long as it takes."""
    return _limit.get()


@contextlib.contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """Within it, a call of the store that has waited so long raises ``StoreAway``."""
    yield from _within(seconds)


@contextlib.contextmanager
def endless() -> Iterator[None]:
    """Within it, and in what is begun there, the store is waited for as long as it takes.

    What a request only sets off (a task, a reaction to an event) takes over its context, and not its haste.
    """
    yield from _within(None)


def _within(seconds: float | None) -> Iterator[None]:
    before = _limit.set(seconds)
    try:
        yield
    finally:
        _limit.reset(before)
