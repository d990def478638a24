"""Calendar files become days and times; what is no calendar is refused."""

import datetime as dt

import pytest

from innkeeper.errors import NotSupported, ScheduleError
from innkeeper.schedule.calendar.files import read_calendar
from innkeeper.schedule.calendar.public_holidays import public_holidays

TODAY = dt.date(2026, 1, 1)


def calendar(*lines: str) -> bytes:
    event = ["BEGIN:VCALENDAR", "VERSION:2.0", "BEGIN:VEVENT", *lines, "END:VEVENT", "END:VCALENDAR", ""]
    return "\r\n".join(event).encode()


def test_whole_days_and_times_are_told_apart() -> None:
    """A date is a day on any wall; a time with a zone is a moment."""
    days = read_calendar(calendar("DTSTART;VALUE=DATE:20261224", "DTEND;VALUE=DATE:20270102"), today=TODAY)
    assert days.days == ((dt.date(2026, 12, 24), dt.date(2027, 1, 2)),)
    times = read_calendar(calendar("DTSTART;TZID=Europe/Paris:20260701T200000", "DURATION:PT4H"), today=TODAY)
    ((begin, end),) = times.times
    assert begin.isoformat() == "2026-07-01T20:00:00+02:00"
    assert end - begin == dt.timedelta(hours=4)


def test_a_repeating_event_is_written_out() -> None:
    """Every Friday until a day, without the exception."""
    lines = (
        "DTSTART;VALUE=DATE:20260102",
        "RRULE:FREQ=WEEKLY;BYDAY=FR;UNTIL=20260130",
        "EXDATE;VALUE=DATE:20260116",
    )
    found = read_calendar(calendar(*lines), today=TODAY)
    assert [begin.day for begin, _ in found.days] == [2, 9, 23, 30]


def test_a_rule_without_end_is_bounded() -> None:
    """Every second, for ever, is a file of a hundred bytes, and must not cost more than a moment."""
    found = read_calendar(calendar("DTSTART:20260102T000000Z", "RRULE:FREQ=SECONDLY"), today=TODAY)
    assert len(found.times) == 5_000


@pytest.mark.parametrize("data", [b"", b"nonsense", b"\xff\xfe\x00", calendar(), b"x" * (9 << 20)])
def test_what_is_no_calendar_is_refused(data: bytes) -> None:
    """A blackout that cannot be read must not mean that there is none."""
    with pytest.raises(ScheduleError):
        read_calendar(data, today=TODAY)


def test_public_holidays_are_known_by_region() -> None:
    """Bavaria keeps Epiphany, Berlin does not."""
    epiphany = (dt.date(2026, 1, 6), dt.date(2026, 1, 7))
    assert epiphany in public_holidays("DE-BY", range(2026, 2027)).days
    assert epiphany not in public_holidays("DE-BE", range(2026, 2027)).days
    with pytest.raises(ScheduleError):
        public_holidays("XX-YY", range(2026, 2027))


def test_without_the_extra_holidays_are_said_not_to_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not available here, with the way to get it."""
    monkeypatch.setitem(__import__("sys").modules, "holidays", None)
    with pytest.raises(NotSupported, match="not known here"):
        public_holidays("FR", range(2026, 2027))
