"""What every booking store promises: the one in memory, on SQLite and on PostgreSQL."""

from __future__ import annotations

import dataclasses
import datetime as dt

import pytest

from innkeeper.channels.ports import UpdateStatus
from innkeeper.errors import BookingNotFound
from innkeeper.store.adoption import SqlAdoption
from innkeeper.store.booking_store import SqlBookingStore
from innkeeper.store.database import Database
from innkeeper.store.task_store import SqlTaskStore
from innkeeper.tasks.task import NewTask
from innkeeper.updates.booking import MAX_CONTEXT_BYTES, Booking, Verdict
from innkeeper.updates.memory import MemoryBookingStore
from innkeeper.updates.ports import BookingStore

NIGHT = dt.datetime(2026, 1, 10, 22, 0, 0, 250, tzinfo=dt.UTC)

BOOKING = Booking(
    machine="web-1",
    identifier="2026-01",
    label="Security",
    context=bytes(range(256)),
    start=NIGHT,
    end=None,
    deadline=NIGHT + dt.timedelta(days=3),
    booked_by="ana",
    booked_at=NIGHT - dt.timedelta(hours=1),
    status=UpdateStatus.UNKNOWN,
    task_id=None,
    verdict=None,
    reason="",
    next_chance=None,
)


@pytest.fixture
def store(place: Database | None) -> BookingStore:
    """Each store in turn."""
    return MemoryBookingStore() if place is None else SqlBookingStore(place)


