"""The plan starts nothing outside its window, never more than fits, and leaves nobody without a reason."""

from __future__ import annotations

import dataclasses
import datetime as dt
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.updates import calendar as calendar_module
from innkeeper.updates.booking import Booking
from innkeeper.updates.calendar import Calendar
from innkeeper.updates.coverage import Coverage
from innkeeper.updates.dispatch import Ripe, Scales
from innkeeper.updates.machine_name import MachineName
from innkeeper.updates.placement import Candidate, Host, InFlight, Placement, Why
from innkeeper.updates.planner import plan
from innkeeper.updates.policy import Policy
from innkeeper.updates.window import Window
from innkeeper.wire.states import UpdateStatus, Weekday
from tests.updates import former_planner

#: A Saturday evening.
NOW = dt.datetime(2026, 1, 10, 21, 0, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)
TOMORROW = NOW + dt.timedelta(hours=24)
POLICY = Policy(slots=2, boots=1, rollback_reserve_seconds=300)
RESERVE = dt.timedelta(seconds=300)


def night(
    name: str = "night", start: int = 20, hours: float = 4, machines: tuple[str, ...] = ("all",)
) -> Window:
    """A window every day, in UTC."""
    return Window(
        name=name,
        zone="UTC",
        start=dt.time(start),
        duration=dt.timedelta(hours=hours),
        weekdays=frozenset(Weekday),
        machines=machines,
    )


def candidate(machine: str, minutes: int = 10, **changes: object) -> Candidate:
    """A booking for a running machine."""
    values: dict[str, object] = {
        "machine": machine,
        "identifier": "u",
        "host": "h",
        "memory_mib": 1024,
        "needs_waking": False,
        "start": NOW - dt.timedelta(hours=1),
        "end": None,
        "deadline": None,
        "predicted": minutes * MINUTE,
        **changes,
    }
    return Candidate(**values)  # type: ignore[arg-type] # a test's shorthand


def planned(
    *candidates: Candidate,
    until: dt.datetime = NOW,
    windows: tuple[Window, ...] = (night(),),
    memory: int = 65536,
    in_flight: tuple[InFlight, ...] = (),
    policy: Policy = POLICY,
) -> dict[str, Placement]:
    """The plan, by machine."""
    placements = plan(
        now=NOW,
        until=until,
        candidates=candidates,
        hosts=[Host(name="h", memory_free_mib=memory)],
        in_flight=in_flight,
        calendar=Calendar(windows, NOW),
        policy=policy,
    )
    return {placement.candidate.machine: placement for placement in placements}


def test_the_earliest_effective_deadline_goes_first() -> None:
    """The deadline counts, but only as far as the window reaches."""
    found = planned(
        candidate("a"),
        candidate("b", deadline=NOW + dt.timedelta(hours=1)),
        candidate("c", deadline=NOW + dt.timedelta(hours=2)),
    )
    assert [name for name, p in found.items() if p.why is Why.STARTS] == ["b", "c"]
    assert found["a"].why is Why.NO_SLOT
    assert found["a"].next_chance == NOW + 10 * MINUTE


def test_nothing_starts_that_could_not_be_rolled_back_in_time() -> None:
    """175 minutes and the reserve end with the window; a minute more waits for a night long enough."""
    found = planned(candidate("fits", minutes=175), candidate("late", minutes=176))
    assert found["fits"].why is Why.STARTS
    assert found["late"].why is Why.TOO_SHORT
    assert found["late"].next_chance == NOW.replace(hour=20) + dt.timedelta(days=1)


def test_whoever_cannot_start_has_a_reason_and_the_next_chance() -> None:
    """Each obstacle has its own sentence."""
    opens = NOW.replace(hour=23)
    found = planned(
        candidate("closed"),
        candidate("later", start=opens + 30 * MINUTE),
        candidate("expired", end=NOW - MINUTE),
        candidate("lost", host=""),
        candidate("uncovered"),
        candidate("busy", is_busy=True),
        candidate("huge", minutes=100_000),
        candidate("never", start=NOW, end=NOW + MINUTE),
        windows=(night(start=23, machines=("closed", "later", "busy", "huge", "never")),),
    )
    assert {name: (p.why, p.next_chance) for name, p in found.items()} == {
        "closed": (Why.CLOSED, opens),
        "later": (Why.NOT_YET, opens + 30 * MINUTE),
        "expired": (Why.EXPIRED, None),
        "lost": (Why.NO_HOST, None),
        "uncovered": (Why.NO_WINDOW, None),
        "busy": (Why.BUSY, found["busy"].next_chance),
        "huge": (Why.TOO_SHORT, None),
        "never": (Why.NO_CHANCE, None),
    }


