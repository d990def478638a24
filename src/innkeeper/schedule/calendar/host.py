"""The time zone of this computer."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path
from zoneinfo import ZoneInfo

from innkeeper.schedule.calendar import zone_database

_LOCALTIME = Path("/etc/localtime")


def host_zone() -> dt.tzinfo:
    """Return the zone that ``TZ`` or ``/etc/localtime`` names; UTC where neither does."""
    named = os.environ.get("TZ", "").removeprefix(":")
    for key in (named, _linked()):
        if key and not key.startswith("/"):
            try:
                return zone_database.find(key)
            except (KeyError, ValueError, OSError):  # not a zone's name: a rule in letters, or a typing error
                continue
    return _from_file()


def _linked() -> str:
    try:
        target = os.fspath(_LOCALTIME.readlink())
    except OSError:
        return ""
    return target.partition("/zoneinfo/")[2]


def _from_file() -> dt.tzinfo:
    try:
        with _LOCALTIME.open("rb") as file:
            return ZoneInfo.from_file(file)
    except (OSError, ValueError):
        return dt.UTC
