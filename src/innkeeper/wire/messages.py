"""Describe the HTTP messages between a client and the service.

Names of states travel as the documented names (``RUNNING``, ``SUCCESS``), times as ISO 8601 with an offset,
bytes as base64, durations as seconds.
"""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import enum
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Self, TypeVar

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
)

from innkeeper.errors import InvalidArgument
from innkeeper.wire.documented_events import STATES, DocumentedEvent
from innkeeper.wire.moment import Moment
from innkeeper.wire.states import (
    CancelEffect,
    GuestWay,
    LogLevel,
    MachineState,
    Proof,
    RollBack,
    TaskResult,
    UpdateStatus,
    Verdict,
    Weekday,
)
from innkeeper.wire.text import OneLine

#: The documented interface's version that this service gives (``TaskService.HighestVersion``: 1.6).
HIGHEST_VERSION = 0x00010006

#: The largest request that the service reads, in bytes.
MAX_REQUEST_BYTES = 1024 * 1024

#: The longest wait of ``IVMTask::WaitForCompletion``, in milliseconds; −1 is for ever.
MAX_WAIT_MS = 4_000_000

State = TypeVar("State", bound=enum.IntEnum)


def _by_name(states: type[State], value: object) -> object:
    """Turn a documented name into its state; leave all that is no text to pydantic. Raises ``ValueError``."""
    if not isinstance(value, str) or value.lstrip("-").isdigit():
        return value
    if value not in states.__members__:
        raise ValueError(f"“{value[:60]}” is none of {', '.join(states.__members__)}")
    return states[value]


def named(states: type[State]) -> tuple[BeforeValidator, PlainSerializer, WithJsonSchema]:
    """Type of a documented state that travels by its name."""
    return (
        BeforeValidator(lambda value: _by_name(states, value)),
        PlainSerializer(lambda state: state.name, return_type=str),
        WithJsonSchema({"type": "string", "enum": list(states.__members__)}),
    )


MachineStateName = Annotated[MachineState, *named(MachineState)]
TaskResultName = Annotated[TaskResult, *named(TaskResult)]
UpdateStatusName = Annotated[UpdateStatus, *named(UpdateStatus)]


def _from_base64(value: object) -> object:
    """Decode text strictly; leave all else to pydantic."""
    return base64.b64decode(value, validate=True) if isinstance(value, str) else value


#: Bytes, which travel as base64 without line ends.
Base64 = Annotated[
    bytes,
    BeforeValidator(_from_base64),
    PlainSerializer(lambda data: base64.b64encode(data).decode(), return_type=str),
    WithJsonSchema({"type": "string", "format": "byte"}),
]


@contextlib.contextmanager
def checked() -> Iterator[None]:
    """Build a request within: a value that is not valid raises ``InvalidArgument`` with its field."""
    try:
        yield
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"])) or error.title
        raise InvalidArgument.of_field(field, first["msg"]) from error


class Message(BaseModel):
    """What the service says. Fields that a later service adds are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


class Paged(Message):
    """One page of a list."""

    #: The field that has the list's entries.
    entries_field: ClassVar[str]

    #: Ask with this as ``after`` for the next page; nothing where there is no more.
    next_after: str | None = None

    @classmethod
    def joined(cls, pages: Iterable[Self]) -> Self:
        """Return the whole list: the first page, with the entries of all."""
        first, *others = pages
        entries = tuple(entry for page in (first, *others) for entry in getattr(page, cls.entries_field))
        return first.model_copy(update={cls.entries_field: entries, "next_after": None})


class MissingServer(Message):
    """A server that does not answer: its part of a list is missing."""

    server: str
    #: Since when, in a sentence.
    reason: str


class OfServers(Message):
    """A list of which each server has a part."""

    #: The servers whose part is missing; on the first page.
    missing: tuple[MissingServer, ...] = ()


class Request(BaseModel):
    """A request to the service. An unknown field is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    if not TYPE_CHECKING:  # type checkers read the fields

        def __init__(self, **fields: object) -> None:
            """Build a request; raises ``InvalidArgument`` (0x80070057) with the field that is not valid."""
            with checked():
                super().__init__(**fields)

        #: Messages that are read, rather than built, do not pass through it.
        __init__.__pydantic_base_init__ = True


