"""Sessions of people in this guest: list and end them."""

import os
import signal
import struct
from functools import partial
from typing import Callable, Dict, Iterator, List, Tuple

from innkeeper.agent.command import ask
from innkeeper.agent.places import Places
from innkeeper.wire.session import Message

#: Each session, and what ends it.
Sessions = Iterator[Tuple[Message, Callable[[], bool]]]

_MAX_SESSIONS = 64
_MAX_TEXT = 100
#: How long logind may take for one answer, in seconds.
_ASK_S = 10.0
#: What logind is asked of each session.
_SHOWN = ("Name", "Class", "Remote", "LockedHint", "State")

#: One record of the accounting file of logins (``utmp(5)``) on 64 bits, and the kind of a login in it.
_RECORD = struct.Struct("=hxxi32s4s32s256shhiii16s20s")
_USER_PROCESS = 7


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
    if places.has_systemd and ask(["loginctl", "--version"], timeout=_ASK_S).code == 0:
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
    try:
        with open(places.under("run/utmp"), "rb") as file:
            content = file.read(_RECORD.size * 1024)
    except OSError:
        return
    for at in range(0, len(content) - _RECORD.size + 1, _RECORD.size):
        record = _RECORD.unpack_from(content, at)
        kind, process, user, host, seconds = record[0], record[1], record[4], record[5], record[9]
        if kind == _USER_PROCESS and _is_alive(places, process):
            session = {
                "user": _text(user),
                "since": max(0, seconds),
                "locked": None,
                "remote": bool(_text(host)),
            }  # type: Message
            yield session, partial(_hang_up, process)


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "replace")[:_MAX_TEXT]


def _is_alive(places: Places, process: int) -> bool:
    return process > 1 and os.path.isdir(places.under("proc/{}".format(process)))


def _hang_up(process: int) -> bool:
    try:
        os.kill(process, signal.SIGHUP)
    except OSError:
        return False
    return True