def test_boots_are_capped_apart_from_slots() -> None:
    """One machine boots at a time; a running one does not wait for that."""
    found = planned(
        candidate("off-1", needs_waking=True),
        candidate("off-2", needs_waking=True),
        candidate("running"),
        policy=Policy(slots=3, boots=1),
    )
    assert found["off-1"].why is Why.STARTS
    assert found["running"].why is Why.STARTS
    assert found["off-2"].why is Why.NO_BOOT


def test_a_machine_that_was_passed_over_too_often_is_waited_for() -> None:
    """Small machines stop overtaking a large one that lacks memory, while something is about to end."""
    busy = InFlight(machine="x", host="h", end=NOW + 30 * MINUTE, memory_mib=4096, boots=False)
    large = candidate("a-large", needs_waking=True, memory_mib=8192, skips=POLICY.max_skips)
    small = candidate("small", needs_waking=True)
    found = planned(large, small, memory=5000, in_flight=(busy,))
    assert (found["a-large"].why, found["small"].why) == (Why.NO_MEMORY, Why.BEHIND)
    fresh = planned(dataclasses.replace(large, skips=0), small, memory=5000, in_flight=(busy,))
    assert fresh["small"].why is Why.STARTS
    assert fresh["a-large"].skips == 1


def test_tonight_says_who_does_not_fit() -> None:
    """Two slots for four hours carry six runs of 55 minutes after nine; the others hear why, and when."""
    found = planned(*[candidate(f"m{n}", minutes=55) for n in range(8)], until=NOW + dt.timedelta(hours=4))
    starts = [p for p in found.values() if p.start is not None]
    assert len(starts) == 6
    missing = [p for p in found.values() if p.start is None]
    assert {p.why for p in missing} == {Why.TOO_FULL}
    assert all(p.next_chance == NOW.replace(hour=20) + dt.timedelta(days=1) for p in missing)


candidates = st.builds(
    candidate,
    machine=st.integers(0, 60).map("m{}".format),
    minutes=st.integers(1, 200),
    identifier=st.sampled_from(["u", "v"]),
    host=st.sampled_from(["h", "i"]),
    memory_mib=st.sampled_from([512, 2048, 6000]),
    needs_waking=st.booleans(),
    start=st.integers(-100, 1500).map(lambda m: NOW + m * MINUTE),
    deadline=st.none() | st.integers(0, 3000).map(lambda m: NOW + m * MINUTE),
    end=st.none() | st.integers(0, 3000).map(lambda m: NOW + m * MINUTE),
    skips=st.integers(0, 10),
)
windows = st.lists(
    st.builds(
        night,
        name=st.sampled_from("abcdef"),
        start=st.integers(0, 23),
        hours=st.floats(0.5, 20),
        machines=st.sampled_from([("all",), ("m1*",), ("m2*", "m3*"), ("nobody",)]),
    ),
    max_size=4,
    unique_by=lambda w: w.name,
)


@settings(max_examples=150)
@given(
    st.lists(candidates, max_size=60, unique_by=lambda c: c.key),
    windows,
    st.integers(1, 4),
    st.integers(1, 3),
)
def test_every_plan_keeps_its_promises(
    booked: list[Candidate], opened: list[Window], slots: int, boots: int
) -> None:
    """Windows, deadlines and capacities hold; the same input is the same plan; nobody is forgotten."""
    policy = Policy(slots=slots, boots=boots, rollback_reserve_seconds=300, boot_seconds=60)
    # A machine is on one host.
    booked = [c for c in booked if (int(c.machine[1:]) % 2 == 0) == (c.host == "h")]

    def placements() -> list[Placement]:
        return plan(
            now=NOW,
            until=TOMORROW,
            candidates=booked,
            hosts=[Host(name="h", memory_free_mib=8000), Host(name="i", memory_free_mib=3000)],
            in_flight=[],
            calendar=Calendar(opened, NOW),
            policy=policy,
        )

    found = placements()
    assert found == placements()
    assert sorted(p.candidate.key for p in found) == sorted(c.key for c in booked)
    for placement in found:
        _assert_placed_well(placement, opened)
    _assert_capacities(found, policy, memory={"h": 8000, "i": 3000})


