"""Two servers on one database: of those who change the same thing at once, one succeeds."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

import pytest
import sqlalchemy as sa

from innkeeper.channels.ports import UpdateStatus
from innkeeper.identity.account import Account
from innkeeper.identity.accounts import Accounts
from innkeeper.machines.guest.parameters import KeptParameter
from innkeeper.schedule.path import SchedulePath
from innkeeper.schedule.ports import Claim
from innkeeper.schedule.registered import Registered, Run, RunState
from innkeeper.store.answer_store import SqlAnswerStore
from innkeeper.store.booking_store import SqlBookingStore
from innkeeper.store.database import Database
from innkeeper.store.identity_store import SqlAccountStore
from innkeeper.store.parameter_store import SqlParameterStore
from innkeeper.store.schedule_store import SqlScheduleStore
from innkeeper.store.window_store import SqlWindowStore
from innkeeper.tasks.clock import FakeClock
from innkeeper.updates.booking import (
    BOOKING_LIFE,
    Booking,
    BookingCommand,
    BookingState,
    Verdict,
    states_before,
)
from innkeeper.updates.memory import MemoryBookingStore
from innkeeper.updates.ports import BookingChange, BookingStore
from innkeeper.updates.window import Window
from innkeeper.wire.states import Weekday
from tests.identity.people import quick_passwords

#: Who races, half of them on each server.
RACERS = 8
NIGHT = dt.datetime(2026, 1, 10, 22, tzinfo=dt.UTC)

BOOKING = Booking(
    machine="web-1",
    identifier="2026-01",
    label="Security",
    context=b"",
    start=NIGHT,
    end=None,
    deadline=None,
    booked_by="ana",
    booked_at=NIGHT,
    status=UpdateStatus.UNKNOWN,
    task_id=None,
    verdict=None,
    reason="",
    next_chance=None,
)
WINDOW = Window(
    name="nights",
    zone="UTC",
    start=dt.time(22),
    duration=dt.timedelta(hours=6),
    weekdays=frozenset(Weekday),
)
#: A booking in each state.
STATES = {
    BookingState.WAITS: BOOKING,
    BookingState.RUNS: dataclasses.replace(BOOKING, task_id=1),
    BookingState.NOT_STARTED: dataclasses.replace(BOOKING, verdict=Verdict.NOT_STARTED),
    BookingState.ENDED: dataclasses.replace(BOOKING, task_id=1, verdict=Verdict.KEPT),
}

S = TypeVar("S")
T = TypeVar("T")


@pytest.fixture
async def servers(database_url: sa.URL) -> AsyncIterator[Sequence[Database]]:
    """Two servers on one database."""
    both = [await Database.connect(database_url) for _ in range(2)]
    await both[0].migrate()
    yield both
    for database in both:
        await database.close()


async def race(stores: Sequence[S], act: Callable[[S, int], Awaitable[T]]) -> list[T]:
    """Let all do it at once, each with its number."""
    return await asyncio.gather(*(act(stores[n % len(stores)], n) for n in range(RACERS)))


def change(**values: object) -> BookingChange:
    """A change of the booking."""
    given = {"machine": "web-1", "identifier": "2026-01"} | values
    return BookingChange(**given)  # type: ignore[arg-type]  # each test names its own fields


async def test_a_booking_is_started_once(servers: Sequence[Database]) -> None:
    """Eight runs want it; one has it, and is told so again."""
    stores = [SqlBookingStore(database) for database in servers]
    await stores[0].put(BOOKING)

    async def start(store: SqlBookingStore, number: int) -> Booking | None:
        return await store.apply(BookingCommand.START, change(task_id=number + 1, reason=""))

    started = [booking for booking in await race(stores, start) if booking is not None]
    assert len(started) == 1
    assert await stores[1].get("web-1", "2026-01") == started[0]
    assert await stores[1].apply(BookingCommand.START, change(task_id=started[0].task_id)) == started[0]


async def test_a_booking_is_deleted_or_started_and_never_both(servers: Sequence[Database]) -> None:
    """Whoever comes second finds what the first has done."""
    stores = [SqlBookingStore(database) for database in servers]
    for _ in range(5):
        await stores[0].put(BOOKING)

        async def act(store: SqlBookingStore, number: int) -> Booking | None:
            if number % 2:
                return await store.delete("web-1", "2026-01")
            return await store.apply(BookingCommand.START, change(task_id=number + 1))

        done = [booking for booking in await race(stores, act) if booking is not None]
        assert len(done) == 1
        left = await stores[0].list()
        assert left == [] if done[0].task_id is None else left == done


async def test_a_booking_is_replaced_or_started_and_never_both(servers: Sequence[Database]) -> None:
    """A run that has it keeps what it was booked with."""
    stores = [SqlBookingStore(database) for database in servers]
    await stores[0].put(BOOKING)

    async def act(store: SqlBookingStore, number: int) -> bool:
        if number % 2:
            return await store.book(dataclasses.replace(BOOKING, label=f"{number}"))
        return await store.apply(BookingCommand.START, change(task_id=number + 1)) is not None

    done = await race(stores, act)
    assert sum(done[::2]) == 1
    assert (await stores[0].get("web-1", "2026-01")).has_started


async def test_many_bookings_of_machines_with_one_name_leave_each_other_alone(
    servers: Sequence[Database],
) -> None:
    """Two servers book for theirs at once, under one identifier: each machine has its own booking."""
    stores = [SqlBookingStore(database) for database in servers]
    for round_number in range(5):
        booked = [
            [
                dataclasses.replace(
                    BOOKING, machine=f"m-{n}", key=f"{host}/{n}", identifier=f"{round_number}", label=host
                )
                for n in range(20)
            ]
            for host in ("attic", "cellar")
        ]
        refused = await asyncio.gather(
            *(store.put_many(many) for store, many in zip(stores, booked, strict=True))
        )
        assert refused == [frozenset(), frozenset()]
        for each in (each for many in booked for each in many):
            assert (await stores[0].get(each.key, each.identifier)).label == each.label


async def test_one_of_many_has_seen_the_window_that_it_replaces(servers: Sequence[Database]) -> None:
    """Eight with one ETag: one succeeds, at each of five turns."""
    stores = [SqlWindowStore(database) for database in servers]
    seen = WINDOW
    await stores[0].put(seen)
    for turn in range(1, 6):

        async def put(store: SqlWindowStore, number: int, seen: Window = seen, turn: int = turn) -> bool:
            duration = dt.timedelta(minutes=100 * turn + number)
            return await store.replace(seen, dataclasses.replace(seen, duration=duration))

        assert sum(await race(stores, put)) == 1
        (seen,) = await stores[1].list()
    assert await stores[0].replace(seen, None)
    assert await stores[1].list() == []


@pytest.fixture
def bookings(place: Database | None) -> BookingStore:
    """Each store of bookings in turn."""
    return MemoryBookingStore() if place is None else SqlBookingStore(place)


async def test_each_store_keeps_the_life_of_bookings(bookings: BookingStore) -> None:
    """A command is taken in the states of the table, leads where the table says, and is refused elsewhere."""
    for state, booking in STATES.items():
        for command in BookingCommand:
            await bookings.put(booking)
            taken, left = await _do(bookings, command)
            assert taken is ((state, command) in BOOKING_LIFE), (state, command)
            if taken:
                assert (left.state if left else None) in BOOKING_LIFE[state, command], (state, command)
            else:
                assert left == booking, (state, command)


async def _do(store: BookingStore, command: BookingCommand) -> tuple[bool, Booking | None]:
    """Do it; whether it was taken, and what is there then."""
    values: dict[BookingCommand, dict[str, object]] = {
        BookingCommand.START: {"task_id": 1},
        BookingCommand.REPORT: {"task_id": 1, "status": UpdateStatus.FAILED},
        BookingCommand.PUT_OFF: {"task_id": 1, "reason": "no mirror", "puts_off": True},
        BookingCommand.EXPIRE: {"verdict": Verdict.NOT_STARTED},
    }
    if command is BookingCommand.BOOK:
        taken = await store.book(dataclasses.replace(BOOKING, label="anew"))
    elif command is BookingCommand.DELETE:
        taken = await store.delete("web-1", "2026-01") is not None
    elif command is BookingCommand.END:
        was = (await store.list())[0].verdict or Verdict.ROLLED_BACK
        taken = await store.apply(command, change(task_id=1, verdict=was)) is not None
    else:
        taken = await store.apply(command, change(**values[command])) is not None
    found = await store.list()
    return taken, found[0] if found else None


async def test_a_run_reports_why_it_waits_without_another_state(bookings: BookingStore) -> None:
    """As an update on probation does."""
    await bookings.put(BOOKING)
    assert await bookings.apply(BookingCommand.START, change(task_id=1)) is not None
    told = await bookings.apply(BookingCommand.REPORT, change(task_id=1, reason="A backup holds the disks."))
    assert told is not None
    assert (told.reason, told.task_id) == ("A backup holds the disks.", 1)


async def test_what_was_meant_for_another_run_or_booking_changes_nothing(bookings: BookingStore) -> None:
    """The task and the time of booking must be those that were seen."""
    await bookings.put(STATES[BookingState.RUNS])
    assert await bookings.apply(BookingCommand.END, change(task_id=2, verdict=Verdict.KEPT)) is None
    await bookings.put(dataclasses.replace(BOOKING, booked_at=NIGHT + dt.timedelta(seconds=1)))
    expiry = change(booked_at=NIGHT, verdict=Verdict.NOT_STARTED)
    assert await bookings.apply(BookingCommand.EXPIRE, expiry) is None
    assert await bookings.delete("web-1", "2026-01", only_of="guest") is None
    assert not await bookings.book(BOOKING, only_of="guest")
    assert (await bookings.list())[0].state is BookingState.WAITS


def test_every_command_of_bookings_is_taken_somewhere() -> None:
    """None is dead."""
    assert all(states_before(command) for command in BookingCommand)


ACCOUNT = Account(name="ana", password_hash="$argon2id$1", created_at=NIGHT, changed_at=NIGHT)


async def test_an_account_is_added_once(servers: Sequence[Database]) -> None:
    """Eight add it, each with a password of their own; one has."""
    stores = [SqlAccountStore(database) for database in servers]

    async def add(store: SqlAccountStore, number: int) -> bool:
        return await store.add(dataclasses.replace(ACCOUNT, password_hash=f"{number}"))

    assert sum(await race(stores, add)) == 1


async def test_a_new_password_opens_no_closed_account(servers: Sequence[Database]) -> None:
    """Half set a password, half close it: both stand in the end."""
    stores = [Accounts(SqlAccountStore(database), quick_passwords(), FakeClock()) for database in servers]
    await SqlAccountStore(servers[0]).add(ACCOUNT)

    async def act(accounts: Accounts, number: int) -> None:
        if number % 4 < 2:
            await accounts.set_disabled("ana", True)
        else:
            await accounts.set_password("ana", f"a password of some length {number}")

    await race(stores, act)
    account = await stores[1].get("ana")
    assert account.disabled
    assert account.password_hash != ACCOUNT.password_hash


async def test_an_idempotency_key_is_claimed_once(servers: Sequence[Database]) -> None:
    """And its first answer stays."""
    stores = [SqlAnswerStore(database) for database in servers]

    async def claim(store: SqlAnswerStore, number: int) -> bool:
        first = await store.claim("key", fingerprint=f"{number}", now=NIGHT, forget_before=NIGHT)
        return first is None

    assert sum(await race(stores, claim)) == 1
    await stores[0].keep("key", status=201, media_type="", body=b"first")
    await stores[1].keep("key", status=409, media_type="", body=b"second")
    await stores[1].release("key")
    kept = await stores[0].claim("key", fingerprint="", now=NIGHT, forget_before=NIGHT)
    assert kept is not None
    assert (kept.status, kept.body) == (201, b"first")


async def test_each_revision_of_a_parameter_is_one_value(servers: Sequence[Database]) -> None:
    """Eight write the next revision; one has, and an older one changes nothing."""
    stores = [SqlParameterStore(database) for database in servers]
    first = KeptParameter(name="Greeting", value="hello", revision=1, by_guest=False, at=NIGHT)
    await stores[0].put("uuid", first)

    async def put(store: SqlParameterStore, number: int) -> bool:
        return await store.put("uuid", dataclasses.replace(first, value=f"{number}", revision=2))

    assert sum(await race(stores, put)) == 1
    assert not await stores[0].put("uuid", first)
    (kept,) = await stores[1].list("uuid")
    assert kept.revision == 2


SCHEDULED = Registered(
    path=SchedulePath.parse("\\nightly"),
    xml="<Task/>",
    enabled=True,
    hidden=False,
    sddl="",
    owner="ana",
    registered_at=NIGHT,
    seed=1,
    handled_until=NIGHT,
    next_due=NIGHT,
)
INSTANCE = Run(
    id="{A}", task_id=1, occurrence="1@2026", trigger=1, due=NIGHT, state=RunState.QUEUED, operation=7
)


async def test_a_scheduled_task_is_changed_by_one_who_has_seen_it(servers: Sequence[Database]) -> None:
    """Eight change it; one has. What the scheduler writes of it meanwhile stays."""
    stores = [SqlScheduleStore(database) for database in servers]
    (seen,) = await stores[0].put([SCHEDULED])
    missed = Claim(seen=seen, handled_until=NIGHT, next_due=NIGHT, missed_runs=3, runs=())
    await stores[1].claim([missed])

    async def change_it(store: SqlScheduleStore, number: int) -> bool:
        return await store.change(seen, dataclasses.replace(seen, enabled=False, xml=f"<Task n='{number}'/>"))

    assert sum(await race(stores, change_it)) == 1
    kept = await stores[0].get(seen.id)
    assert kept is not None
    assert (kept.enabled, kept.missed_runs) == (False, 3)


async def test_the_end_of_an_instance_stands(servers: Sequence[Database]) -> None:
    """Whoever writes later that it runs, or that it came out otherwise, changes nothing."""
    stores = [SqlScheduleStore(database) for database in servers]
    (task,) = await stores[0].put([SCHEDULED])
    run = dataclasses.replace(INSTANCE, task_id=task.id)
    await stores[0].put_run(run)
    ended = dataclasses.replace(run, state=RunState.FINISHED, ended_at=NIGHT)
    await stores[0].end_run(ended, None)
    await stores[1].begin_run(dataclasses.replace(run, state=RunState.RUNNING))
    await stores[1].end_run(dataclasses.replace(ended, state=RunState.FINISHED, result=5), None)
    assert await stores[1].run("{A}") == ended


async def test_a_success_makes_up_for_what_was_missed_until_then(servers: Sequence[Database]) -> None:
    """A failure does not, also where its end was written from an older look at the task."""
    stores = [SqlScheduleStore(database) for database in servers]
    (task,) = await stores[0].put([SCHEDULED])
    await stores[1].claim([Claim(seen=task, handled_until=NIGHT, next_due=NIGHT, missed_runs=3, runs=())])
    failed = dataclasses.replace(INSTANCE, task_id=task.id, state=RunState.FINISHED, result=1, ended_at=NIGHT)
    await stores[0].end_run(failed, task)
    assert (await _missed(stores[1], task.id)) == 3
    done = dataclasses.replace(failed, id="{B}", occurrence="2", result=0)
    await stores[0].end_run(done, task)
    assert (await _missed(stores[1], task.id)) == 0


async def _missed(store: SqlScheduleStore, task_id: int) -> int:
    task = await store.get(task_id)
    assert task is not None
    return task.missed_runs
