"""Sessions of people in this guest: list and end them."""

import os
import signal
from functools import partial
from typing import Callable, Dict, Iterator, List, Tuple

from innkeeper.agent.command import ask
from innkeeper.agent.places import Places
from innkeeper.agent.utmp import USER_PROCESS, records
from innkeeper.wire.session import Message

#: Each session, and what ends it.
Sessions = Iterator[Tuple[Message, Callable[[], bool]]]

_MAX_SESSIONS = 64
_MAX_TEXT = 100
#: How long logind may take for one answer, in seconds.
_ASK_S = 10.0
#: What logind is asked of each session.
_SHOWN = ("Name", "Class", "Remote", "LockedHint", "State")


def sessions(places: Places) -> List[Message]:
    """Everybody who is logged on, as far as the guest knows."""
    return [session for session, _ in _sessions(places)][:_MAX_SESSIONS]


def log_off(places: Places) -> int:
    """Ask every session to end; returns how many there were."""
    ended = 0
    for _, end in _sessions(places):
        if end():
            ended += 1
    return ended


def _sessions(places: Places) -> Sessions:
    """Each session, and what ends it."""
    # elogind has the same program, and the same folder, without systemd.
    has_logind = places.has_systemd or os.path.isdir(places.under("run/systemd/sessions"))
    if has_logind and ask(["loginctl", "--version"], timeout=_ASK_S).code == 0:
        return _of_logind()
    return _of_utmp(places)


def _of_logind() -> Sessions:
    listed = ask(["loginctl", "list-sessions", "--no-legend", "--no-pager"], timeout=_ASK_S)
    for line in listed.output.splitlines()[: 4 * _MAX_SESSIONS]:
        words = line.split()
        if not words or listed.code != 0:
            continue
        message = _properties(words[0])
        if message.get("Class") == "user" and message.get("State") != "closing":
            yield _session(message), partial(_terminate, words[0])


def _properties(number: str) -> Dict[str, str]:
    asked = ["loginctl", "show-session", number]
    for name in _SHOWN:
        asked += ["-p", name]
    shown = ask(asked, timeout=_ASK_S)
    pairs = (line.partition("=") for line in shown.output.splitlines())
    return {name: value for name, _, value in pairs}


def _session(message: Dict[str, str]) -> Message:
    return {
        "user": message.get("Name", "")[:_MAX_TEXT],
        "since": 0,
        "locked": {"yes": True, "no": False}.get(message.get("LockedHint", "")),
        "remote": {"yes": True, "no": False}.get(message.get("Remote", "")),
    }


def _terminate(number: str) -> bool:
    return ask(["loginctl", "terminate-session", number], timeout=_ASK_S).code == 0


def _of_utmp(places: Places) -> Sessions:
    for record in records(places):
        if record.kind == USER_PROCESS and _is_alive(places, record.pid):
            session = {
                "user": record.user[:_MAX_TEXT],
                "since": max(0, record.seconds),
                "locked": None,
                "remote": bool(record.host),
            }  # type: Message
            yield session, partial(_hang_up, record.pid)


def _is_alive(places: Places, process: int) -> bool:
    return process > 1 and os.path.isdir(places.under("proc/{}".format(process)))


def _hang_up(process: int) -> bool:
    try:
        os.kill(process, signal.SIGHUP)
    except OSError:
        return False
    return True
