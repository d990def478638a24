"""Accelerated time for simulated machines, which goes on across restarts."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

from innkeeper.tasks.clock import FakeClock


def simulated_clock(file: Path, speed: float, now: dt.datetime) -> FakeClock:
    """Return a clock that runs ``speed`` times as fast as the real one since its file was made.

    The simulated time goes on while the service is dead, as real time would; another speed takes over
    from where the former has come to.
    """
    start = _simulated_now(file, now)
    anchor = {"real": now.timestamp(), "simulated": start.timestamp(), "speed": speed}
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps(anchor))
    fresh.replace(file)
    return FakeClock(start, speed=speed)


def _simulated_now(file: Path, now: dt.datetime) -> dt.datetime:
    if not file.exists():
        return now
    anchor = json.loads(file.read_text())
    elapsed = max(0.0, now.timestamp() - anchor["real"]) * anchor["speed"]
    return dt.datetime.fromtimestamp(anchor["simulated"] + elapsed, dt.UTC)
