"""Work booked for one machine, and how it came out."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
from collections.abc import Mapping
from typing import Final

from innkeeper.channels.ports import PackageChange
from innkeeper.updates.health.finding import Finding
from innkeeper.wire.states import Proof as Proof
from innkeeper.wire.states import UpdateStatus
from innkeeper.wire.states import Verdict as Verdict

#: The longest context a booking may carry, in bytes.
MAX_CONTEXT_BYTES = 64 * 1024

#: The phase in which a run merges its undo disks. From its begin on they can only be merged.
MERGE = "merge"
#: So begins why a run has not ended whose window has closed.
ON_PROBATION = "On probation"


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
        """Whether the update has neither started nor ended."""
        return self.state is BookingState.WAITS

    @property
    def is_on_probation(self) -> bool:
        """Whether its update is kept, and its merge still waits for whoever holds the disks."""
        return self.state is BookingState.RUNS and self.reason.startswith(ON_PROBATION)

    @property
    def is_replaceable(self) -> bool:
        """Whether the update may be booked again: what was not started has touched nothing."""
        return (self.state, BookingCommand.BOOK) in BOOKING_LIFE

    @property
    def place(self) -> Place:
        """Where it stands in the list by start."""
        return self.start, self.machine, self.identifier

    @property
    def state(self) -> BookingState:
        """Where it is in its life."""
        if self.verdict is None:
            return BookingState.RUNS if self.has_started else BookingState.WAITS
        return BookingState.NOT_STARTED if self.verdict is Verdict.NOT_STARTED else BookingState.ENDED

    @property
    def version(self) -> BookingVersion:
        """Differs where it was booked again, or has started."""
        return self.booked_at, self.task_id


#: A booking's place in the list by start: its start, machine and identifier.
Place = tuple[dt.datetime, str, str]


class BookingState(enum.Enum):
    """Where a booking is in its life; it follows from its task and its verdict."""

    #: Nobody has begun it.
    WAITS = enum.auto()
    #: A run has begun it.
    RUNS = enum.auto()
    #: Its time is over, or its run touched nothing.
    NOT_STARTED = enum.auto()
    #: Its run has ended, however it came out.
    ENDED = enum.auto()


class BookingCommand(enum.Enum):
    """What is done with a booking."""

    #: Book it, in the place of one that touched nothing.
    BOOK = enum.auto()
    #: Begin its run: the first run has it, and may say so again.
    START = enum.auto()
    #: Note what the run says of it.
    REPORT = enum.auto()
    #: Note what its run came to; after a crash, again.
    END = enum.auto()
    #: Note that its run changed nothing, and let it wait for another one.
    PUT_OFF = enum.auto()
    #: Note that its time is over.
    EXPIRE = enum.auto()
    #: Delete it.
    DELETE = enum.auto()


#: Where each command leads; what is not here is refused. Stores ask it in the statement that writes, so that
#: of two servers the second finds what the first has done. ``None``: the booking is gone.
BOOKING_LIFE: Final[Mapping[tuple[BookingState, BookingCommand], frozenset[BookingState | None]]] = {
    (BookingState.WAITS, BookingCommand.BOOK): frozenset({BookingState.WAITS}),
    (BookingState.NOT_STARTED, BookingCommand.BOOK): frozenset({BookingState.WAITS}),
    (BookingState.WAITS, BookingCommand.START): frozenset({BookingState.RUNS}),
    (BookingState.RUNS, BookingCommand.START): frozenset({BookingState.RUNS}),
    (BookingState.RUNS, BookingCommand.REPORT): frozenset({BookingState.RUNS}),
    (BookingState.RUNS, BookingCommand.END): frozenset({BookingState.ENDED, BookingState.NOT_STARTED}),
    (BookingState.RUNS, BookingCommand.PUT_OFF): frozenset({BookingState.WAITS}),
    (BookingState.ENDED, BookingCommand.END): frozenset({BookingState.ENDED}),
    (BookingState.NOT_STARTED, BookingCommand.END): frozenset({BookingState.NOT_STARTED}),
    (BookingState.WAITS, BookingCommand.EXPIRE): frozenset({BookingState.NOT_STARTED}),
    (BookingState.WAITS, BookingCommand.DELETE): frozenset({None}),
    (BookingState.NOT_STARTED, BookingCommand.DELETE): frozenset({None}),
    (BookingState.ENDED, BookingCommand.DELETE): frozenset({None}),
}


def states_before(command: BookingCommand) -> frozenset[BookingState]:
    """The states in which a command is taken."""
    return frozenset(state for state, taken in BOOKING_LIFE if taken is command)


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
    #: What was worse in the guest after the update, whether it counted or not.
    findings: tuple[Finding, ...] = ()
    #: At whose wish it rebooted, for a person; empty where it did not.
    reboot_words: str = ""
    #: How much stands behind the guest's word that it was updated; ``None`` where no update was looked at.
    proof: Proof | None = None
    #: The same in a sentence.
    proof_words: str = ""
