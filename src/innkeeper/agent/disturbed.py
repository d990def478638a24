"""Find the jobs that failed because an update held the package manager's lock, and start them again once."""

import json
import re
import time
from typing import List

from innkeeper.agent.backends.locks import HELD
from innkeeper.agent.command import ask
from innkeeper.agent.inits import systemd_units as units
from innkeeper.agent.places import Places
from innkeeper.agent.plugin import PluginError
from innkeeper.agent.run import Run

_ASK_S = 30.0
_LINES = 50
_MOST = 20
#: What programs of people's own say of a lock that is held, beside the package managers' own words.
_SAID = re.compile(
    r"BlockingIOError"
    r"|\b(dpkg|apt|apt-get|rpm|dnf|yum|zypp\w*|pacman|apk)\b[^\n]*\b(lock|locked|busy|in use)\b"
    r"|\b(lock|locked)\b[^\n]*\b(dpkg|apt|apt-get|rpm|dnf|yum|zypp\w*|pacman|apk)\b",
    re.IGNORECASE,
)


def find(places: Places, since: float) -> List[str]:
    """Return the services that have failed since a moment (seconds since 1970) and spoke of the lock.

    A server that was to run on is none of them: what starts and ends is meant, as timers and cron do it.
    """
    if not places.has_systemd:
        return []
    try:
        known = units.properties()
    except PluginError:
        return []
    begun = time.monotonic() - (time.time() - since)
    lately = [one["Id"] for one in known if _is_job(one) and _failed_after(one, begun)]
    return [name for name in lately if _speaks_of_a_lock(name, since)][:_MOST]


def start_again(run: Run) -> List[str]:
    """Start those that were found, once: who asks again is told the same."""
    found = known(run)
    if found and run.may_start_disturbed():
        ask(["systemctl", "start", "--no-block", "--", *found], timeout=_ASK_S)
    return found


def known(run: Run) -> List[str]:
    """Return those that were found."""
    try:
        told = json.loads(run.disturbed() or "[]")
    except ValueError:
        return []
    return [str(name) for name in told] if isinstance(told, list) else []


def _is_job(one: units.Properties) -> bool:
    """Whether a service is a job, which is started to end.

    What a socket starts is a server; what a boot wants done once, as a firewall's rules, is part of it.
    """
    if not one["Id"].endswith(".service") or one["Id"].startswith("innkeeper-"):
        return False
    if any(name.endswith(".timer") for name in one.get("TriggeredBy", "").split()):
        return True
    is_wanted = one.get("WantedBy") or one.get("RequiredBy")
    return one.get("Type") == "oneshot" and one.get("RemainAfterExit") != "yes" and not is_wanted


def _failed_after(one: units.Properties, begun: float) -> bool:
    since = one.get("StateChangeTimestampMonotonic", "")
    return one.get("ActiveState") == "failed" and since.isdigit() and int(since) / 1e6 >= begun


def _speaks_of_a_lock(name: str, since: float) -> bool:
    journal = ["journalctl", "-q", "--no-pager", "-b", "-o", "cat", "-n", str(_LINES)]
    answer = ask([*journal, "--since", "@{:.0f}".format(since), "--unit", name], timeout=_ASK_S)
    return bool(HELD.search(answer.output) or _SAID.search(answer.output))
