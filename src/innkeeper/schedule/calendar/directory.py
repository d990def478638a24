"""Named calendars as files of a directory: ``freeze.ics`` is the calendar ``freeze``."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping
from pathlib import Path

import structlog

from innkeeper.errors import InnkeeperError
from innkeeper.schedule.calendar.files import read_calendar
from innkeeper.schedule.calendar.named import NamedCalendar

_log = structlog.get_logger(__name__)


class CalendarDirectory:
    """The calendar files of a directory; each is read anew when it has changed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read: dict[Path, tuple[int, NamedCalendar]] = {}

    async def named(self) -> Mapping[str, NamedCalendar]:
        """Return the calendars by name. An unreadable file is left out, so that its tasks are refused."""
        return await asyncio.to_thread(self._named)

    def _named(self) -> Mapping[str, NamedCalendar]:
        found = {}
        for path in sorted(self._directory.glob("*.ics")):
            try:
                found[path.stem] = self._calendar(path)
            except (OSError, InnkeeperError) as problem:
                _log.warning("calendar.unreadable", path=str(path), problem=str(problem))
        return found

    def _calendar(self, path: Path) -> NamedCalendar:
        changed = path.stat().st_mtime_ns
        known = self._read.get(path)
        if known is None or known[0] != changed:
            today = dt.datetime.now(dt.UTC).date()
            known = self._read[path] = (changed, read_calendar(path.read_bytes(), today=today))
        return known[1]
