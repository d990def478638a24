"""Describe an update that the guest books for itself."""

import base64
import re
from datetime import datetime, timedelta, timezone

from innkeeper.agent.plugin import PluginError
from innkeeper.wire.session import Message

MAX_CONTEXT_BYTES = 64 * 1024
MAX_NAME_CHARS = 255

_TIME = re.compile(r"(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2})(:\d{2})?(Z|[+-]\d{2}:?\d{2})\Z")


def booking(
    start_time: int, end_time: int, deadline: int, label: str, identifier: str, context: bytes
) -> Message:
    """Return the notice of a booking (``ScheduleTask``); raises ``PluginError`` with a sentence.

    Times are seconds since 1970, UTC; 0 for no end and no deadline.
    """
    _check_name(identifier, "identifier")
    _check_name(label or "-", "label")
    if len(context) > MAX_CONTEXT_BYTES:
        raise PluginError(f"The context has {len(context)} bytes; {MAX_CONTEXT_BYTES} is the most.")
    if end_time and end_time <= start_time:
        raise PluginError("The end is not after the start.")
    if deadline and deadline <= start_time:
        raise PluginError("The deadline is not after the start.")
    return {
        "tell": "schedule",
        "start": start_time,
        "end": end_time,
        "deadline": deadline,
        "label": label,
        "identifier": identifier,
        "context": base64.b64encode(context).decode(),
    }


def deletion(identifier: str) -> Message:
    """Return the notice that takes a booking back (``DeleteSchedule``)."""
    _check_name(identifier, "identifier")
    return {"tell": "delete_schedule", "identifier": identifier}


def parse_time(text: str, now: datetime) -> int:
    """Read ``now``, ``+90m``, ``+2h``, ``+3d`` or ``2026-11-21T02:00Z`` (or with ``+01:00``).

    A time without a zone is refused: a guest's clock zone is nobody's promise.
    """
    if text == "now":
        return int(now.timestamp())
    relative = re.match(r"\+(\d{1,6})([mhd])\Z", text)
    if relative:
        unit = {"m": "minutes", "h": "hours", "d": "days"}[relative.group(2)]
        return int((now + timedelta(**{unit: int(relative.group(1))})).timestamp())
    found = _TIME.match(text)
    if not found:
        raise PluginError(f"{text!r} is not a time: write now, +2h, or 2026-11-21T02:00Z.")
    day, minute, second, zone = found.groups()
    zone = "+0000" if zone == "Z" else zone.replace(":", "")
    try:
        moment = datetime.strptime(f"{day} {minute}{second or ':00'} {zone}", "%Y-%m-%d %H:%M:%S %z")
    except ValueError:
        raise PluginError(f"{text!r} is not a time of the calendar.") from None
    return int(moment.astimezone(timezone.utc).timestamp())


def _check_name(text: str, what: str) -> None:
    if not text or len(text) > MAX_NAME_CHARS or not text.isprintable():
        raise PluginError(f"The {what} is not 1 to {MAX_NAME_CHARS} printable characters.")
