"""The alarm says why it cannot wake the computer, and is set where it can."""

import datetime as dt
from pathlib import Path

import pytest

from innkeeper.schedule.linux.wake import WakeAlarm

NOW = dt.datetime.now(dt.UTC)


def test_a_computer_without_such_a_clock_says_so(tmp_path: Path) -> None:
    """And setting the alarm does no harm."""
    assert WakeAlarm(tmp_path / "none").missing() == "the computer has no clock that can wake it"
    (tmp_path / "rtc0").mkdir()
    assert WakeAlarm(tmp_path).missing() == "the computer has no clock that can wake it"


def test_an_alarm_is_set_and_taken_back(tmp_path: Path) -> None:
    """The kernel keeps it for as long as its file is open; who may not is told what it takes."""
    (tmp_path / "rtc0").mkdir()
    (tmp_path / "rtc0" / "wakealarm").write_text("")
    alarm = WakeAlarm(tmp_path)
    if missing := alarm.missing():
        assert "CAP_WAKE_ALARM" in missing
        alarm.set(NOW + dt.timedelta(hours=1))
        pytest.skip(missing)
    alarm.set(NOW + dt.timedelta(hours=1))
    assert "clockid: 8" in Path(f"/proc/self/fdinfo/{alarm._file}").read_text()
    alarm.set(None)
    alarm.close()
    alarm.close()
