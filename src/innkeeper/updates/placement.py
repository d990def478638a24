"""Candidates for the night, the hosts that carry them, and the place each gets."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum

from innkeeper.updates.calendar import Opening
from innkeeper.updates.machine_name import MachineName
from innkeeper.wire.states import RollBack


class Why(enum.StrEnum):
    """Why an update does not start now; the sentence for a person."""

    STARTS = ""
    NOT_YET = "It is booked for later."
    EXPIRED = "The time for it to start or complete has passed."
    NO_WINDOW = "No window covers the machine."
    NO_CHANCE = "No window opens in the time in which it may start."
    CLOSED = "It waits for its window to open."
    TOO_SHORT = (
        "With the time reserved for a roll back, it takes longer than its window or its deadline allows."
    )
    TOO_FULL = "No slot becomes free in time before its window closes."
    NO_SLOT = "All the host's slots are taken; it waits for one."
    NO_BOOT = "The host's limit of machines that boot at once is reached; it waits for its turn."
    NO_MEMORY = "The host has not enough free memory to start the machine."
    BEHIND = "It waits because another machine, passed over too often, goes first."
    BUSY = "Another task holds the machine."
    NO_HOST = "The machine's host does not answer."


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """One booking that has not started."""

    #: The machine, for programs.
    machine: str
    identifier: str
    #: The machine's host, or empty where none answers for it.
    host: str
    memory_mib: int
    #: Whether it has to be woken: it takes a boot and memory then.
    needs_waking: bool
    start: dt.datetime
    end: dt.datetime | None
    deadline: dt.datetime | None
    predicted: dt.timedelta
    #: How often others were started while it did not fit.
    skips: int = 0
    #: Another task holds the machine.
    is_busy: bool = False
    #: What a roll back would bring the machine back to; ``None`` where it is not known.
    roll_back: RollBack | None = None
    #: What windows go by, where more is known of the machine than what people call it.
    name: MachineName | None = None

    @property
    def named(self) -> MachineName:
        """What windows go by."""
        return self.name or MachineName.called(self.machine)

    @property
    def place(self) -> tuple[str, str, str]:
        """Where it stands among others that are due at the same time."""
        return self.named.title, *self.key

    @property
    def key(self) -> tuple[str, str]:
        """Machine and identifier."""
        return self.machine, self.identifier


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class InFlight:
    """One update run that is under way."""

    #: The machine, for programs.
    machine: str
    host: str
    #: When it is predicted to end.
    end: dt.datetime
    #: Memory that the host has back then.
    memory_mib: int
    #: Whether it boots now.
    boots: bool
    #: What windows go by, where more is known of the machine than what people call it.
    name: MachineName | None = None
    #: Whether its update is kept, and only its merge waits: it takes nobody's place.
    on_probation: bool = False

    @property
    def named(self) -> MachineName:
        """What windows go by."""
        return self.name or MachineName.called(self.machine)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Host:
    """What a host can still carry."""

    name: str
    #: Memory free now, after the reserve.
    memory_free_mib: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """One booking's place in the plan."""

    candidate: Candidate
    why: Why
    #: When it starts; ``None`` where it does not in the time that was planned.
    start: dt.datetime | None = None
    #: When it is predicted to end.
    end: dt.datetime | None = None
    #: The opening it starts in, or waits for.
    opening: Opening | None = None
    #: When it may start next, where it does not start.
    next_chance: dt.datetime | None = None
    #: How often others were started while it did not fit, so far.
    skips: int = 0

    @property
    def reason(self) -> str:
        """Why the update does not start, in sentences for a person."""
        if self.why is not Why.TOO_SHORT:
            return self.why.value
        minutes = max(1, round(self.candidate.predicted / dt.timedelta(minutes=1)))
        return f"It is expected to take {minutes} min. {self.why.value}"