runs = st.builds(
    InFlight,
    machine=st.integers(0, 60).map("m{}".format),
    host=st.sampled_from(["h", "i", "gone"]),
    end=st.integers(-30, 200).map(lambda m: NOW + m * MINUTE),
    memory_mib=st.sampled_from([0, 2048]),
    boots=st.booleans(),
)


@settings(max_examples=100)
@given(
    st.lists(candidates, max_size=40, unique_by=lambda c: c.key),
    windows,
    st.lists(runs, max_size=3, unique_by=lambda r: r.machine),
    st.integers(1, 4),
    st.integers(1, 3),
    st.sampled_from([NOW, NOW + 90 * MINUTE, TOMORROW]),
)
def test_the_plan_is_that_of_the_planner_before(
    booked: list[Candidate],
    opened: list[Window],
    in_flight: list[InFlight],
    slots: int,
    boots: int,
    until: dt.datetime,
) -> None:
    """Hosts are simulated apart now: every placement, reason, chance and skip is what it was."""
    wanted: dict[str, Any] = {
        "now": NOW,
        "until": until,
        "candidates": [dataclasses.replace(c, is_busy=c.skips == 5) for c in booked],
        "hosts": [Host(name="h", memory_free_mib=8000), Host(name="i", memory_free_mib=3000)],
        "in_flight": in_flight,
        "calendar": Calendar(opened, NOW),
        "policy": Policy(slots=slots, boots=boots, rollback_reserve_seconds=300, boot_seconds=60),
    }
    assert plan(**wanted) == former_planner.plan(**wanted)


class Known:
    """Everything a dispatcher asks, out of candidates."""

    def __init__(self, booked: list[Candidate]) -> None:
        self._by_machine = {c.machine: c for c in booked}
        self._by_key = {c.key: c for c in booked}

    @property
    def busy(self) -> set[str]:
        """As the candidates say."""
        return {machine for machine, c in self._by_machine.items() if c.is_busy}

    def needs_waking(self, machine: str) -> bool:
        """As the candidate says."""
        return self._by_machine[machine].needs_waking

    def named(self, booking: Booking) -> MachineName:
        """As the candidate says."""
        return self.candidate(booking, 0).named

    def predicted(self, booking: Booking) -> dt.timedelta:
        """As the candidate says."""
        return self.candidate(booking, 0).predicted

    def candidate(self, booking: Booking, skips: int) -> Candidate:
        """The candidate that the booking was made of."""
        return self._by_key[booking.machine, booking.identifier]


def _booking(made_of: Candidate) -> Booking:
    return Booking(
        machine=made_of.machine,
        identifier=made_of.identifier,
        label="",
        context=b"",
        start=made_of.start,
        end=made_of.end,
        deadline=made_of.deadline,
        booked_by="ana",
        booked_at=NOW,
        status=UpdateStatus.UNKNOWN,
        task_id=None,
        verdict=None,
        reason="",
        next_chance=None,
    )


