"""Decide who of a host's machines may start at this moment, without planning those that may not. Pure.

Of ten thousand bookings few may start now: those are planned, and the others only say when to look again.
What a booking came to is kept until something of its machine has changed, or the moment has come at which
it may come to something else.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import heapq
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Protocol

from innkeeper.updates.booking import Booking
from innkeeper.updates.calendar import Calendar, Opening
from innkeeper.updates.machine_name import MachineName
from innkeeper.updates.placement import Candidate
from innkeeper.updates.planner import LOOK_AHEAD
from innkeeper.updates.policy import Policy

_NEVER = dt.datetime.max.replace(tzinfo=dt.UTC)

#: A booking with its rank: whoever has the lowest goes first.
_Ranked = tuple[tuple[object, ...], Booking]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Ripe:
    """The bookings of a host that may start now, as far as time and tasks are concerned."""

    #: The most urgent, enough of them for whatever room there is.
    candidates: Sequence[Candidate]
    #: Those whose time is over.
    expired: Sequence[Booking]
    #: When this may be otherwise by itself; ``None`` where nothing comes.
    next_instant: dt.datetime | None


class Known(Protocol):
    """What is known of bookings and their machines."""

    @property
    def busy(self) -> Container[str]:
        """The machines that tasks hold."""

    def needs_waking(self, machine: str) -> bool:
        """Whether the machine has to be woken."""

    def named(self, booking: Booking) -> MachineName:
        """What windows go by."""

    def predicted(self, booking: Booking) -> dt.timedelta:
        """How long its run is expected to take."""

    def candidate(self, booking: Booking, skips: int) -> Candidate:
        """A booking as the planner takes it."""


def _not_put_off(booking: Booking) -> None:
    return None


class _Chance(enum.Enum):
    """What a booking may do now."""

    START = enum.auto()
    #: It may start, and its machine has to be woken for that.
    WAKE = enum.auto()
    WAIT = enum.auto()
    EXPIRE = enum.auto()


@dataclasses.dataclass(frozen=True, slots=True)
class _Weight:
    """What a booking came to, and at which moment it is to be weighed anew."""

    booking: Booking
    chance: _Chance
    until: dt.datetime
    #: Whoever has the lowest goes first, of those that may start.
    rank: tuple[object, ...] = ()


class Scales:
    """Weighs the bookings of one host."""

    def __init__(self, policy: Policy) -> None:
        self._tried = policy.slots + LOOK_AHEAD
        self._reserve = dt.timedelta(seconds=policy.rollback_reserve_seconds)
        self._weights: dict[str, Sequence[_Weight]] = {}

    def weigh(
        self,
        changed: Iterable[str],
        waiting: Callable[[str], Iterable[Booking]],
        *,
        now: dt.datetime,
        known: Known,
        calendar: Calendar,
        put_off_until: Callable[[Booking], dt.datetime | None] = _not_put_off,
    ) -> None:
        """Weigh the bookings of machines that have changed, and those that may come to something else now.

        ``waiting`` finds a machine's bookings that have not started: none where it is not on this host.
        """
        of_time = {m for m, weights in self._weights.items() if any(w.until <= now for w in weights)}
        for machine in of_time.union(changed):
            weights = [self._weigh(b, now, known, calendar, put_off_until(b)) for b in waiting(machine)]
            if weights:
                self._weights[machine] = weights
            else:
                self._weights.pop(machine, None)

    def ripe(self, skips: Mapping[tuple[str, str], int], *, known: Known, has_room: bool = True) -> Ripe:
        """Those that may start now, as they were weighed; on a host without room none may."""
        found: dict[_Chance, list[_Ranked]] = {chance: [] for chance in _Chance}
        instant = _NEVER
        for weights in self._weights.values():
            for weight in weights:
                if weight.chance is not _Chance.WAIT:
                    found[weight.chance].append((weight.rank, weight.booking))
                if weight.until < instant:
                    instant = weight.until
        kinds = (found[_Chance.START], found[_Chance.WAKE]) if has_room else ()
        # As many of each kind as the plan could try.
        first = [booking for kind in kinds for _, booking in heapq.nsmallest(self._tried, kind)]
        return Ripe(
            candidates=[known.candidate(b, skips.get((b.of, b.identifier), 0)) for b in first],
            expired=[booking for _, booking in found[_Chance.EXPIRE]],
            next_instant=None if instant == _NEVER else instant,
        )

    def _weigh(
        self,
        booking: Booking,
        now: dt.datetime,
        known: Known,
        calendar: Calendar,
        again: dt.datetime | None,
    ) -> _Weight:
        is_busy = booking.of in known.busy
        last = _last(booking)
        if now > last:
            return _Weight(booking, _Chance.WAIT if is_busy else _Chance.EXPIRE, _NEVER)
        over = _just_after(last)
        if is_busy:
            return _Weight(booking, _Chance.WAIT, over)
        if booking.start > now:
            return _Weight(booking, _Chance.WAIT, min(over, booking.start))
        if again is not None:
            return _Weight(booking, _Chance.WAIT, min(over, again))
        return self._weigh_openings(booking, now, known, calendar, over)

    def _weigh_openings(
        self, booking: Booking, now: dt.datetime, known: Known, calendar: Calendar, over: dt.datetime
    ) -> _Weight:
        machine, duration = known.named(booking), known.predicted(booking)
        needed = duration + self._reserve
        opening, opens = open_for(booking, machine, needed, calendar, now)
        if opening is None:
            return _Weight(booking, _Chance.WAIT, min(over, opens or _NEVER))
        # Started later it is not over in time; and another opening may come first once it has begun.
        late = _just_after(min(opening.end, booking.deadline or _NEVER) - needed)
        turns = (each.start for each in calendar.openings(machine) if each.start > now)
        return _Weight(
            booking,
            _Chance.WAKE if known.needs_waking(booking.of) else _Chance.START,
            min(over, late, *turns),
            _rank(booking, opening, duration),
        )


def open_for(
    booking: Booking, machine: MachineName, needed: dt.timedelta, calendar: Calendar, now: dt.datetime
) -> tuple[Opening | None, dt.datetime | None]:
    """The opening in which it may start now and be over in time; else when the next one opens."""
    for opening in calendar.openings(machine):
        if opening.start > now:
            return None, opening.start
        over = now + needed
        if over <= opening.end and (booking.deadline is None or over <= booking.deadline):
            return opening, None
    return None, None


def may_start(booking: Booking, now: dt.datetime) -> bool:
    """Whether the booking waits, and its own times allow a start now."""
    return not booking.has_started and booking.verdict is None and booking.start <= now <= _last(booking)


def _just_after(moment: dt.datetime) -> dt.datetime:
    return moment + dt.timedelta.resolution if moment < _NEVER else _NEVER


def _last(booking: Booking) -> dt.datetime:
    """The moment after which its time is over."""
    end, deadline = booking.end, booking.deadline
    if end is None or deadline is None:
        return end or deadline or _NEVER
    return min(end, deadline)


def _rank(booking: Booking, opening: Opening, duration: dt.timedelta) -> tuple[object, ...]:
    """Whoever has the lowest goes first, as in the plan."""
    deadline = booking.deadline or _NEVER
    return min(opening.end, deadline), deadline, duration, booking.machine, booking.of, booking.identifier
