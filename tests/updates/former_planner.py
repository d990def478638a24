"""The planner as it was before hosts were simulated apart: what the present one is compared with.

One simulation answers two questions. Up to *now*, it says who starts this moment and what everybody
else waits for; up to tomorrow, it is tonight's plan.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import heapq
import itertools
from collections.abc import Iterable, Sequence

from innkeeper.updates.calendar import Calendar, Opening
from innkeeper.updates.placement import Candidate, Host, InFlight, Placement, Why
from innkeeper.updates.policy import Policy

#: How many machines of a host are tried at one moment past the first that does not fit.
_LOOK_AHEAD = 16
_NEVER = dt.datetime.max.replace(tzinfo=dt.UTC)


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
    simulation = _Simulation(now, until, hosts, in_flight, calendar, policy)
    for candidate in sorted(candidates, key=lambda c: c.key):
        simulation.book(candidate)
    return simulation.run()


@dataclasses.dataclass(slots=True)
class _Waiting:
    """A candidate in the simulation."""

    candidate: Candidate
    openings: list[Opening]
    skips: int
    why: Why = Why.CLOSED
    #: Whether it has waited in an open window, in a plan that looks ahead.
    was_ready: bool = False

    @property
    def opening(self) -> Opening:
        return self.openings[0]

    @property
    def due(self) -> dt.datetime:
        """The effective deadline: by then it must be over."""
        return min(self.opening.end, self.candidate.deadline or _NEVER)

    @property
    def rank(self) -> tuple[dt.datetime, dt.datetime, dt.timedelta, str, str]:
        """Whoever has the lowest goes first."""
        candidate = self.candidate
        return self.due, candidate.deadline or _NEVER, candidate.predicted, *candidate.key


@dataclasses.dataclass(slots=True)
class _HostState:
    """A host in the simulation."""

    slots: int
    boots: int
    memory: int
    #: Machines at work, and those that wait: running ones, and ones to be woken.
    working: set[str]
    ready: dict[bool, list[tuple[tuple[object, ...], _Waiting]]]
    ends: list[dt.datetime]
    #: Somebody was passed over too often: the others wait.
    holds_back: bool = False


class _Simulation:
    """Time goes from event to event: a window opens, a boot ends, a run ends."""

    def __init__(
        self,
        now: dt.datetime,
        until: dt.datetime,
        hosts: Sequence[Host],
        in_flight: Sequence[InFlight],
        calendar: Calendar,
        policy: Policy,
    ) -> None:
        self._now = now
        self._until = until
        self._calendar = calendar
        self._policy = policy
        self._reserve = dt.timedelta(seconds=policy.rollback_reserve_seconds)
        self._boot = dt.timedelta(seconds=policy.boot_seconds)
        self._hosts = {host.name: self._empty(host) for host in hosts}
        self._events: list[tuple[dt.datetime, int, _Event]] = []
        self._order = itertools.count()
        self._placements: dict[tuple[str, str], Placement] = {}
        self._left: dict[tuple[str, str], _Waiting] = {}
        for run in in_flight:
            self._take_up(run)

    def book(self, candidate: Candidate) -> None:
        """Queue a candidate for its first chance, or record that it has none."""
        waiting = _Waiting(
            candidate=candidate,
            openings=list(self._calendar.openings(candidate.named)),
            skips=candidate.skips,
        )
        if candidate.host not in self._hosts:
            self._place(waiting, Why.NO_HOST)
        elif candidate.is_busy:
            self._place(waiting, Why.BUSY, next_chance=self._soon(candidate.host))
        elif self._now > min(candidate.end or _NEVER, candidate.deadline or _NEVER):
            self._place(waiting, Why.EXPIRED)
        elif not waiting.openings:
            self._place(waiting, Why.NO_WINDOW)
        else:
            self._await_chance(waiting, self._now)

    def run(self) -> list[Placement]:
        """Simulate up to then; returns a placement for every candidate, in the order of their keys."""
        while self._events and self._events[0][0] <= self._until:
            at = self._events[0][0]
            touched: dict[str, None] = {}
            while self._events and self._events[0][0] == at:
                event = heapq.heappop(self._events)[2]
                event.happen(self._hosts[event.host])
                touched[event.host] = None
            for name in touched:
                self._fill(self._hosts[name], at)
        for host in self._hosts.values():
            self._explain(host)
        for waiting in self._left.values():
            self._place(waiting, waiting.why, next_chance=self._chance_of(waiting))
        return [placement for _, placement in sorted(self._placements.items())]

    # A candidate's way

    def _await_chance(self, waiting: _Waiting, at: dt.datetime) -> None:
        """Mark the candidate ready at the first opening, from ``at`` on, that is long enough."""
        candidate = waiting.candidate
        earliest = max(at, candidate.start)
        first = waiting.openings[0]
        while waiting.openings:
            ready = max(earliest, waiting.opening.start)
            if ready > (candidate.end or _NEVER):
                waiting.openings = [first]
                self._place(waiting, Why.NO_CHANCE)
                return
            if ready <= self._latest_start(waiting):
                self._wait_until(ready, waiting, first)
                return
            waiting.openings.pop(0)
        waiting.openings = [first]
        self._place(waiting, Why.TOO_SHORT)

    def _wait_until(self, ready: dt.datetime, waiting: _Waiting, first: Opening) -> None:
        if waiting.candidate.start > self._now:
            waiting.why = Why.NOT_YET
        elif first.start <= self._now and waiting.opening is not first:
            waiting.why = Why.TOO_FULL if waiting.was_ready else Why.TOO_SHORT
        self._left[waiting.candidate.key] = waiting
        self._schedule(ready, _Ready(host=waiting.candidate.host, waiting=waiting))

    def _latest_start(self, waiting: _Waiting) -> dt.datetime:
        """Started later, it would not be over in time."""
        return waiting.due - waiting.candidate.predicted - self._reserve

    def _chance_of(self, waiting: _Waiting) -> dt.datetime:
        """When one that has not started by the end of the plan may."""
        opens = max(waiting.opening.start, waiting.candidate.start)
        return opens if opens > self._until else self._soon(waiting.candidate.host)

    # A host's way

    def _fill(self, host: _HostState, at: dt.datetime) -> None:
        """Start what fits, the most urgent first."""
        passed: list[_Waiting] = []
        host.holds_back = False
        while host.slots > 0 and len(passed) < _LOOK_AHEAD and not host.holds_back:
            waiting = self._next(host)
            if waiting is None:
                break
            if at > min(self._latest_start(waiting), waiting.candidate.end or _NEVER):
                self._miss(waiting, at)
            elif (obstacle := self._obstacle(host, waiting.candidate)) is None:
                self._start(waiting, host, at, passed)
            else:
                waiting.why = obstacle
                passed.append(waiting)
                # What it waits for is freed as others end: nobody may take that any more.
                host.holds_back = obstacle is Why.NO_MEMORY and self._is_starved(waiting, host)
        for waiting in passed:
            heapq.heappush(host.ready[waiting.candidate.needs_waking], (waiting.rank, waiting))

    def _miss(self, waiting: _Waiting, at: dt.datetime) -> None:
        """Queue the candidate for its next opening: it is too late for this one."""
        waiting.was_ready = at > self._now
        self._left.pop(waiting.candidate.key, None)
        self._await_chance(waiting, at)

    def _is_starved(self, waiting: _Waiting, host: _HostState) -> bool:
        return waiting.skips >= self._policy.max_skips and bool(host.working)

    def _next(self, host: _HostState) -> _Waiting | None:
        """The most urgent that may be tried: none that must be woken while no boot is free."""
        tried = [kind for kind in (False, True) if host.ready[kind] and (not kind or host.boots > 0)]
        if not tried:
            return None
        first = min(tried, key=lambda kind: host.ready[kind][0][0])
        return heapq.heappop(host.ready[first])[1]

    def _explain(self, host: _HostState) -> None:
        """Record what ready candidates wait for that have not started when the plan ends."""
        for needs_waking, queue in host.ready.items():
            for _, waiting in queue:
                if host.slots <= 0:
                    waiting.why = Why.NO_SLOT
                elif needs_waking and host.boots <= 0:
                    waiting.why = Why.NO_BOOT
                elif waiting.why not in (Why.NO_MEMORY, Why.BUSY):
                    waiting.why = Why.BEHIND

    def _obstacle(self, host: _HostState, candidate: Candidate) -> Why | None:
        if candidate.machine in host.working:
            return Why.BUSY
        if candidate.needs_waking and candidate.memory_mib > host.memory:
            return Why.NO_MEMORY
        return None

    def _start(self, waiting: _Waiting, host: _HostState, at: dt.datetime, passed: list[_Waiting]) -> None:
        candidate = waiting.candidate
        end = at + candidate.predicted
        for other in passed:
            other.skips += 1
        memory = candidate.memory_mib if candidate.needs_waking else 0
        host.slots -= 1
        host.memory -= memory
        host.working.add(candidate.machine)
        heapq.heappush(host.ends, end)
        self._schedule(end, _Ended(host=candidate.host, machine=candidate.machine, memory=memory))
        if candidate.needs_waking:
            host.boots -= 1
            self._schedule(min(at + self._boot, end), _Booted(host=candidate.host))
        self._left.pop(candidate.key, None)
        self._place(waiting, Why.STARTS, start=at, end=end)

    def _empty(self, host: Host) -> _HostState:
        return _HostState(
            slots=self._policy.slots,
            boots=self._policy.boots,
            memory=host.memory_free_mib,
            working=set(),
            ready={False: [], True: []},
            ends=[],
        )

    def _take_up(self, run: InFlight) -> None:
        """A run that is under way; one that takes longer than predicted may end any moment."""
        host = self._hosts.get(run.host)
        if host is None:
            return
        end = max(run.end, self._now + dt.timedelta(minutes=1))
        host.slots -= 1
        host.working.add(run.machine)
        heapq.heappush(host.ends, end)
        self._schedule(end, _Ended(host=run.host, machine=run.machine, memory=run.memory_mib))
        if run.boots:
            host.boots -= 1
            self._schedule(min(self._now + self._boot, end), _Booted(host=run.host))

    def _soon(self, host: str) -> dt.datetime:
        """When the next run of the host is predicted to end."""
        ends = [end for end in self._hosts[host].ends if end > self._until]
        return min(ends, default=self._until + self._boot)

    def _schedule(self, at: dt.datetime, event: _Event) -> None:
        heapq.heappush(self._events, (at, next(self._order), event))

    def _place(
        self,
        waiting: _Waiting,
        why: Why,
        *,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
        next_chance: dt.datetime | None = None,
    ) -> None:
        self._placements[waiting.candidate.key] = Placement(
            candidate=waiting.candidate,
            why=why,
            start=start,
            end=end,
            opening=waiting.openings[0] if waiting.openings else None,
            next_chance=next_chance,
            skips=waiting.skips,
        )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Event:
    """Something happens on a host."""

    host: str

    def happen(self, state: _HostState) -> None:
        """Change the host's state."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Ready(_Event):
    """A candidate's chance has come."""

    waiting: _Waiting

    def happen(self, state: _HostState) -> None:
        """Queue it."""
        queue = state.ready[self.waiting.candidate.needs_waking]
        heapq.heappush(queue, (self.waiting.rank, self.waiting))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Booted(_Event):
    """A boot is over."""

    def happen(self, state: _HostState) -> None:
        """Free its slot."""
        state.boots += 1


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Ended(_Event):
    """A run is over."""

    machine: str
    memory: int

    def happen(self, state: _HostState) -> None:
        """Free what it took."""
        state.slots += 1
        state.memory += self.memory
        state.working.discard(self.machine)
