"""Act on many machines at once: one transaction, and an outcome for each."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Sequence

from innkeeper.errors import ErrorCode, InnkeeperError, UpdateError
from innkeeper.updates.booking import Booking


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of one machine's part of an act on many."""

    machine: str
    #: The booking's; ``None`` for what is no booking.
    identifier: str | None = None
    #: Why it was refused; ``None`` where it was done.
    error: InnkeeperError | None = None


def booked(bookings: Sequence[Booking], refused: Collection[tuple[str, str]]) -> Sequence[Outcome]:
    """What became of bookings of which some had started already."""
    return [
        Outcome(
            machine=b.machine,
            identifier=b.identifier,
            error=has_started(b) if (b.of, b.identifier) in refused else None,
        )
        for b in bookings
    ]


def cancelled(found: Iterable[Booking], deleted: Collection[tuple[str, str]]) -> Sequence[Outcome]:
    """What became of bookings that were taken back, of which some were running."""
    return [
        Outcome(
            machine=b.machine,
            identifier=b.identifier,
            error=None if (b.of, b.identifier) in deleted else is_running(b),
        )
        for b in found
    ]


def has_started(booking: Booking) -> UpdateError:
    """The error of whoever books what has started."""
    return UpdateError(
        f"The update “{booking.identifier}” of {booking.machine} has started already.",
        code=ErrorCode.ERROR_ALREADY_EXISTS,
        advice="Book it under another identifier.",
    )


def is_running(booking: Booking) -> UpdateError:
    """The error of whoever takes back what runs."""
    task = f" as task {booking.task_id}" if booking.task_id is not None else ""
    return UpdateError(
        f"The update “{booking.identifier}” of {booking.machine} is running{task}.",
        code=ErrorCode.ERROR_BUSY,
        advice=f"Cancel{task.removeprefix(' as')} first." if task else "Cancel its task first.",
    )
