"""Plan who is maintained when: earliest effective deadline first, admitted only where it fits. Pure.

One simulation answers two questions. Up to *now*, it says who starts this moment and what everybody
else waits for; up to tomorrow, it is tonight's plan. Hosts do not meet in it: each is simulated alone.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import heapq
import operator
from collections.abc import Iterable, Sequence

from innkeeper.tasks.garbage import collected_later
from innkeeper.updates.calendar import Calendar, Opening
from innkeeper.updates.placement import Candidate, Host, InFlight, Placement, Why
from innkeeper.updates.policy import Policy

#: How many machines of a host are tried at one moment past the first that does not fit.
LOOK_AHEAD = 16
_NEVER = dt.datetime.max.replace(tzinfo=dt.UTC)
_MINUTE = dt.timedelta(minutes=1)


def plan(
    *,
    now: dt.datetime,
    until: dt.datetime,
    candidates: Iterable[Candidate],
    hosts: Sequence[Host],
    in_flight: Sequence[InFlight],
    calendar: Calendar,
    policy: Policy,
) -> list[Placement]:
    """Place every candidate: those that start by ``until`` with their times, the others with a reason."""
    # Of a hundred thousand candidates no garbage comes, and looking for it takes as long as the plan.
    with collected_later():
        return _plan(now, until, candidates, hosts, in_flight, calendar, policy)


def _plan(
    now: dt.datetime,
    until: dt.datetime,
    candidates: Iterable[Candidate],
    hosts: Sequence[Host],
    in_flight: Sequence[InFlight],
    calendar: Calendar,
    policy: Policy,
) -> list[Placement]:
    nights = {host.name: _HostNight(host, now, until, policy) for host in hosts}
    for run in in_flight:
        if run.host in nights:
            nights[run.host].take_up(run)
    everybody = sorted((_waiting(candidate, calendar) for candidate in candidates), key=_PLACE)
    for waiting in everybody:
        night = nights.get(waiting.candidate.host)
        if night is None:
            waiting.why = Why.NO_HOST
        else:
            night.book(waiting)
    for night in nights.values():
        night.run()
    return [waiting.placement() for waiting in everybody]


class _Waiting:
    """A candidate in the simulation."""

    __slots__ = (
        "candidate",
        "end",
        "is_late",
        "latest_start",
        "next_chance",
        "number",
        "openings",
        "place",
        "rank",
        "skips",
        "start",
        "was_ready",
        "why",
    )

    def __init__(
        self, candidate: Candidate, place: tuple[str, str, str], openings: Sequence[Opening]
    ) -> None:
        self.candidate = candidate
        #: Where it stands among others that are due at the same time; found once, as ranks change.
        self.place = place
        self.openings = openings
        #: Which opening it waits for.
        self.number = 0
        self.skips = candidate.skips
        self.why = Why.CLOSED
        #: Whether it has waited in an open window, in a plan that looks ahead.
        self.was_ready = False
        #: Started later, it would not be over in time.
        self.latest_start = _NEVER
        #: Whoever has the lowest goes first.
        self.rank: tuple[dt.datetime, dt.datetime, dt.timedelta, str, str, str] | None = None
        self.start: dt.datetime | None = None
        self.end: dt.datetime | None = None
        self.next_chance: dt.datetime | None = None

    @property
    def opening(self) -> Opening:
        return self.openings[self.number]

    def aim(self, number: int, reserve: dt.timedelta) -> None:
        """Wait for this opening: by its end, or the deadline before that, the run must be over."""
        candidate = self.candidate
        self.number = number
        deadline = candidate.deadline or _NEVER
        due = min(self.openings[number].end, deadline)
        self.latest_start = due - candidate.predicted - reserve
        self.rank = due, deadline, candidate.predicted, *self.place

    def placement(self) -> Placement:
        return Placement(
            candidate=self.candidate,
            why=self.why,
            start=self.start,
            end=self.end,
            opening=self.openings[self.number] if self.openings else None,
            next_chance=self.next_chance,
            skips=self.skips,
        )


_PLACE = operator.attrgetter("place")


def _waiting(candidate: Candidate, calendar: Calendar) -> _Waiting:
    named = candidate.named
    return _Waiting(candidate, (named.title, *candidate.key), calendar.openings(named))


class _What(enum.Enum):
    """What happens on a host."""

    READY = enum.auto()
    BOOTED = enum.auto()
    ENDED = enum.auto()


@dataclasses.dataclass(frozen=True, slots=True)
class _Work:
    """A machine at work, and the memory that the host has back when it ends."""

    machine: str
    memory: int


_Queue = list[tuple[tuple[object, ...] | None, _Waiting]]


class _HostNight:
    """One host's time, from event to event: a window opens, a boot ends, a run ends."""

    def __init__(self, host: Host, now: dt.datetime, until: dt.datetime, policy: Policy) -> None:
        self._now = now
        self._until = until
        self._reserve = dt.timedelta(seconds=policy.rollback_reserve_seconds)
        self._boot = dt.timedelta(seconds=policy.boot_seconds)
        self._max_skips = policy.max_skips
        self._slots = policy.slots
        self._boots = policy.boots
        self._memory = host.memory_free_mib
        self._working: set[str] = set()
        #: Those whose chance has come: running ones, and ones to be woken.
        self._running: _Queue = []
        self._woken: _Queue = []
        self._events: list[tuple[dt.datetime, int, _What, _Waiting | _Work | None]] = []
        self._event_number = 0
        #: Those that have not started, and may.
        self._left: dict[_Waiting, None] = {}
        self._ends: list[dt.datetime] = []
        #: Somebody was passed over too often: the others wait.
        self._holds_back = False

    def take_up(self, run: InFlight) -> None:
        """A run that is under way; one that takes longer than predicted may end any moment."""
        end = max(run.end, self._now + _MINUTE)
        self._slots -= 1
        self._work(end, run.machine, run.memory_mib)
        if run.boots:
            self._boots -= 1
            self._schedule(min(self._now + self._boot, end), _What.BOOTED, None)

    def book(self, waiting: _Waiting) -> None:
        """Queue a candidate for its first chance, or record that it has none."""
        candidate = waiting.candidate
        if candidate.is_busy:
            waiting.why, waiting.next_chance = Why.BUSY, self._soon()
        elif self._now > min(candidate.end or _NEVER, candidate.deadline or _NEVER):
            waiting.why = Why.EXPIRED
        elif not waiting.openings:
            waiting.why = Why.NO_WINDOW
        else:
            self._await_chance(waiting, self._now)

    def run(self) -> None:
        """Simulate up to then, and give whoever has not started by then a reason and a next chance."""
        events = self._events
        while events and events[0][0] <= self._until:
            at = events[0][0]
            while events and events[0][0] == at:
                _, _, what, subject = heapq.heappop(events)
                self._happen(what, subject)
            self._fill(at)
        self._explain()
        if self._left:
            soon = self._soon()
            for waiting in self._left:
                opens = max(waiting.opening.start, waiting.candidate.start)
                waiting.next_chance = opens if opens > self._until else soon

    # A candidate's way

    def _await_chance(self, waiting: _Waiting, at: dt.datetime) -> None:
        """Mark the candidate ready at the first opening, from ``at`` on, that is long enough."""
        candidate = waiting.candidate
        earliest, end = max(at, candidate.start), candidate.end or _NEVER
        first = waiting.number
        for number in range(first, len(waiting.openings)):
            ready = max(earliest, waiting.openings[number].start)
            if ready > end:
                waiting.number, waiting.why = first, Why.NO_CHANCE
                return
            waiting.aim(number, self._reserve)
            if ready <= waiting.latest_start:
                self._wait_until(ready, waiting, waiting.openings[first])
                return
        waiting.number, waiting.why = first, Why.TOO_SHORT

    def _wait_until(self, ready: dt.datetime, waiting: _Waiting, first: Opening) -> None:
        if waiting.candidate.start > self._now:
            waiting.why = Why.NOT_YET
        elif first.start <= self._now and waiting.opening is not first:
            waiting.why = Why.TOO_FULL if waiting.was_ready else Why.TOO_SHORT
        self._left[waiting] = None
        if ready <= self._until:
            self._schedule(ready, _What.READY, waiting)

    def _miss(self, waiting: _Waiting, at: dt.datetime) -> None:
        """Queue the candidate for its next opening: it is too late for this one."""
        waiting.was_ready = at > self._now
        del self._left[waiting]
        self._await_chance(waiting, at)

    # The host's way

    def _happen(self, what: _What, subject: _Waiting | _Work | None) -> None:
        if isinstance(subject, _Waiting):
            queue = self._woken if subject.candidate.needs_waking else self._running
            heapq.heappush(queue, (subject.rank, subject))
        elif isinstance(subject, _Work):
            self._slots += 1
            self._memory += subject.memory
            self._working.discard(subject.machine)
        else:
            self._boots += 1

    def _fill(self, at: dt.datetime) -> None:
        """Start what fits, the most urgent first."""
        passed: list[_Waiting] = []
        self._holds_back = False
        while self._slots > 0 and len(passed) < LOOK_AHEAD and not self._holds_back:
            waiting = self._next()
            if waiting is None:
                break
            if at > waiting.latest_start or at > (waiting.candidate.end or _NEVER):
                self._miss(waiting, at)
            elif (obstacle := self._obstacle(waiting.candidate)) is None:
                self._start(waiting, at, passed)
            else:
                waiting.why = obstacle
                passed.append(waiting)
                # What it waits for is freed as others end: nobody may take that any more.
                self._holds_back = obstacle is Why.NO_MEMORY and self._is_starved(waiting)
        for waiting in passed:
            self._happen(_What.READY, waiting)

    def _next(self) -> _Waiting | None:
        """The most urgent that may be tried: none that must be woken while no boot is free."""
        running, woken = self._running, self._woken
        if woken and self._boots > 0 and (not running or woken[0] < running[0]):
            return heapq.heappop(woken)[1]
        return heapq.heappop(running)[1] if running else None

    def _is_starved(self, waiting: _Waiting) -> bool:
        return waiting.skips >= self._max_skips and bool(self._working)

    def _obstacle(self, candidate: Candidate) -> Why | None:
        if candidate.machine in self._working:
            return Why.BUSY
        if candidate.needs_waking and candidate.memory_mib > self._memory:
            return Why.NO_MEMORY
        return None

    def _start(self, waiting: _Waiting, at: dt.datetime, passed: list[_Waiting]) -> None:
        candidate = waiting.candidate
        for other in passed:
            other.skips += 1
        waiting.why, waiting.start, waiting.end = Why.STARTS, at, at + candidate.predicted
        del self._left[waiting]
        memory = candidate.memory_mib if candidate.needs_waking else 0
        self._slots -= 1
        self._memory -= memory
        self._work(waiting.end, candidate.machine, memory)
        if candidate.needs_waking:
            self._boots -= 1
            self._schedule(min(at + self._boot, waiting.end), _What.BOOTED, None)

    def _work(self, end: dt.datetime, machine: str, memory: int) -> None:
        self._working.add(machine)
        self._ends.append(end)
        self._schedule(end, _What.ENDED, _Work(machine, memory))

    def _explain(self) -> None:
        """Record what ready candidates wait for that have not started when the plan ends."""
        for needs_waking, queue in ((False, self._running), (True, self._woken)):
            for _, waiting in queue:
                if self._slots <= 0:
                    waiting.why = Why.NO_SLOT
                elif needs_waking and self._boots <= 0:
                    waiting.why = Why.NO_BOOT
                elif waiting.why not in (Why.NO_MEMORY, Why.BUSY):
                    waiting.why = Why.BEHIND

    def _soon(self) -> dt.datetime:
        """When the next run of the host is predicted to end."""
        return min((end for end in self._ends if end > self._until), default=self._until + self._boot)

    def _schedule(self, at: dt.datetime, what: _What, subject: _Waiting | _Work | None) -> None:
        self._event_number += 1
        heapq.heappush(self._events, (at, self._event_number, what, subject))
