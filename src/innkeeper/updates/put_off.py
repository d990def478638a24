"""Bookings whose start was refused, or whose run could not begin: why, and when each is tried again."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Final

from innkeeper.errors import InnkeeperError
from innkeeper.machines.machine import Machine
from innkeeper.tasks.ports import Clock
from innkeeper.updates.booking import Booking
from innkeeper.updates.roster import Key, Roster
from innkeeper.wire.events import Event, EventKind

#: The longest pause after failures nobody knows the reason of.
_LONGEST: Final = dt.timedelta(hours=1)
#: The first pause after a run that changed nothing; each further one is twice as long.
_AFTER_RUN: Final = dt.timedelta(minutes=5)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _PutOff:
    """One booking that could not be started."""

    #: As they were: where either has changed, it is tried again at once.
    version: object
    machine: Machine | None
    reason: str
    pause: dt.timedelta
    until: dt.datetime
    #: Whether a run of it changed nothing: its machine has changed by that alone.
    had_run: bool = False


class PutOffs:
    """Bookings that are not tried again for a while. Lives on the event loop; a restart forgives them."""

    def __init__(self, *, roster: Roster, clock: Clock, look_seconds: float) -> None:
        """``look_seconds`` is the first pause; each further one after an unknown failure is twice as long."""
        self._roster = roster
        self._clock = clock
        self._first = dt.timedelta(seconds=look_seconds)
        self._put_off: dict[Key, _PutOff] = {}

    def add(self, booking: Booking, error: Exception) -> bool:
        """Put a booking off. Returns whether the reason is news."""
        key = booking.of, booking.identifier
        known = self._put_off.get(key)
        if isinstance(error, InnkeeperError):
            pause, reason = self._first, str(error)
        else:
            pause = self._first if known is None else min(2 * known.pause, max(_LONGEST, self._first))
            reason = "Its last start failed; the service's log says why. It is tried again."
        self._put_off[key] = _PutOff(
            version=booking.version,
            machine=self._roster.machine(booking.of),
            reason=reason,
            pause=pause,
            until=self._clock.now() + pause,
        )
        return known is None or known.reason != reason

    def hear(self, event: Event) -> None:
        """Put a booking off whose run changed nothing."""
        if event.kind is not EventKind.UPDATE_PUT_OFF:
            return
        key = str(event.data.get("key") or event.data.get("machine")), str(event.data.get("identifier"))
        booked_at = dt.datetime.fromisoformat(str(event.data["booked_at"]))
        known = self._put_off.get(key)
        is_again = known is not None and known.had_run and known.version == (booked_at, None)
        pause = min(2 * known.pause, _LONGEST) if known is not None and is_again else _AFTER_RUN
        self._put_off[key] = _PutOff(
            version=(booked_at, None),
            machine=None,
            reason=f"Its last run was not started: {event.data.get('reason')}",
            pause=pause,
            until=self._clock.now() + pause,
            had_run=True,
        )

    def forget(self, key: Key) -> None:
        """Forget a booking that was started, or is gone; how long one that runs again has waited is kept."""
        found = self._put_off.get(key)
        if found is not None and not found.had_run:
            del self._put_off[key]

    def until(self, booking: Booking) -> dt.datetime | None:
        """When a booking is tried again; ``None`` where it may be tried now."""
        found = self._put_off.get((booking.of, booking.identifier))
        if found is None or found.until <= self._clock.now() or self._has_changed(booking, found):
            return None
        return found.until

    def reason(self, booking: Booking) -> str:
        """Why a booking was put off; empty where it was not."""
        found = self._put_off.get((booking.of, booking.identifier))
        return "" if found is None or self._has_changed(booking, found) else found.reason

    def clear(self) -> None:
        """Forget those that are booked no longer."""
        self._put_off = {key: each for key, each in self._put_off.items() if self._roster.has(key)}

    def _has_changed(self, booking: Booking, found: _PutOff) -> bool:
        if booking.version != found.version:
            return True
        return not found.had_run and self._roster.machine(booking.of) != found.machine