class InnMessage(Message):
    """The service itself, and who the caller is to it."""

    product: str = "Innkeeper"
    version: str
    #: The computer it runs on (``TargetServer``).
    server: str
    #: ``ConnectedUser`` and ``ConnectedDomain``.
    user: str
    domain: str
    highest_version: int = HIGHEST_VERSION
    #: The service's own time: relative times are counted from it.
    now: AwareDatetime
    #: The simulated hypervisor carries the machines.
    fake: bool = False
    #: How it was proven who the caller is: ``peer``, ``password``, ``token``, ``session`` or ``ticket``.
    proof: str = "peer"
    #: The caller's role on the whole server; there may be more on some machines.
    role: str | None = None
    #: The operations on the whole server (``operation_id``) that the caller's role is enough for.
    allowed: tuple[str, ...] = ()


class AgentFilesMessage(Message):
    """The guest's task agent, for guests that `machine prepare` cannot reach."""

    #: The agent as one file; ``python3 FILE install`` in the guest installs it.
    bundle: Base64
    #: A cloud-config that installs it at a new guest's first boot.
    cloud_init: str


class VersionMessage(Message):
    """The versions of a client and of the service it found, if any."""

    version: str
    service: InnMessage | None


class HostHealth(Message):
    """Whether one host answers."""

    name: str
    uri: str
    ok: bool
    machines: int
    detail: str = ""


class LoopHealth(Message):
    """How one long-lived loop of the service does, such as the scheduler."""

    name: str
    #: Whether it runs well; one that failed is restarted by itself.
    ok: bool
    #: How often it has failed since it last ran well.
    failures: int
    #: What it last failed of.
    detail: str = ""


class DatabaseHealth(Message):
    """How the service's database does."""

    ok: bool
    #: What is wrong, and since when; empty where it answers.
    detail: str = ""


class RoomHealth(Message):
    """How much room a folder has that the service writes to."""

    path: str
    #: Whether it has a gibibyte free, or a tenth of its file system.
    ok: bool
    free_bytes: int
    total_bytes: int
    #: What is wrong; empty where there is room.
    detail: str = ""


class HealthMessage(Message):
    """Whether the service, its database, its hosts, its loops and its disks are well."""

    ok: bool
    live_tasks: int
    hosts: tuple[HostHealth, ...]
    loops: tuple[LoopHealth, ...] = ()
    database: DatabaseHealth = DatabaseHealth(ok=True)
    #: State, database, and folders of disks, undo disks among them.
    rooms: tuple[RoomHealth, ...] = ()
    #: What this computer lacks to confine programs that read guests' images, each in a sentence: no fault.
    unconfined: tuple[str, ...] = ()


class DiskMessage(Message):
    """One drive of a machine."""

    target: str
    device: str
    kind: str
    path: str
    format: str
    read_only: bool
    shared: bool


class MachineMessage(Message):
    """One virtual machine."""

    name: str
    #: What it is called here: its name, with its host's before it where another has a machine of this name.
    title: str = ""
    uuid: str
    host: str
    #: What the host is called by programs, whatever its name is.
    host_id: str = ""
    #: What the machine is called by programs: its UUID on its host. Every address takes it for its name.
    key: str = ""
    #: Other hosts that have this machine, defined once more: it is started on one of them only.
    also_on: tuple[str, ...] = ()
    state: MachineStateName
    memory_mib: int
    vcpus: int
    disks: tuple[DiskMessage, ...]
    autostart: bool
    has_agent_port: bool
    has_guest_agent_port: bool
    #: Somebody in the guest answers: its task agent, or qemu-guest-agent where there is none.
    agent_connected: bool
    #: How the guest is asked to update; nothing where nobody in it answers now.
    updates_through: GuestWay | None = None
    #: The live task that holds it.
    task_id: int | None
    #: The operations on it (``operation_id``) that the caller's role is enough for.
    allowed: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    undoable: bool = False
    #: Whether it can be maintained tonight, as was found when it was last looked at; nothing before that.
    can_be_maintained: bool | None = None
    #: What is in the way, where it cannot; ``GET /v1/machines/{name}/check`` has all of it.
    obstacle: str = ""
    #: What a roll back of an update would bring it back to, as far as it can be told without a look.
    roll_back: RollBack | None = None
    #: When it was seen last, where its host, or the server that looks after that, is away; nothing for now.
    as_of: AwareDatetime | None = None


class MachineList(Paged):
    """Machines, by name."""

    entries_field = "machines"

    machines: tuple[MachineMessage, ...]


