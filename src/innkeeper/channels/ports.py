"""The guest's task agent, as the host uses it (``IRDVTaskPlugin`` seen from the trigger agent)."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from innkeeper.channels.guest_details import Effect, GuestDetails
from innkeeper.errors import AgentError
from innkeeper.wire.byte_pipe import BytePipe
from innkeeper.wire.guest_facts import Ability, GuestFacts, GuestParameter, LogonSession, WaitingUpdate
from innkeeper.wire.states import GuestWay as GuestWay
from innkeeper.wire.states import UpdateStatus as UpdateStatus


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PackageChange:
    """One package that an update changed; an empty version means it was not there."""

    name: str
    old_version: str
    new_version: str


#: How the name of a check begins that is worth a warning, and no reason to roll back (``wanted.d``).
WANTED = "wanted: "


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class HealthReport:
    """A guest's report of its own health, at one moment."""

    boot_id: str
    kernel: str
    #: ``running``, ``degraded``, ``starting`` … as the guest's init says; empty where that does not say.
    system_state: str
    failed_units: frozenset[str]
    #: ``tcp:0.0.0.0:22``
    listeners: frozenset[str]
    mounts: frozenset[str]
    package_database_ok: bool
    reboot_required: bool
    #: Name of each check that failed, with what it printed; see ``WANTED`` for those that are only wanted.
    failed_checks: Mapping[str, str]
    #: What a newer agent tells beside; ``None`` for an old one, and where there is more than fits.
    details: GuestDetails | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class AgentTask:
    """The agent's journal entry of one update."""

    identifier: str
    status: UpdateStatus
    #: Percent of the agent's own work, where it knows.
    percent: int | None
    #: The agent's words for what it does or why it failed.
    text: str
    packages: tuple[PackageChange, ...]
    #: Whether it failed before it changed anything in the guest; former agents do not say so.
    unchanged: bool = False


class PreparationState(enum.StrEnum):
    """How far the preparation of an update is."""

    RUNNING = "running"
    #: All that the update needs is in the guest's caches.
    READY = "ready"
    #: The guest was looked at, and there is nothing to do.
    NOTHING = "nothing"
    FAILED = "failed"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Preparation:
    """What the agent says of the preparation of an update."""

    state: PreparationState
    #: What it does, or what it came to; may be empty while it runs.
    text: str
    #: What the update will change, as far as it is known.
    packages: tuple[PackageChange, ...]
    #: What was printed since the offset that was asked from, and the offset to ask from next.
    output: tuple[str, ...]
    offset: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class AgentHello:
    """The agent's HELLO message."""

    agent_version: str
    boot_id: str
    plugin_name: str
    os_name: str
    tasks: tuple[AgentTask, ...]
    #: How many streams to its guest's TCP ports it carries; 0 for an agent of before there were any.
    max_streams: int = 0
    #: What it can do beyond updates.
    knows: frozenset[Ability] = frozenset()
    #: How long the guest may take to go down or come up, where that is longer than usual.
    away_seconds: int = 0


# What the guest tells by itself


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TaskStateChanged:
    """``OnTaskStateChange``, with the agent's progress."""

    task: AgentTask


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class GuestOutput:
    """Output of the update."""

    identifier: str
    text: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ScheduleRequested:
    """``ScheduleTask``: the guest books an update for itself."""

    label: str
    identifier: str
    context: bytes
    start: dt.datetime
    end: dt.datetime | None
    deadline: dt.datetime | None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ScheduleDeleted:
    """``DeleteSchedule``."""

    identifier: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class AgentTerminated:
    """``OnTerminated``: the agent asks to be shut down."""

    hresult: int


#: What a session's ``messages()`` gives.
GuestMessage = TaskStateChanged | GuestOutput | ScheduleRequested | ScheduleDeleted | AgentTerminated


class StreamListener(Protocol):
    """The host's end of a stream: what happens in the guest is told here, never twice and never out of order.

    No method may block or raise.
    """

    def joined(self) -> None:
        """The guest's server has accepted the connection."""

    def received(self, data: bytes) -> None:
        """Take bytes from the server; call ``consumed`` when they are processed."""

    def writable(self) -> None:
        """Write again, since there is room."""

    def ended(self) -> None:
        """The server has ended its direction."""

    def lost(self, reason: str) -> None:
        """The stream is gone: refused, broken, or its session lost. Nothing follows."""


class GuestStream(Protocol):
    """A stream of bytes to one TCP port of a guest. Nothing blocks; a stream that is gone takes nothing."""

    @property
    def room(self) -> int:
        """Bytes that ``write`` would take now; 0 means: wait for ``writable``."""

    def write(self, data: bytes | memoryview) -> int:
        """Send as much as there is room for; returns how much that was. The data is not kept."""

    def consumed(self, size: int) -> None:
        """Report received bytes as processed: the guest may send as many again."""

    def finish(self) -> None:
        """End the sending direction."""

    def reset(self) -> None:
        """Break the stream; its listener is not called any more."""