@settings(max_examples=60)
@given(
    st.lists(candidates, max_size=100, unique_by=lambda c: c.key),
    windows,
    st.integers(1, 3),
    st.integers(1, 3),
)
def test_a_look_starts_whom_the_whole_plan_starts(
    booked: list[Candidate], opened: list[Window], slots: int, boots: int
) -> None:
    """And ends whom it calls expired, though it plans only those that may start now."""
    policy = Policy(slots=slots, boots=boots, rollback_reserve_seconds=300, boot_seconds=60)
    kinds = {c.machine: (c.needs_waking, c.skips == 5) for c in booked}
    booked = [
        dataclasses.replace(c, host="h", needs_waking=kinds[c.machine][0], is_busy=kinds[c.machine][1])
        for c in booked
    ]
    calendar = Calendar(opened, NOW)
    common: dict[str, Any] = {
        "now": NOW,
        "until": NOW,
        "hosts": [Host(name="h", memory_free_mib=6000)],
        "in_flight": [],
        "calendar": calendar,
        "policy": policy,
    }
    whole = plan(candidates=booked, **common)
    scales = Scales(policy)
    _weigh(scales, booked, NOW, opened)
    found = scales.ripe({}, known=Known(booked))
    without_room = scales.ripe({}, known=Known(booked), has_room=False)
    assert (without_room.candidates, without_room.expired) == ([], found.expired)
    looked = plan(candidates=found.candidates, **common)
    assert [p for p in looked if p.why is Why.STARTS] == [p for p in whole if p.why is Why.STARTS]
    assert {(b.machine, b.identifier) for b in found.expired} == {
        p.candidate.key for p in whole if p.why is Why.EXPIRED
    }
    chances = [p.next_chance for p in whole if p.why in (Why.CLOSED, Why.NOT_YET) and p.next_chance]
    assert not chances or (found.next_instant is not None and found.next_instant <= min(chances))


@settings(max_examples=150)
@given(
    st.lists(candidates, max_size=30, unique_by=lambda c: c.key),
    windows,
    st.lists(st.tuples(st.integers(0, 900), st.lists(candidates, max_size=4)), max_size=8),
)
def test_what_is_kept_from_look_to_look_is_what_would_be_found_anew(
    booked: list[Candidate], opened: list[Window], steps: list[tuple[int, list[Candidate]]]
) -> None:
    """Time passes, machines are woken, taken and let go, bookings come, change and go."""
    kept, now = Scales(POLICY), NOW
    booked = [dataclasses.replace(c, is_busy=c.skips == 5) for c in booked]
    _weigh(kept, booked, now, opened)
    for minutes, changes in steps:
        now += minutes * MINUTE
        changed = {change.machine for change in changes}
        others = [c for c in booked if c.machine not in changed]
        # Of the bookings that a machine has now the last says what it does; without any it has gone.
        booked = others + [c for c in changes if c.skips < 8 and c.key not in {b.key for b in others}]
        booked = [dataclasses.replace(c, is_busy=c.skips == 5) for c in {c.key: c for c in booked}.values()]
        _weigh(kept, booked, now, opened, changed)
        anew = Scales(POLICY)
        _weigh(anew, booked, now, opened)
        for has_room in (True, False):
            known = Known(booked)
            found, wanted = (s.ripe({}, known=known, has_room=has_room) for s in (kept, anew))
            assert _ordered(found) == _ordered(wanted)


def test_a_look_weighs_what_has_changed_alone() -> None:
    """Of a thousand machines one has news, and a minute later the booking of another is over."""
    ends = NOW + MINUTE
    booked = [candidate(f"m{n}", end=ends if n == 7 else None) for n in range(1000)]
    scales, weighed = Scales(POLICY), list[str]()

    def waiting(machine: str) -> list[Booking]:
        weighed.append(machine)
        return [_booking(c) for c in booked if c.machine == machine]

    for now, changed in ((NOW, {c.machine for c in booked}), (NOW, {"m3"}), (ends + MINUTE, set[str]())):
        weighed.clear()
        scales.weigh(changed, waiting, now=now, known=Known(booked), calendar=Calendar([night()], now))
        assert sorted(weighed) == sorted(changed or {"m7"})
    assert [b.machine for b in scales.ripe({}, known=Known(booked)).expired] == ["m7"]


def _weigh(
    scales: Scales,
    booked: list[Candidate],
    now: dt.datetime,
    opened: list[Window],
    changed: Iterable[str] | None = None,
) -> None:
    def waiting(machine: str) -> list[Booking]:
        return [_booking(c) for c in booked if c.machine == machine]

    everything = {c.machine for c in booked}
    scales.weigh(
        everything if changed is None else changed,
        waiting,
        now=now,
        known=Known(booked),
        calendar=Calendar(opened, now),
    )


def _ordered(found: Ripe) -> tuple[object, ...]:
    expired = sorted((booking.machine, booking.identifier) for booking in found.expired)
    return [c.key for c in found.candidates], expired, found.next_instant