class TaskMessage(Message):
    """One operation, running or ended (``IVMTask``)."""

    id: int
    kind: str
    description: str
    lock: str | None
    #: What people call that which it holds: a machine, a disk's path; empty where it holds nothing.
    about: str = ""
    parent_id: int | None
    owner: str
    created_at: AwareDatetime
    ended_at: AwareDatetime | None
    phase: str
    phase_number: int
    phase_count: int
    #: 0 to 100, or nothing where nobody knows.
    percent: int | None
    percent_completed: int
    bytes_done: int | None
    bytes_total: int | None
    #: Guessed from how far it has come, where that says something.
    seconds_left: int | None
    cancel_effect: CancelEffect
    cancel_requested: bool
    #: Why it does not go on now, in a sentence: its server is away. Empty where it does, or has ended.
    waits: str = ""
    is_cancelable: bool
    is_complete: bool
    result: TaskResultName | None
    #: The documented identifier of the late error, 0 where there is none.
    error: int
    error_description: str


class TaskList(Message):
    """Tasks, newest first."""

    tasks: tuple[TaskMessage, ...]
    #: Ask with this as ``before_id`` for what is older; nothing where there is no more.
    next_before_id: int | None = None


class LogLineMessage(Message):
    """One line of a task's log."""

    number: int
    at: AwareDatetime
    level: LogLevel
    text: str


class LogMessage(Message):
    """A task's log, from one line on."""

    task_id: int
    lines: tuple[LogLineMessage, ...]


class Accepted(Message):
    """A task was started (202)."""

    task: TaskMessage


#: The longest time that a guest may be given to shut down, in seconds: a day.
MAX_TIMEOUT_SECONDS = 86_400.0


class CommandRequest(Request):
    """What a machine is told more closely; without it, as usual."""

    #: How long the guest may take, for a command that waits for it; 300 if left out.
    timeout_seconds: float | None = Field(default=None, gt=0, le=MAX_TIMEOUT_SECONDS)


class PrepareRequest(Request):
    """Put the task agent into a guest."""

    #: Overwrite what an agent of another version left there.
    force: bool = False


class BookRequest(Request):
    """Book an update (``ScheduleTask``)."""

    machine: OneLine = Field(min_length=1, max_length=255)
    identifier: str = Field(min_length=1, max_length=255)
    label: str = Field(default="", max_length=255)
    #: Not before this; nothing for now.
    start: Moment | None = None
    #: No later start than this.
    end: Moment | None = None
    #: Complete by this.
    deadline: Moment | None = None
    context: Base64 = b""


class UpdateMessage(Message):
    """One update booked for one machine, and how it came out."""

    machine: str
    #: What programs call the machine, or its name where it had no key when it was booked.
    key: str = ""
    identifier: str
    label: str
    context_bytes: int
    start: AwareDatetime
    end: AwareDatetime | None
    deadline: AwareDatetime | None
    booked_by: str
    booked_at: AwareDatetime
    status: UpdateStatusName
    verdict: Verdict | None
    #: Why it has not started, or why it came out as it did.
    reason: str
    next_chance: AwareDatetime | None
    task_id: int | None
    #: The run itself, once it has started; in lists, while it is under way.
    task: TaskMessage | None = None


class UpdateList(Paged):
    """Bookings, by start."""

    entries_field = "updates"

    updates: tuple[UpdateMessage, ...]


class PackageMessage(Message):
    """One package that an update changed; an empty version means it was not there."""

    name: str
    old_version: str
    new_version: str


class ChecksumMessage(Message):
    """One base disk's content before the update and after the roll back."""

    path: str
    before: str
    after: str


class PhaseMessage(Message):
    """How long one phase took."""

    name: str
    seconds: float


class FindingMessage(Message):
    """One thing that was worse in the guest than before its update."""

    #: ``unit:shop.service``, ``listener:tcp/80``, ``mount:/srv``: the name to ignore it by.
    subject: str
    sentence: str
    #: Whether the update was rolled back for it.
    is_fault: bool
    #: Whether an administrator had said of this machine that it is no fault.
    is_ignored: bool
    #: What it was before; empty where there is nothing to tell.
    was: str
    #: What the guest said of it: how it ended, and its last lines in the journal.
    evidence: tuple[str, ...]