class GuestAgent(Protocol):
    """One live session with the task agent of one machine.

    Every call raises ``AgentError`` when the session is lost or the answer does not come in time.
    """

    @property
    def hello(self) -> AgentHello: ...

    async def prepare(
        self, label: str, identifier: str, context: bytes, *, attempt: str, offset: int
    ) -> Preparation:
        """Refresh, simulate and download an update on the running guest, touching nothing but caches.

        Returns how far that is. The first call begins it; the same ``attempt`` is never begun twice.
        """

    async def stop_preparing(self, identifier: str) -> None:
        """Ask the agent to stop a preparation; best effort."""

    async def start_task(
        self, label: str, identifier: str, context: bytes, *, attempt: str = ""
    ) -> AgentTask:
        """``StartTask``; a known identifier starts nothing and returns its state.

        But for one that failed and changed nothing, where another ``attempt`` asks.
        """

    async def task(self, identifier: str) -> AgentTask | None:
        """Return the agent's journal entry of an update, or ``None``."""

    def last_words(self, identifier: str) -> AsyncIterator[str]:
        """What an update that has ended printed, and no message has told: a kit is asked for it."""

    async def cancel_task(self, identifier: str) -> None:
        """Ask the agent to cancel an update; best effort."""

    async def health(self, *, history: bool = False) -> HealthReport:
        """The guest's own report; ``history``: with the units that failed in the week before."""

    async def evidence(self, units: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """What is known of units in trouble, in lines: how each ended, and its last words in the journal."""

    async def effect(self) -> Effect:
        """Whether an update has taken effect: who still runs old files, and what only a reboot changes."""

    async def restart_units(self, units: Sequence[str]) -> Sequence[str]:
        """Begin to restart units; those that nobody may restart unasked are left out of the answer."""

    async def disturbed(self, identifier: str, *, start: bool) -> Sequence[str]:
        """The units whose jobs failed because an update held a lock; ``start`` starts them again, once."""

    async def reboot(self) -> None:
        """Ask the guest to reboot; returns when it has agreed."""

    async def shut_down(self) -> None: ...

    async def may_reach(self, port: int) -> bool:
        """Whether the guest's administrator allows channels to this port."""

    def open_stream(self, port: int, listener: StreamListener) -> GuestStream:
        """Ask for a connection to 127.0.0.1 at this port of the guest; ``listener`` is told how it goes."""

    def knows(self, ability: Ability) -> bool:
        """Whether the agent has an ability, which older ones may lack."""

    async def version(self) -> str: ...

    async def boot_id(self) -> str: ...

    async def ping(self) -> None:
        """Return when the agent has answered."""

    async def facts(self) -> GuestFacts:
        """Return the guest's facts."""

    async def sessions(self) -> Sequence[LogonSession]:
        """Return who is logged on."""

    async def log_off(self) -> int:
        """Log everybody off; returns how many sessions were told to end."""

    async def parameters(self) -> Mapping[str, GuestParameter]:
        """Return the named values that the guest keeps."""

    async def set_parameter(self, name: str, value: str | None, *, revision: int) -> None:
        """Set a named value; ``None`` removes it."""

    async def scan(self) -> Sequence[WaitingUpdate]:
        """Return the updates that wait; refreshes the guest's sources, and installs nothing."""

    async def set_time(self, seconds: float) -> None:
        """Set the guest's clock to seconds since 1970."""

    def messages(self) -> AsyncIterator[GuestMessage]:
        """Yield the guest's messages from now on, until the session is lost."""


class GuestAgents(Protocol):
    """Task agents of all running machines, with sessions that are re-established by themselves."""

    async def connected(
        self, machine: str, *, timeout: float, other_boot_than: str = "", told: float | None = None
    ) -> GuestAgent:
        """Return a live session, or raise ``AgentError`` when none came in ``timeout`` seconds.

        With ``other_boot_than``, only a session of another boot will do. ``told`` is the time that the words
        name, where ``timeout`` is what is left of it.
        """

    def is_connected(self, machine: str) -> bool:
        """Whether somebody in the guest answers now, as far as is known."""

    def way(self, machine: str) -> GuestWay | None:
        """How the guest is reached now; ``None`` where nobody answers."""

    def silence(self, machine: str) -> AgentError | None:
        """Why nobody in the guest answers, where more is known than that."""

    def limits(self, machine: str) -> tuple[str, ...]:
        """What cannot be done or told in this guest as it is reached now, a sentence each."""

    def heartbeat(self, machine: str) -> int | None:
        """Percent of the heartbeats of the last minute; nothing before the first, or where it is off."""


# What the agents need from the house


@runtime_checkable
class QuickPipe(Protocol):
    """Optional abilities of a pipe: to be written and read without waiting."""

    @property
    def is_free(self) -> bool:
        """Whether all that was written has gone, or nearly."""

    def send(self, data: bytes) -> None:
        """Write all, now or later. Only where the pipe is free; a closed one drops it."""

    def hear(self, take: Callable[[bytes | memoryview], int]) -> None:
        """Offer ``take`` what comes, in the turn that reads it; it returns how many bytes it took. The
        rest, and all until that is read, is there for ``read``. The bytes are not to be kept."""


#: Open the host's end of a machine's agent port. Raises ``AgentError`` where there is none.
OpenPort = Callable[[str], Awaitable[BytePipe]]

#: Asked once for every booking a guest makes or deletes, with the machine's name. Returns the
#: reason it is refused, a sentence the guest is told, or empty when it is accepted.
OnBooking = Callable[[str, ScheduleRequested | ScheduleDeleted], Awaitable[str]]
