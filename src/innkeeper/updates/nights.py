"""The plan of a night: which machine, when, on which host, and whether it fits."""

from __future__ import annotations

import dataclasses
import datetime as dt

from innkeeper.wire.states import RollBack


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class NightEntry:
    """One booking's place in the night."""

    #: What people call the machine.
    machine: str
    identifier: str
    label: str
    host: str
    #: When it will start (or has); ``None`` where it will not.
    start: dt.datetime | None
    #: When it is predicted to end.
    end: dt.datetime | None
    #: Its window's name, or empty where none covers the machine.
    window: str
    #: Whether it is predicted to start and end in time.
    fits: bool
    #: Why not, or what it waits for; a sentence, or empty.
    reason: str
    #: When it may start next, where it does not fit.
    next_chance: dt.datetime | None
    #: The run's task, where it runs already.
    task_id: int | None
    #: What a roll back would bring the machine back to; ``None`` where that is not known.
    roll_back: RollBack | None = None
    #: The machine's key.
    key: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Night:
    """The plan of a night, as it looked at ``at``."""

    at: dt.datetime
    #: How far ahead it looks.
    until: dt.datetime
    #: Every booking that has not ended, by its start; those that do not fit come last.
    entries: tuple[NightEntry, ...]

    @property
    def fits(self) -> bool:
        """Whether everything booked will be done."""
        return all(entry.fits for entry in self.entries)
