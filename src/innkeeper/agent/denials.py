"""Find what the kernel's guards (AppArmor, SELinux) have denied a program."""

import json
import os
import re
from typing import Iterator, List, Set

from innkeeper.agent.command import ask

_ASK_S = 20.0
#: The newest messages of the kernel that are looked through, and the lines that are told.
_MESSAGES = 2000
_MOST = 2
_DENIED = re.compile(r"(apparmor=\"DENIED\" .*|avc: +denied .*)")
_FIELD = re.compile(r"\b(pid|comm|profile)=(?:\"([^\"]*)\"|(\d+))")
_PATH = re.compile(r"path=([^ ;]+)")
#: A denial may come a moment before its program counts as started.
_SLACK_US = 1000000


def denials(unit: str) -> List[str]:
    """Return the last different ones of a unit's program since its last start, in the kernel's words."""
    asked = ["ExecMainPID", "ExecStart", "ExecMainStartTimestampMonotonic"]
    answer = ask(["systemctl", "show", "-p", ",".join(asked), "--", unit], timeout=_ASK_S)
    said = dict(line.split("=", 1) for line in answer.output.splitlines() if "=" in line)
    started = said.get("ExecMainStartTimestampMonotonic", "")
    if answer.code != 0 or not started.isdigit() or started == "0":
        return []
    paths = _PATH.findall(said.get("ExecStart", ""))
    mine = {said.get("ExecMainPID", ""), *paths, *(os.path.basename(path)[:15] for path in paths)} - {"0", ""}
    found = [line for line in _denied(int(started) - _SLACK_US) if mine & _names(line)]
    return list({_without_process(line): line for line in found}.values())[-_MOST:]


def _denied(since_us: int) -> Iterator[str]:
    """Yield what was denied since, in microseconds of the kernel's clock."""
    journal = ["journalctl", "-q", "--no-pager", "-b", "-o", "json", "-n", str(_MESSAGES)]
    answer = ask([*journal, "_TRANSPORT=kernel", "+", "_TRANSPORT=audit"], timeout=_ASK_S)
    for line in answer.output.splitlines() if answer.code == 0 else ():
        try:
            entry = json.loads(line)
            text, at = entry["MESSAGE"], int(entry["__MONOTONIC_TIMESTAMP"])
        except (ValueError, KeyError, TypeError):
            continue
        denied = _DENIED.search(text) if isinstance(text, str) and at >= since_us else None
        if denied:
            yield denied.group(1)


def _names(line: str) -> Set[str]:
    return {text or number for _, text, number in _FIELD.findall(line)}


def _without_process(line: str) -> str:
    return re.sub(r"\bpid=\d+", "", line)
