"""Decide who of a host's machines may start at this moment, without planning those that may not. Pure.

Of ten thousand bookings few may start now: those are planned, and the others only say when to look again.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
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
#: A booking's time is over just after its last moment.
_JUST_AFTER = dt.timedelta(milliseconds=100)

#: A booking with its rank: whoever has the lowest goes first.
_Ranked = tuple[tuple[object, ...], Booking]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Ripe:
    """The bookings of a host that may start now, as far as time and tasks are concerned."""

    #: The most urgent, enough of them for whatever room there is.
    candidates: Sequence[Candidate]
    #: Those whose time is over.
    expired: Sequence[Booking]
    #: When the next one may start, or its time is over; ``None`` where nothing comes by itself.
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


def _never(booking: Booking) -> bool:
    return False


def ripe(
    bookings: Iterable[Booking],
    skips: Mapping[tuple[str, str], int],
    *,
    now: dt.datetime,
    known: Known,
    calendar: Calendar,
    policy: Policy,
    has_room: bool = True,
    is_put_off: Callable[[Booking], bool] = _never,
) -> Ripe:
    """Find the bookings that may start now; none of ``bookings`` has started.

    Those that are put off are tried later. On a host without room none may: then only those whose time is
    over are found.
    """
    busy = known.busy
    reserve = dt.timedelta(seconds=policy.rollback_reserve_seconds)
    found: list[_Ranked] = []
    expired: list[Booking] = []
    instant = _NEVER
    for booking in bookings:
        last = _last(booking)
        is_busy = booking.of in busy
        if now > last:
            if not is_busy:
                expired.append(booking)
            continue
        if last is not _NEVER:
            instant = min(instant, last + _JUST_AFTER)
        if booking.start > now:
            instant = min(instant, booking.start)
        elif has_room and not is_busy and not is_put_off(booking):
            duration = known.predicted(booking)
            opening, opens = open_for(booking, known.named(booking), duration + reserve, calendar, now)
            if opening is not None:
                found.append((_rank(booking, opening, duration), booking))
            elif opens is not None:
                instant = min(instant, opens)
    first = _first(found, known, policy.slots + LOOK_AHEAD)
    return Ripe(
        candidates=[known.candidate(b, skips.get((b.of, b.identifier), 0)) for b in first],
        expired=expired,
        next_instant=None if instant is _NEVER else instant,
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


def _first(found: Sequence[_Ranked], known: Known, tried: int) -> Sequence[Booking]:
    """The most urgent: as many of each kind as the plan could try."""
    if len(found) <= tried:
        return [booking for _, booking in found]
    woken: list[_Ranked] = []
    running: list[_Ranked] = []
    for each in found:
        (woken if known.needs_waking(each[1].of) else running).append(each)
    return [booking for kind in (running, woken) for _, booking in heapq.nsmallest(tried, kind)]
