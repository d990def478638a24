"""Accelerated time for simulated machines, which goes on across restarts."""

from __future__ import annotations

import dataclasses
import datetime as dt
import fcntl
import json
from pathlib import Path
from typing import IO

import structlog

from innkeeper.tasks.clock import FakeClock

_log = structlog.get_logger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SimulatedTime:
    """The time of a directory of simulated hosts, which keeps its speed for as long as anybody uses it."""

    clock: FakeClock
    #: Locked by all that use the time.
    _users: IO[str]

    def close(self) -> None:
        """Use it no longer, as the end of the process does."""
        self._users.close()


def simulated_time(file: Path, speed: float, now: dt.datetime) -> SimulatedTime:
    """Return a time that goes ``speed`` times as fast as the real one since its file was made.

    It goes on while the service is dead, as real time would; another speed takes over from where the former
    has come to. Services that use one file at once have one time, at the speed of the first.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.with_suffix(".lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        users = file.with_suffix(".users").open("w")
        anchor = _anchor(file)
        start = _simulated_now(anchor, now)
        if anchor is None or (anchor["speed"] != speed and _is_alone(users)):
            fresh = file.with_suffix(".new")
            fresh.write_text(
                json.dumps({"real": now.timestamp(), "simulated": start.timestamp(), "speed": speed})
            )
            fresh.replace(file)
        elif anchor["speed"] != speed:
            _log.warning(
                "simulated_time.speed_of_others", file=str(file), speed=anchor["speed"], unused=speed
            )
            speed = anchor["speed"]
        fcntl.flock(users, fcntl.LOCK_SH)
    return SimulatedTime(clock=FakeClock(start, speed=speed), _users=users)


def _is_alone(users: IO[str]) -> bool:
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _anchor(file: Path) -> dict[str, float] | None:
    return json.loads(file.read_text()) if file.exists() else None


def _simulated_now(anchor: dict[str, float] | None, now: dt.datetime) -> dt.datetime:
    if anchor is None:
        return now
    elapsed = max(0.0, now.timestamp() - anchor["real"]) * anchor["speed"]
    return dt.datetime.fromtimestamp(anchor["simulated"] + elapsed, dt.UTC)