@given(
    st.lists(
        st.lists(st.text("aAbß*?[!]-1/", max_size=5) | st.just("all"), min_size=1, max_size=3), max_size=4
    ),
    st.text("aAbß-1*[/", max_size=5),
    st.sampled_from(["", "a", "b"]),
    st.sampled_from(["x", "y"]),
)
def test_coverage_is_what_each_window_says(
    selectors: list[list[str]], machine: str, pinned: str, uuid: str
) -> None:
    """Names, beginnings, globs, hosts before them and machines kept by UUID: looked up with one answer."""
    opened = [
        dataclasses.replace(night(name=str(n), machines=tuple(each)), pins=((pinned, "x"),))
        for n, each in enumerate(selectors)
    ]
    called = MachineName.called(machine)
    host_and_name = called.lines.split("\n")
    named = dataclasses.replace(called, lines="\n".join([*host_and_name[:2], uuid, host_and_name[3]]))
    found = Coverage([(window.machines, window.pins) for window in opened]).of(named)
    assert found == tuple(n for n, window in enumerate(opened) if window.covers(named))


@settings(max_examples=30)
@given(windows, st.lists(st.integers(0, 6000), max_size=12))
def test_openings_are_the_same_whenever_they_were_asked_before(
    opened: list[Window], minutes: list[int]
) -> None:
    """They are kept from look to look until one of them begins or ends; clocks may go back, too."""
    for minute in minutes:
        now = NOW + minute * MINUTE
        kept = Calendar(opened, now).openings(MachineName.called("m1"))
        calendar_module._walk_of.cache_clear()
        assert Calendar(opened, now).openings(MachineName.called("m1")) == kept
        for earlier in minutes:
            Calendar(opened, NOW + earlier * MINUTE).openings(MachineName.called("m1"))


def _assert_placed_well(placement: Placement, opened: list[Window]) -> None:
    booked = placement.candidate
    if placement.start is None or placement.end is None:
        final = (Why.EXPIRED, Why.NO_WINDOW, Why.NO_CHANCE, Why.TOO_SHORT, Why.NO_HOST)
        assert placement.why is not Why.STARTS
        assert placement.next_chance is not None or placement.why in final
        return
    assert NOW <= placement.start <= TOMORROW
    assert booked.start <= placement.start
    assert placement.end == placement.start + booked.predicted
    assert booked.end is None or placement.start <= booked.end
    assert booked.deadline is None or placement.end + RESERVE <= booked.deadline
    openings = [w.occurrence(placement.start) for w in opened if w.covers(booked.named)]
    assert any(o is not None and placement.end + RESERVE <= o.end for o in openings)


def _assert_capacities(found: list[Placement], policy: Policy, memory: dict[str, int]) -> None:
    started = [p for p in found if p.start is not None and p.end is not None]
    for moment in {p.start for p in started}:
        assert moment is not None
        live = [p for p in started if p.start and p.end and p.start <= moment < p.end]
        for host, free in memory.items():
            here = [p for p in live if p.candidate.host == host]
            woken = [p for p in here if p.candidate.needs_waking]
            booting = [p for p in woken if p.start and moment < p.start + MINUTE]
            assert len(here) <= policy.slots
            assert len(booting) <= policy.boots
            assert sum(p.candidate.memory_mib for p in woken) <= free
        assert max(Counter(p.candidate.machine for p in live).values()) == 1


def test_ten_thousand_bookings_are_planned_in_well_below_a_second() -> None:
    """Both the look at this moment and the whole night, on 25 hosts and 100 windows."""
    opened = tuple(night(name=f"w{n}", start=18 + n % 6, hours=6, machines=(f"m{n}-*",)) for n in range(100))
    booked = [
        candidate(f"m{n % 100}-{n}", minutes=5 + n % 40, host=f"h{n % 25}", needs_waking=n % 3 == 0)
        for n in range(10_000)
    ]
    hosts = [Host(name=f"h{n}", memory_free_mib=1 << 18) for n in range(25)]
    for until in (NOW, TOMORROW):
        began = time.process_time()
        plan(
            now=NOW,
            until=until,
            candidates=booked,
            hosts=hosts,
            in_flight=[],
            calendar=Calendar(opened, NOW),
            policy=Policy(slots=16, boots=4),
        )
        seconds = time.process_time() - began
        print(f"until {until}: {seconds:.3f} s")
        assert seconds < 3