async def test_a_booking_is_read_as_it_was_put(store: BookingStore) -> None:
    """Every field, with a context of any bytes up to its limit."""
    full = dataclasses.replace(
        BOOKING,
        context=b"\0\xff" * (MAX_CONTEXT_BYTES // 2),
        end=NIGHT,
        status=UpdateStatus.FAILED,
        task_id=2**40,
        verdict=Verdict.ROLLED_BACK,
        reason="A unit failed: „db“.",
        next_chance=NIGHT,
    )
    for booking in (BOOKING, full):
        await store.put(booking)
        assert await store.get("web-1", "2026-01") == booking


async def test_the_same_key_replaces(store: BookingStore) -> None:
    """Machine and identifier make one booking; either alone does not."""
    await store.put(BOOKING)
    await store.put(dataclasses.replace(BOOKING, label="Again"))
    await store.put(dataclasses.replace(BOOKING, identifier="2026-02"))
    await store.put(dataclasses.replace(BOOKING, machine="db-1"))
    assert [(b.machine, b.identifier, b.label) for b in await store.list()] == [
        ("db-1", "2026-01", "Security"),
        ("web-1", "2026-01", "Again"),
        ("web-1", "2026-02", "Security"),
    ]


async def test_the_list_is_in_order_and_filtered(store: BookingStore) -> None:
    """By machine, and by whether there is a verdict."""
    for identifier in ("b", "a", "B", "ä"):
        await store.put(dataclasses.replace(BOOKING, identifier=identifier))
    await store.put(dataclasses.replace(BOOKING, machine="db-1", verdict=Verdict.KEPT))
    assert [b.identifier for b in await store.list(machine="web-1")] == ["B", "a", "b", "ä"]
    assert [b.machine for b in await store.list(ended=True)] == ["db-1"]
    assert len(await store.list(ended=False)) == 4
    assert await store.list(machine="old-1") == []


async def test_versions_tell_what_was_booked_again_or_has_started(store: BookingStore) -> None:
    """Without reading any context; one with a verdict is none of them."""
    later = NIGHT + dt.timedelta(microseconds=1)
    await store.put(BOOKING)
    await store.put(dataclasses.replace(BOOKING, machine="db-1", booked_at=later, task_id=7))
    await store.put(dataclasses.replace(BOOKING, machine="old-1", verdict=Verdict.KEPT))
    assert await store.versions() == {
        ("web-1", "2026-01"): BOOKING.version,
        ("db-1", "2026-01"): (later, 7),
    }


async def test_a_deleted_booking_is_not_found(store: BookingStore) -> None:
    """Neither to read nor to delete again."""
    await store.put(BOOKING)
    assert await store.delete("web-1", "2026-01") == BOOKING
    with pytest.raises(BookingNotFound):
        await store.get("web-1", "2026-01")
    assert await store.delete("web-1", "2026-01") is None


async def test_pages_go_through_all_by_start(store: BookingStore) -> None:
    """Each behind the last place of the one before; capitals come first, in any database."""
    later = NIGHT + dt.timedelta(hours=1)
    keys = [(NIGHT, "B"), (NIGHT, "a"), (NIGHT, "b"), (NIGHT, "ä"), (later, "A"), (later, "a")]
    for start, machine in reversed(keys):
        await store.put(dataclasses.replace(BOOKING, machine=machine, start=start, identifier=f"{start}"))
    found: list[tuple[dt.datetime, str]] = []
    after = None
    while page := await store.page(after=after, limit=4):
        found += [(booking.start, booking.machine) for booking in page]
        after = page[-1].place
    assert found == keys
    assert await store.page(ended=True, limit=4) == []
    assert [b.start for b in await store.page(machine="a", limit=4)] == [NIGHT, later]


async def test_many_are_put_at_once_and_those_that_have_started_are_left(store: BookingStore) -> None:
    """What waits, or was not started, is replaced; what runs or has ended otherwise is told."""
    states = {
        "waits": BOOKING,
        "missed": dataclasses.replace(BOOKING, task_id=3, verdict=Verdict.NOT_STARTED),
        "runs": dataclasses.replace(BOOKING, task_id=4),
        "done": dataclasses.replace(BOOKING, task_id=5, verdict=Verdict.KEPT),
    }
    for name, booking in states.items():
        await store.put(dataclasses.replace(booking, machine=name))
    names = [*states, *(f"new-{number}" for number in range(1000))]
    wanted = [dataclasses.replace(BOOKING, machine=name, label="many") for name in names]
    refused = await store.put_many(wanted)
    assert refused == {("runs", BOOKING.identifier), ("done", BOOKING.identifier)}
    found = {booking.machine: booking for booking in await store.list()}
    assert found["waits"] == dataclasses.replace(BOOKING, machine="waits", label="many")
    assert found["missed"] == dataclasses.replace(BOOKING, machine="missed", label="many")
    assert (found["runs"].label, found["done"].label) == (BOOKING.label, BOOKING.label)
    assert len(found) == 1004
    assert await store.put_many([]) == set()


async def test_many_are_deleted_at_once_but_those_that_run(store: BookingStore) -> None:
    """The keys of those that went are told; what is not there is none of them."""
    names = [f"m-{number}" for number in range(900)]
    await store.put_many([dataclasses.replace(BOOKING, machine=name) for name in names])
    await store.put(dataclasses.replace(BOOKING, machine="runs", task_id=4))
    keys = [(name, BOOKING.identifier) for name in (*names, "runs", "nobody")]
    assert await store.delete_waiting(keys) == {(name, BOOKING.identifier) for name in names}
    assert [booking.machine for booking in await store.list()] == ["runs"]


async def test_machines_of_one_name_have_bookings_of_their_own(store: BookingStore) -> None:
    """With one identifier: they go by keys, whatever the machines are called."""
    attic, cellar = (
        dataclasses.replace(BOOKING, key=f"{host}/uuid", label=host) for host in ("attic", "cellar")
    )
    for booking in (attic, cellar, dataclasses.replace(cellar, label="again")):
        await store.put(booking)
    assert (await store.get("attic/uuid", "2026-01")).label == "attic"
    assert (await store.get("cellar/uuid", "2026-01")).label == "again"
    assert set(await store.versions()) == {("attic/uuid", "2026-01"), ("cellar/uuid", "2026-01")}
    await store.delete("attic/uuid", "2026-01")
    assert [b.key for b in await store.list()] == ["cellar/uuid"]


async def test_bookings_go_with_their_machine_to_another_host(store: BookingStore) -> None:
    """But those whose identifier it has there already."""
    here, there = (dataclasses.replace(BOOKING, key=f"{host}/uuid") for host in ("attic", "cellar"))
    for booking in (here, dataclasses.replace(here, identifier="2026-02"), there):
        await store.put(booking)
    await store.move("attic/uuid", "cellar/uuid")
    assert {(b.key, b.identifier) for b in await store.list()} == {
        ("attic/uuid", "2026-01"),
        ("cellar/uuid", "2026-01"),
        ("cellar/uuid", "2026-02"),
    }


async def test_rows_from_before_keys_get_that_of_their_machine(database: Database) -> None:
    """Bookings, reports and what tasks hold; only those of that name."""
    store, tasks, adoption = SqlBookingStore(database), SqlTaskStore(database), SqlAdoption(database)
    await store.put(BOOKING)
    await store.put(dataclasses.replace(BOOKING, machine="db-1"))
    new = NewTask(kind="run", description="Update web-1", argument={}, lock="machine:web-1")
    task = await tasks.create(new, NIGHT)
    assert set(await adoption.names()) == {"web-1", "db-1"}
    await adoption.adopt("web-1", "host/uuid")
    assert set(await adoption.names()) == {"db-1"}
    assert (await store.get("host/uuid", "2026-01")).machine == "web-1"
    adopted = await tasks.get(task.id)
    assert (adopted.lock, adopted.about) == ("machine:host/uuid", "web-1")
