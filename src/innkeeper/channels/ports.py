"""The guest's task agent, as the host uses it (``IRDVTaskPlugin`` seen from the trigger agent)."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Protocol

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
    """What the guest says of its own health, at one moment."""

    boot_id: str
    kernel: str
    #: ``running``, ``degraded``, ``starting`` … as systemd says; empty without systemd.
    system_state: str
    failed_units: frozenset[str]
    #: ``tcp:0.0.0.0:22``
    listeners: frozenset[str]
    mounts: frozenset[str]
    package_database_ok: bool
    reboot_required: bool
    #: Name of each check that failed, with what it printed; see ``WANTED`` for those that are only wanted.
    failed_checks: Mapping[str, str]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class AgentTask:
    """What the agent's journal says of one update it was given."""

    identifier: str
    status: UpdateStatus
    #: Percent of the agent's own work, where it knows.
    percent: int | None
    #: The agent's words for what it does or why it failed.
    text: str
    packages: tuple[PackageChange, ...]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class AgentHello:
    """Who answered."""

    agent_version: str
    boot_id: str
    plugin_name: str
    os_name: str
    tasks: tuple[AgentTask, ...]


# What the guest tells by itself


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TaskStateChanged:
    """``OnTaskStateChange``, with the agent's progress."""

    task: AgentTask


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class GuestOutput:
    """What the update printed."""

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


class GuestAgent(Protocol):
    """One live session with the task agent of one machine.

    Every call raises ``AgentError`` when the session is lost or the answer does not come in time.
    """

    @property
    def hello(self) -> AgentHello: ...

    async def start_task(self, label: str, identifier: str, context: bytes) -> AgentTask:
        """``StartTask``; a known identifier starts nothing and returns its state."""

    async def task(self, identifier: str) -> AgentTask | None:
        """What the agent's journal says of it, or ``None``."""

    async def cancel_task(self, identifier: str) -> None:
        """Ask the agent to stop it; best effort."""

    async def health(self) -> HealthReport: ...

    async def reboot(self) -> None:
        """Ask the guest to reboot; returns when it has agreed."""

    async def shut_down(self) -> None: ...

    def messages(self) -> AsyncIterator[GuestMessage]:
        """What the guest tells from now on, until the session is lost."""


class GuestAgents(Protocol):
    """The task agents of all running machines: sessions are made and made again by themselves."""

    async def connected(self, machine: str, *, timeout: float, other_boot_than: str = "") -> GuestAgent:
        """A live session, or ``AgentError`` when none came in ``timeout`` seconds.

        With ``other_boot_than``, only a session of another boot will do.
        """

    def is_connected(self, machine: str) -> bool: ...


# What the agents need from the house


class BytePipe(Protocol):
    """A two-way pipe of bytes to a port in the guest. It has no end that the guest can see."""

    async def read(self) -> bytes:
        """At least one byte, or empty when the pipe is gone."""

    async def write(self, data: bytes) -> None:
        """Write all, waiting while the guest does not read."""

    async def close(self) -> None: ...


#: Open the host's end of a machine's agent port. Raises ``AgentError`` where there is none.
OpenPort = Callable[[str], Awaitable[BytePipe]]

#: Asked once for every booking a guest makes or deletes, with the machine's name. Returns the
#: reason it is refused, a sentence the guest is told, or empty when it is accepted.
OnBooking = Callable[[str, ScheduleRequested | ScheduleDeleted], Awaitable[str]]
