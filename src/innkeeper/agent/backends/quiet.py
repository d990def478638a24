"""Keep the timers of the guest's own package managers from running beside an update.

A guest that was off for a while runs its missed timers at boot, in the very minutes of its update.
"""

import contextlib
import time
from typing import Iterator, List

from innkeeper.agent.command import ask
from innkeeper.agent.places import Places
from innkeeper.agent.report import Report
from innkeeper.agent.run import Run

_NAMES = ["apt-daily", "apt-daily-upgrade", "dnf-automatic", "dnf-automatic-download"]
_NAMES += ["dnf-automatic-install", "dnf-automatic-notifyonly", "dnf5-automatic", "dnf-makecache"]
_NAMES += ["dnf5-makecache", "packagekit-background", "transactional-update", "os-update", "zypp-refresh"]
_NAMES += ["pacman-filesdb-refresh"]
_STATES = {"active", "activating", "deactivating", "failed", "inactive", "maintenance", "refreshing"}
_STATES |= {"reloading", "unknown"}
#: How long a run of theirs is waited for; the package manager's own lock has the last word.
_TIMEOUT_S = 600
#: It keeps its locks while it has nothing to do, and ends then where it is asked to; the bus starts it again.
_PACKAGEKIT = "org.freedesktop.PackageKit"
_LEAVE = ["busctl", "call", _PACKAGEKIT, "/org/freedesktop/PackageKit", _PACKAGEKIT, "SuggestDaemonQuit"]


@contextlib.contextmanager
def quiet(places: Places, report: Report, run: Run) -> Iterator[None]:
    """Stop the timers, wait for what they started, and start them again at the end.

    Should the worker die between, the agent starts them again, or the next boot.
    """
    try:
        if places.has_systemd:
            _stop(run)
            _wait(report)
        yield
    finally:
        start_again(run)


def start_again(run: Run) -> None:
    """Start the timers that a run has stopped, once."""
    timers = run.take_stopped()
    if timers:
        ask(["systemctl", "--no-block", "start", *timers])


def _stop(run: Run) -> None:
    timers = _active([f"{name}.timer" for name in _NAMES])
    if timers:
        run.keep_stopped(timers)
        ask(["systemctl", "stop", *timers])
    if _active(["packagekit.service"]):
        ask(_LEAVE)


def _wait(report: Report) -> None:
    end = time.monotonic() + _TIMEOUT_S
    services = [f"{name}.service" for name in _NAMES]
    running = _active(services)
    while running and time.monotonic() < end:
        report.output(f"Waiting for {', '.join(running)}")
        report.pause(2)
        running = _active(services)


def _active(units: List[str]) -> List[str]:
    told = ask(["systemctl", "is-active", *units]).output.splitlines()
    # What it complains of stands between.
    states = [line for line in told if line in _STATES]
    return [unit for unit, state in zip(units, states) if state in ("active", "activating", "reloading")]
