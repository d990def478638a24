"""Name what starts tasks besides the clock."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import ClassVar

from innkeeper.schedule.events.record import Record
from innkeeper.schedule.model.enumerations import SessionStateChange
from innkeeper.schedule.registered import Watch


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Occasion:
    """Something that happened, and that triggers may have waited for."""

    watch: ClassVar[Watch]

    #: Unique on this computer: a task starts for it once, however often it is told.
    key: str
    at: dt.datetime
    #: What happened, for a person.
    words: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Booted(Occasion):
    """The computer was started since the service last ran."""

    watch = Watch.BOOT


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LoggedOn(Occasion):
    """A person has logged on."""

    watch = Watch.LOGON

    user: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SessionChanged(Occasion):
    """A person's session was connected, disconnected, locked or unlocked."""

    watch = Watch.SESSION

    user: str
    change: SessionStateChange


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class BecameIdle(Occasion):
    """The computer has nothing to do."""

    watch = Watch.IDLE


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class EventWritten(Occasion):
    """An event was written."""

    watch = Watch.EVENT

    record: Record
