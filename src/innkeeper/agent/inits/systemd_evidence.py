"""Read what systemd and its journal know of units in trouble."""

import re
from typing import List

from innkeeper.agent.command import ask

#: The last lines of a unit's journal that are told.
_LINES = 6
_ASK_S = 20.0
_PROPERTIES = (
    "LoadState",
    "ActiveState",
    "SubState",
    "Result",
    "ExecMainCode",
    "ExecMainStatus",
    "NRestarts",
    "StateChangeTimestamp",
)
#: What a program's end is called by its ``ExecMainCode``: ``CLD_EXITED`` and what follows in waitid(2).
_ENDS = {"1": "exit code", "2": "killed by signal", "3": "killed by signal, with a core dump,"}
#: A unit of a user's manager: ``user@1000.service/sync.service``.
_OF_A_USER = re.compile(r"user@([0-9]+)\.service/(.+)")


def state(unit: str) -> List[str]:
    """Return how a unit ended, as a line; nothing where it is not there."""
    if _OF_A_USER.match(unit):
        return []  # its manager may not answer anyone but its user
    answer = ask(["systemctl", "show", "-p", ",".join(_PROPERTIES), "--", unit], timeout=_ASK_S)
    said = dict(line.split("=", 1) for line in answer.output.splitlines() if "=" in line)
    if answer.code != 0 or said.get("LoadState") in (None, "not-found"):
        return []
    words = ["{ActiveState} ({SubState})".format(**said)]
    if said.get("Result") not in (None, "", "success"):
        words.append("result " + said["Result"])
    end = _ENDS.get(said.get("ExecMainCode", ""))
    if end:
        words.append("its program ended by {} {}".format(end, said.get("ExecMainStatus", "")))
    if said.get("NRestarts", "0") not in ("", "0"):
        words.append("started again {} times".format(said["NRestarts"]))
    if said.get("StateChangeTimestamp"):
        words.append("since " + said["StateChangeTimestamp"])
    return [", ".join(words)]


def last_words(unit: str) -> List[str]:
    """Return the last lines of a unit's journal in this boot."""
    of_a_user = _OF_A_USER.match(unit)
    if of_a_user:
        which = ["_UID=" + of_a_user.group(1), "_SYSTEMD_USER_UNIT=" + of_a_user.group(2)]
    else:
        which = ["--unit=" + unit]
    journal = ["journalctl", "-q", "--no-pager", "-b", "-o", "short-iso", "--no-hostname", "-n", str(_LINES)]
    answer = ask([*journal, *which], timeout=_ASK_S)
    return [line for line in answer.output.splitlines() if line.strip()] if answer.code == 0 else []
