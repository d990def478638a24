"""Progress and cancellation of long operations on disks.

An operation tells bytes and nothing else: rate and time left are for the caller, who has a clock.
"""

from __future__ import annotations

from typing import Protocol

from innkeeper.errors import DiskError, ErrorCode


class Watch(Protocol):
    """An observer of an operation, which may cancel it."""

    def advance(self, phase: str, done: int, total: int) -> None:
        """Report that ``done`` of ``total`` bytes of this phase are done."""

    def cancel_requested(self) -> bool:
        """Return whether to stop; asked often, and only where stopping is clean."""

    def past_return(self) -> None:
        """Report that no cancel helps from here on; raises ``Cancelled`` to stop before that."""


class Unwatched:
    """An observer that ignores all reports and never cancels."""

    def advance(self, phase: str, done: int, total: int) -> None:
        """Ignore the report."""

    def cancel_requested(self) -> bool:
        """Never stop."""
        return False

    def past_return(self) -> None:
        """Ignore the report."""


UNWATCHED = Unwatched()


class Cancelled(DiskError):
    """The operation was cancelled, and left everything as it was or in a whole state."""

    default_code = ErrorCode.ERROR_CANCELLED


def stop_if_asked(watch: Watch, path: str) -> None:
    """Raise ``Cancelled`` where the watcher wants to stop."""
    if watch.cancel_requested():
        raise Cancelled("The operation was cancelled.", path=path)
