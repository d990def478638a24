"""Simulated time goes on across restarts, and is one for all servers that use its file."""

from __future__ import annotations

import datetime as dt
import time
from pathlib import Path

import pytest

from innkeeper.server.fake_time import simulated_time

_NOW = dt.datetime(2026, 1, 10, 20, tzinfo=dt.UTC)
_MINUTE = dt.timedelta(minutes=1)
#: What may pass between two looks at a clock.
_SOON = dt.timedelta(minutes=30)


def test_servers_that_share_a_file_have_one_time(tmp_path: Path) -> None:
    """Whoever comes later finds the time that the first one has come to, and so does everybody after."""
    file = tmp_path / "clock.json"
    first = simulated_time(file, 60, _NOW)
    told = file.read_bytes()
    second = simulated_time(file, 60, _NOW + _MINUTE)
    assert dt.timedelta() <= second.clock.now() - (_NOW + 60 * _MINUTE) < _SOON
    assert file.read_bytes() == told
    for each in (first, second):
        each.close()


def test_another_speed_takes_over_from_where_the_former_has_come_to(tmp_path: Path) -> None:
    """Time goes on, faster or slower from now on."""
    file = tmp_path / "clock.json"
    simulated_time(file, 60, _NOW).close()
    simulated_time(file, 10, _NOW + _MINUTE).close()
    last = simulated_time(file, 10, _NOW + 2 * _MINUTE)
    assert dt.timedelta() <= last.clock.now() - (_NOW + 70 * _MINUTE) < _SOON
    last.close()


def test_a_server_that_comes_with_another_speed_goes_by_the_time_of_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As long as one of them lives: theirs would go on at the former speed. It is logged."""
    file = tmp_path / "clock.json"
    first, second = simulated_time(file, 60, _NOW), simulated_time(file, 60, _NOW)
    told = file.read_bytes()
    first.close()
    third = simulated_time(file, 1, _NOW + _MINUTE)
    assert dt.timedelta() <= third.clock.now() - (_NOW + 60 * _MINUTE) < _SOON
    began, seen = time.monotonic(), third.clock.monotonic()
    while third.clock.monotonic() - seen < 1:
        assert time.monotonic() - began < 0.5, "it goes at its own speed"
    assert file.read_bytes() == told
    captured = capsys.readouterr()
    assert "simulated_time.speed_of_others" in captured.out + captured.err
    for each in (second, third):
        each.close()
    simulated_time(file, 1, _NOW + _MINUTE).close()
    assert file.read_bytes() != told
