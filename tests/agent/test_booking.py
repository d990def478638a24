"""A guest books its own updates."""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest

from innkeeper.agent.booking import booking, parse_time
from innkeeper.agent.plugin import PluginError
from innkeeper.channels.ports import ScheduleDeleted, ScheduleRequested
from tests.agent.rig import Guest, Host, host_of

NOW = dt.datetime(2026, 11, 20, 12, 0, tzinfo=dt.UTC)
BOOK = ("book", "--identifier", "u1", "--label", "Kernel", "--start", "2026-11-21T02:00:00+01:00")


async def test_booking_reaches_the_host_and_its_answer_comes_back(guest: Guest, host: Host) -> None:
    """What is booked in the guest arrives as it was said, and the guest learns that it was accepted."""
    guest.start()
    await host.session()
    words = ("--end", "2026-11-21T05:00Z", "--deadline", "2026-11-22T00:00Z", "--context", '{"packages": []}')
    assert await guest.run(*BOOK, *words) == (0, "The host has accepted it.\n")
    assert host.bookings == [
        ScheduleRequested(
            label="Kernel",
            identifier="u1",
            context=b'{"packages": []}',
            start=dt.datetime(2026, 11, 21, 1, 0, tzinfo=dt.UTC),
            end=dt.datetime(2026, 11, 21, 5, 0, tzinfo=dt.UTC),
            deadline=dt.datetime(2026, 11, 22, 0, 0, tzinfo=dt.UTC),
        )
    ]


async def test_refused_booking_says_why(guest: Guest, host: Host) -> None:
    """The host's reason is what the guest's program prints, with exit code 1."""
    host.refusal = "There is no window for this machine."
    guest.start()
    await host.session()
    assert await guest.run(*BOOK) == (1, "There is no window for this machine.\n")


async def test_booking_can_be_taken_back(guest: Guest, host: Host) -> None:
    """``unbook`` is ``DeleteSchedule``."""
    guest.start()
    await host.session()
    assert await guest.run("unbook", "--identifier", "u1") == (0, "The host has accepted it.\n")
    assert host.bookings == [ScheduleDeleted(identifier="u1")]


async def test_booking_made_without_a_host_is_kept(guest: Guest) -> None:
    """A booking waits in the journal, over a kill of the agent, until a host takes it: once."""
    guest.start()
    async with asyncio.timeout(10):
        while (await guest.run("status"))[0] == 3:
            await asyncio.sleep(0.05)
    code, message = await guest.run(*BOOK, "--wait-seconds", "0.1")
    assert (code, "keeps the request" in message) == (4, True)
    guest.kill()
    guest.start()
    async with host_of(guest) as host:
        await host.session()
        async with asyncio.timeout(10):
            while guest.journal["notices"]:
                await asyncio.sleep(0.05)
        assert [booking.identifier for booking in host.bookings] == ["u1"]


async def test_without_an_agent_nothing_can_be_booked(guest: Guest) -> None:
    """Exit code 3 says that no agent runs."""
    code, message = await guest.run(*BOOK)
    assert code == 3
    assert "Is it running?" in message


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"identifier": ""}, "identifier is not"),
        ({"identifier": "a\nb"}, "identifier is not"),
        ({"label": "x" * 256}, "label is not"),
        ({"context": bytes(65537)}, "65537 bytes"),
        ({"end_time": 5}, "end is not after"),
        ({"deadline": 5}, "deadline is not after"),
    ],
)
def test_booking_no_host_would_take_is_refused_in_the_guest(values: dict[str, object], sentence: str) -> None:
    """What is wrong with a booking is said before it leaves the guest."""
    good: dict[str, object] = {
        "start_time": 10,
        "end_time": 0,
        "deadline": 0,
        "label": "",
        "identifier": "u",
        "context": b"",
    }
    with pytest.raises(PluginError, match=sentence):
        booking(**(good | values))  # type: ignore[arg-type]  # the cases are of every type


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("now", NOW),
        ("+90m", NOW + dt.timedelta(minutes=90)),
        ("+3d", NOW + dt.timedelta(days=3)),
        ("2026-11-21T02:00Z", dt.datetime(2026, 11, 21, 2, 0, tzinfo=dt.UTC)),
        ("2026-11-21 02:00:30-0530", dt.datetime(2026, 11, 21, 7, 30, 30, tzinfo=dt.UTC)),
    ],
)
def test_time_is_read(text: str, moment: dt.datetime) -> None:
    """A time is now, from now, or of the calendar with its zone."""
    assert parse_time(text, NOW) == moment.timestamp()


@pytest.mark.parametrize("text", ["2026-11-21T02:00", "tomorrow", "2026-13-01T00:00Z", "+2", ""])
def test_time_without_a_zone_is_refused(text: str) -> None:
    """A time that could mean two things means none."""
    with pytest.raises(PluginError):
        parse_time(text, NOW)
