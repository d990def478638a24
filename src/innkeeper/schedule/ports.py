"""Ports: what the scheduler needs from stores, accounts and the computer."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Awaitable, Mapping, Sequence
from typing import Protocol

from innkeeper.schedule.calendar.named import NamedCalendar
from innkeeper.schedule.path import SchedulePath
from innkeeper.schedule.registered import Folder, NumberedRun, Registered, Run, RunFilter, Watch


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """Result of one look at a due task: the runs it starts, and the task's new state."""

    #: The task as it was read; the claim is void where it has been handled further since.
    seen: Registered
    handled_until: dt.datetime
    next_due: dt.datetime | None
    missed_runs: int
    runs: tuple[Run, ...] = ()


class ScheduleStore(Protocol):
    """Keeps folders, tasks and runs. Every write is durable, whole or not at all, when the call returns."""

    async def folders(self) -> Sequence[Folder]:
        """All folders but the root, in the order of their paths."""

    async def put_folders(self, folders: Sequence[Folder]) -> None:
        """Add folders, or change the descriptors of those that are there."""

    async def remove_folder(self, path: SchedulePath) -> None:
        """Remove an empty folder; does nothing where it is gone."""

    async def put(self, tasks: Sequence[Registered]) -> Sequence[Registered]:
        """Add tasks (id 0), or replace those of these ids, all at once; returns them with their ids.

        Raises ``ScheduleError`` (0x800700B7) where a path is taken.
        """

    async def change(self, seen: Registered, task: Registered) -> bool:
        """Write what differs of a task that is still registered as it was seen; whether it was."""

    async def register(self, task: Registered, around: Sequence[SchedulePath]) -> Registered:
        """Add a task (id 0), or replace the one of its id, and make the folders around it that are missing.

        One write. Raises ``ScheduleError`` (0x800700B7) where another task or a folder has its path.
        """

    async def find(self, path: SchedulePath) -> Registered | None: ...

    async def get(self, task_id: int) -> Registered | None: ...

    async def tasks(self, folder: SchedulePath | None = None) -> Sequence[Registered]:
        """The tasks directly in a folder, or all, in the order of their paths."""

    async def remove(self, task_id: int) -> None:
        """Delete a task and its history. Does nothing where it is gone."""

    async def watching(self, watches: Watch) -> Sequence[Registered]:
        """The enabled tasks that any of these concerns, in the order of their ids."""

    async def unsettled(self) -> Sequence[Registered]:
        """The tasks of which it was never found out which machines they name, in the order of their ids."""

    async def set_series(self, task: Registered) -> None:
        """Write which repetitions of a task are under way, and when to look at it next."""

    async def boot_id(self, computer: str) -> str:
        """The boot in which the service last ran on a computer; empty where never."""

    async def set_boot_id(self, computer: str, boot_id: str) -> None: ...

    async def due(
        self, until: dt.datetime, limit: int, *, after: tuple[dt.datetime, int] | None = None
    ) -> Sequence[Registered]:
        """The enabled tasks to look at until then, soonest first; from behind a moment and an id."""

    async def claim(self, claims: Sequence[Claim]) -> Sequence[Run]:
        """Move tasks on and write their runs, in one transaction; returns the runs that are ours to start.

        A task that another server has moved on in the meantime is left alone, and so is a run of an
        occurrence that is claimed.
        """

    async def put_run(self, run: Run, *, lazily: bool = False) -> bool:
        """Add a run, or change the one of this id; whether it stands (its occurrence was free).

        ``lazily``, a power cut may take it back (kill -9 never does).
        """

    async def set_operation(self, run_id: str, operation: int) -> None:
        """Record which operation carries a run, and change nothing else. A power cut may undo it."""

    def begin_run(self, run: Run) -> Awaitable[object]:
        """Write that an operation carries a run, which is added where it is not there.

        Under way when this returns, and written once it is awaited. A power cut may take it back.
        """

    def end_run(self, run: Run, task: Registered | None) -> Awaitable[object]:
        """Write a run's end, and its task's last run and result with it.

        Under way when this returns, and written once it is awaited. A power cut may take it back.
        """

    async def run(self, run_id: str) -> Run | None: ...

    async def search(
        self, wanted: RunFilter, *, before: int | None = None, limit: int
    ) -> Sequence[NumberedRun]:
        """The runs that are wanted, newest first, each with its number, which is below ``before``."""

    async def waiting(self) -> Sequence[Run]:
        """The live runs that no operation carries, the oldest first."""

    async def runs(
        self, task_id: int | None = None, *, live: bool | None = None, limit: int = 100
    ) -> Sequence[Run]:
        """Return runs, newest first."""


class Starts(Protocol):
    """This server's starts, kept where a kill of it does not reach."""

    def intend(self, run_id: str) -> None:
        """Record that this server will begin an instance, before the store says that anybody will."""

    def begin(self, run_id: str) -> None:
        """Record that the instance's first action has begun."""

    def sign(self, run_id: str) -> bytes | None:
        """Path of a file that the first program creates at its begin, not later."""

    def forget(self, run_id: str) -> None:
        """Forget an instance whose end is in the store."""

    def may_have_begun(self, run_id: str) -> bool:
        """``False`` only where it was intended here and has certainly not begun."""


class Accounts(Protocol):
    """The accounts of this computer."""

    def find(self, name: str) -> str | None:
        """The account that a name or a security identifier means, or ``None``."""

    def has_group(self, name: str) -> bool: ...

    def own(self) -> str:
        """The service's own account."""

    def can_become(self, name: str) -> bool:
        """Whether the service can run programs as an account."""

    def member_logged_on(self, group: str) -> str | None:
        """Somebody of a group who is logged on."""

    def identifier(self, name: str) -> str:
        """The security identifier of an account; empty where there is none."""


class Conditions(Protocol):
    """Conditions of this computer."""

    def on_batteries(self) -> bool | None:
        """Whether the computer runs on batteries; ``None`` where it cannot be known."""

    def has_network(self) -> bool | None: ...

    def has_this_network(self, name: str | None, identifier: str | None) -> bool | None:
        """Whether the network of a name, or of an identifier, is there; ``None`` where neither is said."""

    def is_idle(self) -> bool | None: ...

    def is_busy(self) -> bool:
        """Whether idleness is over for what was started because of it."""


class Secrets(Protocol):
    """Passwords that definitions name but do not contain."""

    def find(self, name: str) -> str | None:
        """Return the secret of a name. Blocks."""


class Messages(Protocol):
    """Shows messages to who is logged on."""

    async def show(self, title: str, body: str, user: str | None) -> int:
        """Show a message to a user, or to everybody; returns to how many."""


class Calendars(Protocol):
    """The named calendars of the service."""

    async def named(self) -> Mapping[str, NamedCalendar]: ...
