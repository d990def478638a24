"""The trigger agent starts what is booked inside its window, and nothing outside of it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt
import itertools
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from innkeeper.channels.ports import ScheduleDeleted, ScheduleRequested
from innkeeper.errors import ErrorCode, HypervisorError, MachineError, UpdateError
from innkeeper.hypervisor.simulated.fleet import settle_fleet
from innkeeper.hypervisor.simulated.guests import Behaviour
from innkeeper.machines.machine import Machine, MachineState
from innkeeper.machines.places import Places
from innkeeper.tasks.task import Task, TaskFilter
from innkeeper.updates.booking import Booking, Verdict
from innkeeper.updates.memory import MemoryBookingStore, MemoryWindowStore
from innkeeper.updates.placement import Why
from innkeeper.updates.policy import Policy
from innkeeper.updates.trigger import TriggerAgent
from innkeeper.updates.window import Window
from innkeeper.updates.windows import Windows
from innkeeper.wire.events import Event, EventKind, Json
from innkeeper.wire.states import Weekday
from tests.updates.inn import Inn, settle

#: The clock starts at 20:00 UTC.
NIGHT = Window(
    name="night",
    zone="UTC",
    start=dt.time(22),
    duration=dt.timedelta(hours=3),
    weekdays=frozenset(Weekday),
)


class Night(Inn):
    """An inn with a trigger agent and one window."""

    def __init__(self, directory: Path, policy: Policy | None = None) -> None:
        super().__init__(directory, policy)
        self.windows = Windows(MemoryWindowStore(), Places())
        #: Why nothing new may begin on the host.
        self.hindrance = ""

    async def open_night(self, *windows: Window) -> None:
        """Start the service, and its trigger agent."""
        await self.open()
        for window in windows or (NIGHT,):
            await self.windows.add(window)
        self.trigger = TriggerAgent(
            tasks=self.tasks,
            machines=self.machines,
            bookings=self.bookings,
            windows=self.windows,
            reports=self.reports,
            clock=self.clock,
            publish=self.publish,
            policy=self.policy,
            hindrance=lambda _host: self.hindrance,
        )
        self.hearers.append(self.trigger.on_event)

    async def booking_of(self, machine: str, identifier: str = "u") -> Booking:
        """A booking, with why it waits."""
        (found,) = await self.trigger.explain([await self.bookings.get(machine, identifier)])
        return found

    @contextlib.asynccontextmanager
    async def triggered(self) -> AsyncIterator[None]:
        """Run the trigger agent for a while."""
        running = asyncio.ensure_future(self.trigger.run())
        try:
            yield
        finally:
            running.cancel()
            await asyncio.wait({running})

    async def until(self, hours: float) -> None:
        """Let time pass until so long after 20:00."""
        target = hours * 3600
        while self.clock.monotonic() < target:
            left = target - self.clock.monotonic()
            await self.clock.advance(min(left, 600.0))

    async def book_update(self, name: str = "web-1", identifier: str = "u", context: bytes = b"") -> None:
        """Book an update, from now on."""
        await self.bookings.book(name, label="l", identifier=identifier, context=context, booked_by="ana")


@pytest.fixture
async def night(tmp_path: Path) -> Night:
    """A night before it has begun."""
    night = Night(tmp_path)
    await night.open_night()
    return night


async def test_an_update_starts_when_its_window_opens(night: Night) -> None:
    """Until then the booking says what it waits for, and until when."""
    await night.add(MachineState.RUNNING)
    await night.book_update()
    async with night.triggered():
        await night.until(1)
        booking = await night.booking_of("web-1")
        assert (booking.reason, booking.has_started) == (Why.CLOSED.value, False)
        assert booking.next_chance == dt.datetime(2026, 1, 10, 22, tzinfo=dt.UTC)
        await night.until(3)
    booking = await night.bookings.get("web-1", "u")
    assert booking.verdict is Verdict.KEPT
    started = next(event for event in night.events if event.kind == EventKind.UPDATE_STARTED)
    assert started.at == dt.datetime(2026, 1, 10, 22, tzinfo=dt.UTC)


async def test_a_window_that_opens_late_in_the_day_is_not_caught_up(tmp_path: Path) -> None:
    """The service was down all night: nothing happens in daylight, and the next night is named."""
    night = Night(tmp_path)
    await night.open_night()
    await night.add(MachineState.RUNNING)
    await night.book_update()
    await night.clock.advance(14 * 3600)
    async with night.triggered():
        await night.until(20)
        booking = await night.booking_of("web-1")
        assert not booking.has_started
        assert booking.next_chance == dt.datetime(2026, 1, 11, 22, tzinfo=dt.UTC)


async def test_a_run_is_over_when_its_window_closes(tmp_path: Path) -> None:
    """A hanging update is rolled back before the hard end, not after it."""
    night = Night(tmp_path, Policy(poll_seconds=60.0, default_run_seconds=600.0))
    await night.open_night(dataclasses.replace(NIGHT, duration=dt.timedelta(minutes=30)))
    await night.add(MachineState.RUNNING)
    await night.book_update(context=Behaviour.HANG.encode())
    async with night.triggered():
        await night.until(2.6)
    booking = await night.bookings.get("web-1", "u")
    assert booking.verdict is Verdict.ROLLED_BACK
    report = await night.reports.get(booking.task_id or 0)
    assert report is not None
    assert "window closes" in report.reasons[0]
    assert dt.datetime(2026, 1, 10, 22, 25, tzinfo=dt.UTC) < report.ended_at
    assert report.ended_at < dt.datetime(2026, 1, 10, 22, 30, tzinfo=dt.UTC)


async def test_what_could_not_begin_is_tried_again_with_growing_pauses(night: Night) -> None:
    """Its repository is broken all night: it says why, and when it is tried next; the guest runs on."""
    machine = await night.add(MachineState.RUNNING)
    assert machine.memory is not None
    boot = machine.memory.boot_id
    await night.book_update(context=Behaviour.NO_REPOSITORY.encode())
    async with night.triggered():
        await night.until(2.05)
        booking = await night.booking_of("web-1")
        assert booking.is_waiting
        assert "was not started: Not looked for updates" in booking.reason
        assert booking.next_chance is not None
        assert booking.next_chance > night.clock.now()
        (entry,) = (await night.trigger.tonight()).entries
        assert (entry.fits, entry.reason, entry.next_chance) == (
            False,
            booking.reason,
            booking.next_chance,
        )
        await night.until(5)
        tried = [event.at for event in night.events if event.kind is EventKind.UPDATE_PUT_OFF]
        pauses = [(later - former).total_seconds() // 300 for former, later in itertools.pairwise(tried)]
        assert pauses[:3] == [1, 2, 4]
        assert pauses == sorted(pauses)
        # Mended, and booked again: nobody waits for the pause to pass.
        await night.windows.add(dataclasses.replace(NIGHT, name="day", start=dt.time(0)))
        await night.book_update(context=Behaviour.GOOD.encode())
        await night.until(5.5)
    assert (await night.bookings.get("web-1", "u")).verdict is Verdict.KEPT
    assert machine.memory.boot_id == boot
    reports = await night.reports.list()
    assert [report.verdict for report in reports][1:] == [Verdict.NOT_STARTED] * len(tried)


async def test_a_busy_machine_waits_and_names_the_reason(night: Night) -> None:
    """Two updates of one machine run one after the other."""
    await night.add(MachineState.RUNNING)
    await night.book_update(identifier="first")
    await night.book_update(identifier="second")
    async with night.triggered():
        await night.until(2.01)
        second = await night.booking_of("web-1", "second")
        assert second.reason == Why.BUSY.value
        await night.until(3)
    verdicts = {b.identifier: b.verdict for b in await night.bookings.list()}
    assert verdicts == {"first": Verdict.KEPT, "second": Verdict.KEPT}


async def test_a_booking_whose_time_has_passed_ends_with_its_last_reason(night: Night) -> None:
    """Nobody covers the machine until its latest start: it ends as not started, and says so."""
    await night.add(MachineState.RUNNING)
    await night.bookings.book(
        "web-1",
        label="l",
        identifier="u",
        end=night.clock.now() + dt.timedelta(hours=1),
        booked_by="ana",
    )
    async with night.triggered():
        await night.until(1.5)
    booking = await night.bookings.get("web-1", "u")
    assert booking.verdict is Verdict.NOT_STARTED
    assert Why.NO_CHANCE.value in booking.reason


async def test_a_booking_on_a_host_where_nothing_begins_says_why(night: Night) -> None:
    """Its server is drained: the night promises nothing, and once it has joined again the update starts."""
    night.hindrance = "The server attic is drained."
    await night.add(MachineState.RUNNING)
    await night.add(MachineState.RUNNING, name="web-2")
    await night.book_update()
    end = night.clock.now() + dt.timedelta(hours=2.5)
    await night.bookings.book("web-2", label="l", identifier="u", end=end, booked_by="ana")
    async with night.triggered():
        await night.until(2.1)
        booking = await night.booking_of("web-1")
        assert (booking.reason, booking.next_chance, booking.has_started) == (night.hindrance, None, False)
        entry = (await night.trigger.tonight()).entries[0]
        assert (entry.fits, entry.start, entry.reason) == (False, None, night.hindrance)
        await night.until(2.6)
        expired = await night.bookings.get("web-2", "u")
        assert (expired.verdict, expired.reason) == (
            Verdict.NOT_STARTED, f"{Why.EXPIRED.value} {night.hindrance}"
        )  # fmt: skip
        night.hindrance = ""
        await night.until(2.9)
        assert (await night.booking_of("web-1")).has_started


async def test_a_guest_books_for_itself_but_not_without_bounds(night: Night) -> None:
    """It may replace and delete what it booked, and no more than the policy allows."""
    await night.add(MachineState.RUNNING)

    def wish(identifier: str) -> ScheduleRequested:
        now = night.clock.now()
        return ScheduleRequested(
            label="self", identifier=identifier, context=b"", start=now, end=None, deadline=None
        )

    for number in range(night.policy.guest_bookings):
        await night.trigger.hear("web-1", wish(f"g{number}"))
    await night.trigger.hear("web-1", wish("g0"))
    with pytest.raises(UpdateError, match="may not book more"):
        await night.trigger.hear("web-1", wish("one too many"))
    await night.trigger.hear("web-1", ScheduleDeleted(identifier="g0"))
    await night.book_update(identifier="of ana")
    with pytest.raises(UpdateError, match="booked by ana"):
        await night.trigger.hear("web-1", ScheduleDeleted(identifier="of ana"))
    with pytest.raises(UpdateError, match="booked by ana"):
        await night.trigger.hear("web-1", wish("of ana"))


async def test_tonight_tells_who_when_and_where(night: Night) -> None:
    """Each booking has a start, or the reason why not; what runs already is in it too."""
    await night.add(MachineState.RUNNING)
    await night.add(MachineState.TURNED_OFF, name="old-1")
    await night.book_update()
    await night.book_update("old-1")
    found = await night.trigger.tonight()
    starts = {entry.machine: entry.start for entry in found.entries}
    assert starts == dict.fromkeys(("web-1", "old-1"), dt.datetime(2026, 1, 10, 22, tzinfo=dt.UTC))
    assert found.fits
    async with night.triggered():
        await night.until(2.01)
        running = await night.trigger.tonight()
    assert all(entry.task_id is not None and entry.host == "fake" for entry in running.entries)


async def test_a_fleet_is_maintained_in_one_night(tmp_path: Path) -> None:
    """Forty machines of all kinds: every booking ends, every state is restored, no slot too many."""
    night = Night(tmp_path, Policy(slots=6, boots=2, poll_seconds=20.0, apply_seconds=1800.0))
    await night.open_night()
    await settle_fleet(night.host.simulation, 40)
    before = {machine.name: machine.state for machine in await night.machines.list()}
    for name in before:
        await night.book_update(name)
    live: list[int] = []
    async with night.triggered():
        for minutes in range(115, 300, 2):
            await night.until(minutes / 60)
            live.append(len(await night.tasks.list(TaskFilter(live=True))))
        await night.until(5.1)
        await settle()
    verdicts = [booking.verdict for booking in await night.bookings.list()]
    assert None not in verdicts
    assert Verdict.NEEDS_HELP not in verdicts
    assert verdicts.count(Verdict.KEPT) > 25
    assert max(live) <= 6
    assert {m.name: m.state for m in await night.machines.list()} == before
    assert night.leftovers() == []


class CountingStore(MemoryBookingStore):
    """Counts what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0

    async def put(self, booking: Booking) -> None:
        """Count it, and keep it."""
        self.writes += 1
        await super().put(booking)


