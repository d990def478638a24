"""Wait for another package manager, for a bounded time, and name who it is."""

import os
import re
import time
from typing import Callable, Optional

from innkeeper.agent.command import Answer
from innkeeper.agent.listeners import unit_of
from innkeeper.agent.places import Places, read_text
from innkeeper.agent.report import Failure, Report

#: How long is waited before each call, and between two tries, in seconds.
WAIT_S = 600.0
_PAUSE_S = 5.0
#: In the words of apt, dpkg, zypper and dnf; rpm names nobody.
_HELD = re.compile(
    r"held by process (?P<a>\d+)|locked by another process with pid (?P<b>\d+)"
    r"|locked by the application with pid (?P<c>\d+)|application with PID (?P<d>\d+) is"
    r"|can't create transaction lock|Could not get lock",
    re.IGNORECASE,
)


def past_locks(
    places: Places, report: Report, call: Callable[[], Answer], wait_s: Optional[float] = None
) -> Answer:
    """Make a call, again and again while another holds its lock; raises ``Failure`` where that lasts.

    A manager takes its locks before it changes anything, so nothing is done twice.
    """
    give_up = time.monotonic() + (WAIT_S if wait_s is None else wait_s)
    told = ""
    while True:
        answer = call()
        found = _HELD.search(answer.output) if answer.code != 0 else None
        if found is None:
            return answer
        holder = _holder(places, next(filter(None, found.groups()), ""))
        if time.monotonic() >= give_up:
            raise Failure(f"The package manager is in use by {holder}, and was waited for in vain.")
        if holder != told:
            told = holder
            report.output(f"Waiting for {holder}, which uses the package manager")
        report.pause(_PAUSE_S)


def _holder(places: Places, pid: str) -> str:
    """Return program, unit and age of a process, as far as they can be seen."""
    process = places.under(f"proc/{pid}")
    if not pid or not os.path.isdir(process):
        return "another program"
    unit = unit_of(read_text(process + "/cgroup"))
    since = time.strftime("%H:%M", time.localtime(os.stat(process).st_mtime))
    of_unit = f" of {unit}" if unit else ""
    return f"{read_text(process + '/comm') or 'a program'}{of_unit} (process {pid}, since {since})"
