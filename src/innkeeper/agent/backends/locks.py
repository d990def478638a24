"""Wait for another package manager, for a bounded time, and name who it is."""

import os
import re
import time
from typing import Callable, Match

from innkeeper.agent.command import Answer
from innkeeper.agent.places import Places, read_text
from innkeeper.agent.report import Failure, Report

#: How long is waited before each call, in seconds.
WAIT_S = 600.0
#: How long between two tries, and between two looks whether the holder has ended.
_PAUSE_S = 5.0
_GLANCE_S = 0.2
#: In the words of apt, dpkg, zypper, dnf and yum; then of those that name nobody: rpm, dnf 5, pacman, apk.
HELD = re.compile(
    r"held by process (?P<apt>\d+)|locked by another process with pid (?P<dpkg>\d+)"
    r"|locked by the application with pid (?P<zypper>\d+)|application with PID (?P<dnf>\d+) is"
    r"|another copy is running as pid (?P<yum>\d+)"
    r"|can't create transaction lock(?: on (?P<file>\S+))?|Could not get lock"
    r"|Failed to obtain rpm transaction lock|\(unable to lock database\)"
    r"|Unable to lock database: Resource temporarily unavailable",
    re.IGNORECASE,
)
#: What dnf 5 and apk lock, without a word of it.
_FILES = ("run/dnf/rpmtransaction.lock", "lib/apk/db/lock")


def past_locks(
    places: Places,
    report: Report,
    call: Callable[[], Answer],
    wait_s: float = WAIT_S,
    has_begun: Callable[[], bool] = lambda: False,
) -> Answer:
    """Make a call, again and again while another holds its lock; raises ``Failure`` where that lasts.

    ``has_begun`` says whether the call has begun to change packages. A manager has its locks by then, so
    what is said of locks is said by a package's script, and nothing is done twice.
    """
    give_up = time.monotonic() + wait_s
    told = ""
    while True:
        answer = call()
        found = HELD.search(answer.output) if answer.code != 0 else None
        if found is None or has_begun():
            return answer
        pid = _pid(places, found)
        holder = _holder(places, pid)
        if time.monotonic() >= give_up:
            raise Failure(f"The package manager is in use by {holder}, and was waited for in vain.")
        if holder != told:
            told = holder
            report.output(f"Waiting for {holder}, which uses the package manager")
        _pause(places, report, pid)


def _pause(places: Places, report: Report, pid: str) -> None:
    """Wait for a while, or until a holder that is known has ended."""
    end = time.monotonic() + _PAUSE_S
    while time.monotonic() < end:
        report.pause(_GLANCE_S)
        if pid and not _is_there(places, pid):
            return


def _pid(places: Places, found: Match[str]) -> str:
    """Return the process that holds the lock, as the program says or the kernel does."""
    groups = found.groupdict()
    path = groups.pop("file")
    lockers = (_locker(places, places.under(file.lstrip("/"))) for file in ([path] if path else _FILES))
    return next(filter(None, (*groups.values(), *lockers)), "")


def _locker(places: Places, path: str) -> str:
    """Return the process that holds a lock on a file; empty where none can be seen."""
    try:
        inode = os.stat(path).st_ino
    except OSError:
        return ""
    # 1: POSIX ADVISORY WRITE 12951 fe:00:2408516 0 EOF
    rows = (line.split() for line in read_text(places.under("proc/locks")).splitlines())
    return next((row[4] for row in rows if len(row) > 5 and row[5].endswith(f":{inode}")), "")


def _is_there(places: Places, pid: str) -> bool:
    # A process that has ended and that nobody has asked after has none.
    return bool(read_text(places.under(f"proc/{pid}/cmdline")))


def _holder(places: Places, pid: str) -> str:
    """Return program, unit and age of a process, as far as they can be seen."""
    process = places.under(f"proc/{pid}")
    if not pid or not _is_there(places, pid):
        return "another program"
    from innkeeper.agent.inits import Inits  # many modules, for what is seldom asked

    unit = Inits(places).owner()(int(pid))
    since = time.strftime("%H:%M", time.localtime(os.stat(process).st_mtime))
    of_unit = f" of {unit}" if unit else ""
    return f"{read_text(process + '/comm') or 'a program'}{of_unit} (process {pid}, since {since})"