async def test_looks_write_nothing_that_has_not_changed(tmp_path: Path) -> None:
    """Two hours of waiting, with other bookings coming and going: no row of those that wait is written."""
    night = Night(tmp_path)
    night.booking_store = store = CountingStore()
    await night.open_night()
    for number in range(5):
        await night.add(MachineState.RUNNING, name=f"m{number}")
        await night.book_update(f"m{number}")
    async with night.triggered():
        await night.until(0.5)
        await night.book_update("m0", "other")
        await night.until(1)
        await night.bookings.delete("m0", "other")
        await night.until(1.9)
        assert store.writes == 6
        assert [b.reason for b in await night.bookings.list()] == [""] * 5
        assert {(await night.booking_of(f"m{n}")).reason for n in range(5)} == {Why.CLOSED.value}


async def test_bookings_deleted_all_the_time_end_no_look(tmp_path: Path) -> None:
    """Two a second go while the window is open: all the others are maintained."""
    night = Night(tmp_path, Policy(slots=8, poll_seconds=20.0))
    await night.open_night()
    for number in range(8):
        await night.add(MachineState.RUNNING, name=f"m{number}")
    for number in range(60):
        await night.book_update("m0", f"gone-{number}")
    async with night.triggered():
        await night.until(1.999)
        for number in range(1, 8):
            await night.book_update(f"m{number}")
        for number in range(60):
            with contextlib.suppress(UpdateError):  # one of them has started
                await night.bookings.delete("m0", f"gone-{number}")
            await night.clock.advance(0.5)
        await night.until(3)
    verdicts = [b.verdict for b in await night.bookings.list() if b.machine != "m0"]
    assert verdicts == [Verdict.KEPT] * 7


