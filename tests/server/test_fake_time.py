"""Simulated time goes on across restarts, and is one for all servers that use its file."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from innkeeper.server.fake_time import simulated_clock

_NOW = dt.datetime(2026, 1, 10, 20, tzinfo=dt.UTC)
_MINUTE = dt.timedelta(minutes=1)
#: What may pass between two looks at a clock.
_SOON = dt.timedelta(minutes=30)


def test_servers_that_share_a_file_have_one_time(tmp_path: Path) -> None:
    """Whoever comes later finds the time that the first one has come to, and so does everybody after."""
    file = tmp_path / "clock.json"
    simulated_clock(file, 60, _NOW)
    told = file.read_bytes()
    later = simulated_clock(file, 60, _NOW + _MINUTE).now()
    assert dt.timedelta() <= later - (_NOW + 60 * _MINUTE) < _SOON
    assert file.read_bytes() == told


def test_another_speed_takes_over_from_where_the_former_has_come_to(tmp_path: Path) -> None:
    """Time goes on, faster or slower from now on."""
    file = tmp_path / "clock.json"
    simulated_clock(file, 60, _NOW)
    simulated_clock(file, 10, _NOW + _MINUTE)
    later = simulated_clock(file, 10, _NOW + 2 * _MINUTE).now()
    assert dt.timedelta() <= later - (_NOW + 70 * _MINUTE) < _SOON
