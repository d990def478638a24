"""What every booking store promises: the one in memory, on SQLite and on PostgreSQL."""

from __future__ import annotations

import dataclasses
import datetime as dt

import pytest

from innkeeper.channels.ports import UpdateStatus
from innkeeper.errors import BookingNotFound
from innkeeper.store.booking_store import SqlBookingStore
from innkeeper.store.database import Database
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
    await store.delete("web-1", "2026-01")
    with pytest.raises(BookingNotFound):
        await store.get("web-1", "2026-01")
    with pytest.raises(BookingNotFound):
        await store.delete("web-1", "2026-01")