class ReportMessage(Message):
    """What an update run did."""

    task_id: int
    machine: str
    identifier: str
    label: str
    started_at: AwareDatetime
    ended_at: AwareDatetime
    verdict: Verdict
    reasons: tuple[str, ...]
    packages: tuple[PackageMessage, ...]
    phases: tuple[PhaseMessage, ...]
    found_state: str
    left_state: str
    reboots: int
    checksums: tuple[ChecksumMessage, ...]
    #: What the undo point held, and what a roll back came back to, in sentences; empty where none was taken.
    undo_point: str = ""
    findings: tuple[FindingMessage, ...] = ()
    reboot_words: str = ""
    #: What stands behind the guest's word: ``claimed``, ``consistent`` or ``contradicted``; null without an
    #: update that was looked at.
    proof: Proof | None = None
    #: The same in a sentence.
    proof_words: str = ""


class UpdateDetail(Message):
    """One booking, and its report once there is one."""

    update: UpdateMessage
    report: ReportMessage | None


class Nothing(Message):
    """Done, and nothing to tell (204)."""


class WindowRequest(Request):
    """Request of a window: when machines may be maintained, on weekdays, on dates, or both."""

    name: str = Field(max_length=100)
    #: Names or patterns of machines, such as ``web-*``; ``all`` for every machine.
    machines: tuple[OneLine, ...] = ("all",)
    #: The IANA name of its time zone.
    zone: OneLine = "UTC"
    #: The wall time in ``zone`` at which it opens.
    opens_at: dt.time
    duration_seconds: int = Field(ge=0, le=10**8)
    weekdays: tuple[Weekday, ...] = ()
    dates: tuple[dt.date, ...] = ()
    #: Local dates on which nothing may happen.
    blackouts: tuple[dt.date, ...] = ()


class OpeningMessage(Message):
    """One opening of a window."""

    start: AwareDatetime
    end: AwareDatetime


class WindowMessage(Message):
    """One window, and when it is open."""

    name: str
    machines: tuple[str, ...]
    zone: str
    opens_at: dt.time
    duration_seconds: int
    weekdays: tuple[Weekday, ...]
    dates: tuple[dt.date, ...]
    blackouts: tuple[dt.date, ...]
    #: The opening that holds now.
    open_now: OpeningMessage | None
    #: The first one that is still to come.
    next: OpeningMessage | None
    #: Of the machines, the names that none has which is known: told where a window is added.
    unknown: tuple[str, ...] = ()


class WindowList(Paged):
    """All windows, by name."""

    entries_field = "windows"

    windows: tuple[WindowMessage, ...]


class PlannedMessage(Message):
    """One booking's place in the night."""

    machine: str
    #: What programs call the machine.
    key: str = ""
    identifier: str
    label: str
    host: str
    #: The window it runs in; empty where none covers the machine.
    window: str
    #: When it starts (or has), and is predicted to end; nothing where it will not.
    start: AwareDatetime | None
    end: AwareDatetime | None
    fits: bool
    #: Why not, or what it waits for.
    reason: str
    next_chance: AwareDatetime | None
    #: The run's task, where it runs already.
    task_id: int | None
    #: What a roll back would bring the machine back to; nothing where that is not known.
    roll_back: RollBack | None = None


class TonightMessage(Message):
    """The plan of the night, as it looks now."""

    at: AwareDatetime
    until: AwareDatetime
    fits: bool
    entries: tuple[PlannedMessage, ...]


class EventMessage(Message):
    """One thing that happened."""

    id: str
    kind: str
    subject: str
    at: AwareDatetime
    data: Mapping[str, object]
    #: The documented events that it is.
    documented: tuple[DocumentedEvent, ...] = ()

    @property
    def machine_state(self) -> MachineState | None:
        """What the machine does now (``virtualMachineState``); nothing for events of another kind."""
        return STATES.get(self.kind)


class Problem(Message):
    """Why a request was refused (RFC 9457), with the documented error identifier."""

    #: ``urn:innkeeper:error:MachineBusy``
    type: str
    title: str
    status: int
    #: One sentence for a person.
    detail: str
    #: The class of the error: ``MachineBusy``.
    error: str
    #: The documented identifier, as a number and by name.
    hresult: int
    code: str
    #: What to do next, or empty.
    advice: str = ""
    #: What the error carries for programs: ``machine``, ``task_id``, ``state`` …
    extra: Mapping[str, str | int] = {}
