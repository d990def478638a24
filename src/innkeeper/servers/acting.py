"""The host that the work under way acts on: what it writes is written only by the host's owner."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Final

_HOST: Final[ContextVar[str]] = ContextVar("host", default="")


@contextlib.contextmanager
def acting_on(host_id: str) -> Iterator[None]:
    """Write within this block only as the owner of a host; an empty id is nobody's."""
    token = _HOST.set(host_id)
    try:
        yield
    finally:
        _HOST.reset(token)


def acted_on() -> str:
    """Return the id of the host that is acted on here; empty where none is."""
    return _HOST.get()
