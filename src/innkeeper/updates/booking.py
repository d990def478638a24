"""Work booked for one machine, and how it came out."""

from __future__ import annotations

import dataclasses
import datetime as dt

from innkeeper.channels.ports import PackageChange
from innkeeper.wire.states import UpdateStatus
from innkeeper.wire.states import Verdict as Verdict

#: The longest context a booking may carry, in bytes.
MAX_CONTEXT_BYTES = 64 * 1024

#: The phase in which a run merges its undo disks. From its begin on they can only be merged.
MERGE = "merge"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Booking:
    """One update booked for one machine (``ScheduleTask``). Key: machine and identifier."""

    #: What people call the machine.
    machine: str
    identifier: str
    label: str
    #: Passed to the guest's task agent as it is.
    context: bytes
    #: Not before this.
    start: dt.datetime
    #: No later start than this; ``None`` for none.
    end: dt.datetime | None
    #: Complete by this; ``None`` for none.
    deadline: dt.datetime | None
    #: The user who booked it, or ``guest``.
    booked_by: str
    booked_at: dt.datetime
    status: UpdateStatus
    #: The run's task, once it has started.
    task_id: int | None
    verdict: Verdict | None
    #: Why it has not started, or why it came out as it did; a sentence.
    reason: str
    #: When it may start next, while it waits.
    next_chance: dt.datetime | None
    #: The machine's key; empty in bookings from before machines had keys.
    key: str = ""

    @property
    def of(self) -> str:
        """The machine, for programs: it stays the same when it is given another name."""
        return self.key or self.machine

    @property
    def has_started(self) -> bool:
        """Whether a run was started for it."""
        return self.task_id is not None

    @property
    def is_waiting(self) -> bool:
        """Whether it has neither started nor ended."""
        return self.task_id is None and self.verdict is None

    @property
    def is_replaceable(self) -> bool:
        """Whether it may be booked again: what was not started has touched nothing."""
        return self.is_waiting or self.verdict is Verdict.NOT_STARTED

    @property
    def place(self) -> Place:
        """Where it stands in the list by start."""
        return self.start, self.machine, self.identifier

    @property
    def version(self) -> BookingVersion:
        """Differs where it was booked again, or has started."""
        return self.booked_at, self.task_id


#: A booking's place in the list by start: its start, machine and identifier.
Place = tuple[dt.datetime, str, str]

#: When it was booked, and the task of its run.
BookingVersion = tuple[dt.datetime, int | None]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DiskChecksum:
    """One base disk's content before the update and after the roll back."""

    path: str
    before: str
    after: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What an update run did, for the morning after."""

    #: The run's task.
    task_id: int
    machine: str
    identifier: str
    label: str
    started_at: dt.datetime
    ended_at: dt.datetime
    verdict: Verdict
    #: Why, in sentences; one for each finding.
    reasons: tuple[str, ...]
    packages: tuple[PackageChange, ...]
    #: Seconds each phase took, in order.
    phase_seconds: tuple[tuple[str, float], ...]
    #: The state it was found in, and the state it was left in (``MachineState`` names).
    found_state: str
    left_state: str
    reboots: int
    checksums: tuple[DiskChecksum, ...]
    #: What the undo point held, and what a roll back came back to; empty where none was taken.
    undo_point: str = ""
    #: The machine's key; empty in reports from before machines had keys.
    key: str = ""
