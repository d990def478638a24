"""Entries of systemd's journal in the shape of the event log."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from typing import Final

from innkeeper.schedule.events.record import Facts, Level, Record, record

#: All of the journal; beside it an entry is in the channel that Windows would have it in.
CHANNEL: Final = "Journal"
SYSTEM: Final = "System"
SECURITY: Final = "Security"
APPLICATION: Final = "Application"
CHANNELS: Final = (CHANNEL, SYSTEM, SECURITY, APPLICATION)

#: By the journal's priority, 0 to 7.
_LEVELS: Final = (
    Level.CRITICAL,
    Level.CRITICAL,
    Level.CRITICAL,
    Level.ERROR,
    Level.WARNING,
    Level.INFORMATION,
    Level.INFORMATION,
    Level.VERBOSE,
)
#: The facilities auth and authpriv.
_SECURITY = frozenset({"4", "10"})
#: Below it are the system's own users.
_FIRST_PERSON = 1000


def of_line(line: bytes) -> Record | None:
    """Return the record of one line of ``journalctl -o json``; ``None`` for a line without an entry."""
    try:
        message = json.loads(line)
    except ValueError:
        return None
    if not isinstance(message, dict) or not isinstance(message.get("__CURSOR"), str):
        return None
    return of_entry({str(name): _text(value) for name, value in message.items() if value is not None})


def of_entry(entry: Mapping[str, str]) -> Record:
    """Return the entry as a record: all its fields are ``EventData``, under their own names."""
    channel = _channel(entry)
    return record(
        Facts(
            id=hashlib.blake2b(entry["__CURSOR"].encode(), digest_size=12).hexdigest(),
            at=_moment(entry),
            provider=entry.get("SYSLOG_IDENTIFIER") or entry.get("_COMM", ""),
            event_id=0,
            level=_level(entry.get("PRIORITY", "")),
            channel=channel,
            also_in=(CHANNEL,),
            computer=entry.get("_HOSTNAME", ""),
            process=entry.get("_PID", ""),
            user=entry.get("_UID", ""),
            data={name: value for name, value in entry.items() if not name.startswith("__")},
        )
    )


def _text(value: object) -> str:
    """A field's text; what is no text comes as a list of bytes, a field that is there twice as a list."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(each, int) and 0 <= each < 256 for each in value):
        return bytes(value).decode(errors="replace")
    if isinstance(value, list):
        return "\n".join(_text(each) for each in value if isinstance(each, str))
    return str(value)


def _channel(entry: Mapping[str, str]) -> str:
    if entry.get("SYSLOG_FACILITY") in _SECURITY:
        return SECURITY
    uid = entry.get("_UID", "0")
    if entry.get("_TRANSPORT") != "kernel" and uid.isdecimal() and int(uid) >= _FIRST_PERSON:
        return APPLICATION
    return SYSTEM


def _level(priority: str) -> Level:
    number = int(priority) if priority.isdecimal() and len(priority) == 1 else 6
    return _LEVELS[min(number, 7)]


def _moment(entry: Mapping[str, str]) -> dt.datetime:
    text = entry.get("_SOURCE_REALTIME_TIMESTAMP") or entry.get("__REALTIME_TIMESTAMP", "")
    microseconds = int(text) if text.isdecimal() and len(text) < 18 else 0
    return dt.datetime.fromtimestamp(0, dt.UTC) + dt.timedelta(microseconds=microseconds)