async def test_a_start_is_checked_again_just_before_it_is_made(tmp_path: Path) -> None:
    """Starts take time: what was taken back, put off or shut out meanwhile is not started."""
    night = Night(tmp_path, Policy(slots=4, default_run_seconds=60.0))
    await night.open_night()
    names = ("a-first", "b-deleted", "c-later", "d-shut-out")
    for name in names:
        await night.add(MachineState.RUNNING, name=name)
        await night.book_update(name)
    starts: list[str] = []

    async def slow_start(
        kind: str, description: str, argument: Mapping[str, Json], *, about: str, **more: Any
    ) -> Task:
        starts.append(about)
        await night.bookings.delete("b-deleted", "u")
        late = night.clock.now() + dt.timedelta(hours=2)
        await night.bookings.book("c-later", label="l", identifier="u", start=late, booked_by="ana")
        await night.windows.add(dataclasses.replace(NIGHT, machines=("a-*", "b-*", "c-*")))
        night.tasks.start = start  # type: ignore[method-assign]  # the next one starts as ever
        return await start(kind, description, argument, about=about, **more)

    start = night.tasks.start
    night.tasks.start = slow_start  # type: ignore[assignment,method-assign]  # as slow as a busy database
    async with night.triggered():
        await night.until(2.5)
        started = {b.machine for b in await night.bookings.list() if b.has_started}
        assert (started, starts) == ({"a-first"}, ["a-first"])
        assert (await night.booking_of("d-shut-out")).reason == Why.NO_WINDOW.value
        await night.until(4.1)
    assert (await night.bookings.get("c-later", "u")).has_started


