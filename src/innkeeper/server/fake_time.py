"""Accelerated time for simulated machines, which goes on across restarts."""

from __future__ import annotations

import datetime as dt
import fcntl
import json
from pathlib import Path

from innkeeper.tasks.clock import FakeClock


def simulated_clock(file: Path, speed: float, now: dt.datetime) -> FakeClock:
    """Return a clock that runs ``speed`` times as fast as the real one since its file was made.

    The simulated time goes on while the service is dead, as real time would; another speed takes over
    from where the former has come to. Services that use one file have one time, at one speed.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.with_suffix(".lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        anchor = _anchor(file)
        start = _simulated_now(anchor, now)
        if anchor is None or anchor["speed"] != speed:
            fresh = file.with_suffix(".new")
            fresh.write_text(
                json.dumps({"real": now.timestamp(), "simulated": start.timestamp(), "speed": speed})
            )
            fresh.replace(file)
    return FakeClock(start, speed=speed)


def _anchor(file: Path) -> dict[str, float] | None:
    return json.loads(file.read_text()) if file.exists() else None


def _simulated_now(anchor: dict[str, float] | None, now: dt.datetime) -> dt.datetime:
    if anchor is None:
        return now
    elapsed = max(0.0, now.timestamp() - anchor["real"]) * anchor["speed"]
    return dt.datetime.fromtimestamp(anchor["simulated"] + elapsed, dt.UTC)
