"""Let whoever started a long operation follow it and call it off.

An operation tells bytes and nothing else: rate and time left are for the caller, who has a clock.
"""

from __future__ import annotations

from typing import Protocol

from innkeeper.errors import DiskError, ErrorCode


class Watch(Protocol):
    """Who follows an operation."""

    def advance(self, phase: str, done: int, total: int) -> None:
        """Hear that ``done`` of ``total`` bytes of this phase are done."""

    def cancel_requested(self) -> bool:
        """Say whether to stop; asked often, and only where stopping is clean."""

    def past_return(self) -> None:
        """Hear that it can only be finished from here on; raises ``Cancelled`` to stop it still."""


class Unwatched:
    """Nobody follows, and nobody calls it off."""

    def advance(self, phase: str, done: int, total: int) -> None:
        """Hear nothing."""

    def cancel_requested(self) -> bool:
        """Never stop."""
        return False

    def past_return(self) -> None:
        """Hear nothing."""


UNWATCHED = Unwatched()


class Cancelled(DiskError):
    """The operation was called off, and left everything as it was or in a state that is whole."""

    default_code = ErrorCode.ERROR_CANCELLED


def stop_if_asked(watch: Watch, path: str) -> None:
    """Raise ``Cancelled`` where the watcher wants to stop."""
    if watch.cancel_requested():
        raise Cancelled("The operation was cancelled.", path=path)