async def test_what_no_event_tells_of_is_found(night: Night) -> None:
    """Another server's door has booked it, in the same tables: it starts within a minute, once."""
    await night.add(MachineState.RUNNING)
    await night.book_update(identifier="pattern")
    pattern = await night.bookings.get("web-1", "pattern")
    await night.bookings.delete("web-1", "pattern")
    async with night.triggered():
        await night.until(2.5)
        await night.booking_store.put(dataclasses.replace(pattern, identifier="from elsewhere"))
        await night.until(2.6)
        assert (await night.bookings.get("web-1", "from elsewhere")).has_started
        await night.until(4)
    started = [event for event in night.events if event.kind == EventKind.UPDATE_STARTED]
    assert len(started) == 1


async def test_bookings_of_other_servers_machines_cost_no_look_at_the_hosts_here(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them was looked for on every host here: a look cost by the machines of the whole inn."""
    await night.add(MachineState.RUNNING)
    await night.book_update()
    pattern = await night.bookings.get("web-1", "u")
    lists = 0
    (here,) = night.machines.hosts.values()
    ask = here.inventory.list

    async def counted() -> Sequence[Machine]:
        nonlocal lists
        lists += 1
        return await ask()

    monkeypatch.setattr(here.inventory, "list", counted)
    async with night.triggered():
        await night.until(0.1)
        before = lists
        for number in range(50):
            theirs = dataclasses.replace(pattern, machine=f"db-{number}", key=f"there/{uuid.uuid4()}")
            await night.booking_store.put(theirs)
            data = {"key": theirs.of, "machine": theirs.machine, "identifier": theirs.identifier}
            night.publish(
                Event(kind=EventKind.UPDATE_BOOKED, subject=theirs.machine, at=night.clock.now(), data=data)
            )
            await night.clock.advance(1)
        assert lists - before < 10


@pytest.mark.parametrize(
    "error", [MachineError("It is defined twice.", machine="web-1"), RuntimeError("odd")]
)
async def test_a_start_that_fails_is_tried_again_after_a_while(
    night: Night, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Whatever else happens on its host; the booking says why, until it starts."""
    await night.add(MachineState.RUNNING)
    await night.book_update()
    tries = 0
    get = night.machines.get

    async def fail(reference: str) -> Machine:
        nonlocal tries
        if reference != night.key():
            return await get(reference)
        tries += 1
        raise error

    async with night.triggered():
        await night.until(1.9)
        monkeypatch.setattr(night.machines, "get", fail)
        await night.until(2.01)
        before = tries
        for _ in range(20):
            night.publish(
                Event(kind=EventKind.MACHINE_PAUSED, subject="x", at=night.clock.now(), data={"host": "fake"})
            )
            await night.clock.advance(0.2)
        assert before <= tries <= before + 1
        assert "It" in (await night.booking_of("web-1")).reason
        (entry,) = (await night.trigger.tonight()).entries
        assert (entry.fits, bool(entry.reason)) == (False, True)
        monkeypatch.undo()
        await night.until(3)
    assert (await night.bookings.get("web-1", "u")).verdict is Verdict.KEPT


async def test_a_host_that_falls_silent_while_it_is_asked_is_why_a_booking_waits(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By then its machine is on no host that answers."""
    await night.add(MachineState.RUNNING)
    await night.book_update()
    assert (await night.booking_of("web-1")).reason
    _fall_silent_when_asked(night, monkeypatch)
    await night.clock.advance(10)
    assert (await night.booking_of("web-1")).reason == Why.NO_HOST


async def test_a_booking_whose_host_falls_silent_while_it_is_asked_is_in_the_plan(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As is each whose machine goes to another host meanwhile."""
    await night.add(MachineState.RUNNING)
    await night.book_update()
    _fall_silent_when_asked(night, monkeypatch)
    (entry,) = (await night.trigger.tonight()).entries
    assert (entry.machine, entry.reason) == ("web-1", Why.NO_HOST)


def _fall_silent_when_asked(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the host silent from the next question about its memory on."""

    async def silent() -> Sequence[Machine]:
        raise HypervisorError("It does not answer.", code=ErrorCode.ERROR_ONLY_IF_CONNECTED)

    async def asked() -> int:
        monkeypatch.setattr(night.host.inventory, "list", silent)
        await night.trigger._roster.read_all()
        return 0

    monkeypatch.setattr(night.host.information, "memory_free_mib", asked)


async def test_a_host_that_hangs_holds_up_no_plan(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its machines are as they were seen last, and there in the time that other servers have for it."""
    await night.add(MachineState.RUNNING)
    await night.book_update()
    await night.trigger.tonight()
    answers = asyncio.Event()
    listed = night.host.inventory.list

    async def hang() -> Any:
        await answers.wait()
        return await listed()

    monkeypatch.setattr(night.host.inventory, "list", hang)
    monkeypatch.setattr(night.host.information, "memory_free_mib", hang)
    async with asyncio.timeout(4.5):
        (entry,) = (await night.trigger.tonight()).entries
    assert (entry.machine, entry.host, entry.reason) == ("web-1", "fake", Why.NO_HOST)
    monkeypatch.undo()
    answers.set()
    assert (await night.trigger.tonight()).entries[0].fits
