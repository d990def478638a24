"""Bookings are refused where no run could ever do them right, and replaced until they start."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from innkeeper.channels.ports import UpdateStatus
from innkeeper.errors import BookingNotFound, InvalidArgument, MachineNotFound, UpdateError
from innkeeper.machines.machine import MachineState
from innkeeper.updates.booking import MAX_CONTEXT_BYTES, Verdict
from tests.updates.inn import Inn

NOW = dt.datetime(2026, 1, 10, 20, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


@pytest.fixture
async def inn(tmp_path: Path) -> Inn:
    """An inn with one machine."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(MachineState.RUNNING)
    return inn


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"end": NOW - HOUR}, "The end .* is before the start"),
        ({"deadline": NOW - HOUR}, "The deadline .* is before the start"),
        ({"context": b"x" * (MAX_CONTEXT_BYTES + 1)}, "65537 bytes"),
        ({"identifier": ""}, "may not be empty"),
        ({"identifier": "x" * 256}, "256 characters"),
        ({"label": "a\nb"}, "cannot be printed"),
        ({"start": NOW.replace(tzinfo=None)}, "no time zone"),
    ],
)
async def test_what_could_never_be_done_is_refused(inn: Inn, values: dict[str, object], message: str) -> None:
    """With a sentence, and what to do instead."""
    booked: dict[str, object] = {"label": "l", "identifier": "u", "booked_by": "ana", **values}
    with pytest.raises(InvalidArgument, match=message) as caught:
        await inn.bookings.book("web-1", **booked)  # type: ignore[arg-type] # a test's shorthand
    assert caught.value.advice
    assert await inn.bookings.list() == []


async def test_an_unknown_machine_is_refused(inn: Inn) -> None:
    """Before anything is written."""
    with pytest.raises(MachineNotFound):
        await inn.bookings.book("nobody", label="", identifier="u", booked_by="ana")


async def test_a_booking_is_replaced_until_it_starts(inn: Inn) -> None:
    """The same machine and identifier, in whatever case the machine is written."""
    await inn.bookings.book("web-1", label="one", identifier="u", booked_by="ana")
    await inn.bookings.book("WEB-1", label="two", identifier="u", booked_by="ana")
    assert [booking.label for booking in await inn.bookings.list()] == ["two"]
    await inn.bookings.started("web-1", "u", 5)
    with pytest.raises(UpdateError, match="has started already"):
        await inn.bookings.book("web-1", label="three", identifier="u", booked_by="ana")
    with pytest.raises(UpdateError, match="running as task 5"):
        await inn.bookings.delete("web-1", "u")


async def test_what_was_not_started_may_be_booked_again(inn: Inn) -> None:
    """Its run was refused, as one of a machine that cannot be maintained: under its identifier anew."""
    await inn.bookings.book("web-1", label="one", identifier="u", booked_by="ana")
    await inn.bookings.started("web-1", "u", 5)
    await inn.bookings.ended("web-1", "u", 5, Verdict.NOT_STARTED, "All disks are left out.")
    again = await inn.bookings.book("web-1", label="two", identifier="u", booked_by="ana")
    assert (again.has_started, again.verdict) == (False, None)
    assert await inn.bookings.list() == [again]


async def test_a_deleted_booking_is_gone(inn: Inn) -> None:
    """And deleting it again says so."""
    await inn.bookings.book("web-1", label="", identifier="u", booked_by="ana")
    await inn.bookings.delete("web-1", "u")
    with pytest.raises(BookingNotFound):
        await inn.bookings.delete("web-1", "u")


async def test_a_booking_has_one_run(inn: Inn) -> None:
    """A second run is refused, and what it says or comes to changes nothing; the first may say so again."""
    await inn.bookings.book("web-1", label="one", identifier="u", booked_by="ana")
    await inn.bookings.started("web-1", "u", 5)
    await inn.bookings.started("web-1", "u", 5)
    with pytest.raises(UpdateError, match="has been started as task 5"):
        await inn.bookings.started("web-1", "u", 6)
    await inn.bookings.status_changed("web-1", "u", 6, UpdateStatus.FAILED)
    await inn.bookings.ended("web-1", "u", 5, Verdict.KEPT, "All is well.")
    await inn.bookings.ended("web-1", "u", 6, Verdict.ROLLED_BACK, "The second run says otherwise.")
    await inn.bookings.started("web-1", "u", 5)
    with pytest.raises(UpdateError, match="is not started again"):
        await inn.bookings.started("web-1", "u", 6)
    (booking,) = await inn.bookings.list()
    assert (booking.task_id, booking.verdict, booking.reason) == (5, Verdict.KEPT, "All is well.")
    assert booking.status is not UpdateStatus.FAILED


async def test_what_was_started_or_booked_again_does_not_expire(inn: Inn) -> None:
    """The trigger agent decided by an earlier look."""
    seen = await inn.bookings.book("web-1", label="one", identifier="u", booked_by="ana")
    await inn.clock.sleep(0)
    await inn.bookings.started("web-1", "u", 5)
    assert not await inn.bookings.expired(seen, "Its time is over.")
    assert (await inn.bookings.get("web-1", "u")).verdict is None
