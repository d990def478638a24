"""Registered tasks, folders and runs, as rows."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
from collections.abc import Mapping, Sequence
from typing import Any, Final

from innkeeper.errors import ErrorCode
from innkeeper.schedule.path import SchedulePath
from innkeeper.wire.states import RunState as RunState


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Folder:
    """A folder of tasks (``ITaskFolder``)."""

    path: SchedulePath
    #: Who may do what with it, in SDDL; empty where nothing was said.
    sddl: str = ""


class Watch(enum.IntFlag):
    """Kinds of occasions, besides the clock, that a task waits for."""

    NOTHING = 0
    EVENT = 0x01
    BOOT = 0x02
    LOGON = 0x04
    SESSION = 0x08
    IDLE = 0x10
    #: It takes part in maintenance.
    MAINTENANCE = 0x20
    #: The computer is to be woken for it.
    WAKE = 0x40
    #: It is disabled whenever the computer has started.
    VOLATILE = 0x80


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """The repetitions of a trigger that something else than the clock has fired."""

    #: The trigger's number, from 1.
    trigger: int
    #: When its first start was due.
    since: dt.datetime


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Registered:
    """A registered task (``IRegisteredTask``): its definition and its state."""

    #: Unique for the life of the service; 0 before it is stored.
    id: int = 0
    path: SchedulePath
    #: The definition, in UTF-8 and in our own order.
    xml: str
    enabled: bool
    hidden: bool
    sddl: str
    #: Who registered it.
    owner: str
    registered_at: dt.datetime
    #: What its random delays are drawn from.
    seed: int
    #: All time triggers up to here have been dealt with.
    handled_until: dt.datetime
    #: When to look at it next; ``None`` where no clock will start it.
    next_due: dt.datetime | None = None
    last_run: dt.datetime | None = None
    #: The exit code of the last action of the last run, or a result code.
    last_result: int = int(ErrorCode.SCHED_S_TASK_HAS_NOT_RUN)
    #: Starts missed since the last success, or since it was registered.
    missed_runs: int = 0
    #: What else than the clock concerns it.
    watches: Watch = Watch.NOTHING
    #: The repetitions that are under way, one a trigger at most.
    series: tuple[Series, ...] = ()
    #: The id of the server at which it was registered; empty where that is not known.
    server: str = ""
    #: Which machines its operations name, and their keys; ``None`` where that was never found out.
    machines: tuple[tuple[str, str], ...] | None = None

    @property
    def keys(self) -> Mapping[str, str]:
        """The keys of the machines that its operations name, by what they are called there."""
        return dict(self.machines or ())


#: What is so while a task is registered as it was seen: people change it, and claims move it on.
REGISTERED_FIELDS: Final = ("xml", "enabled", "hidden", "sddl", "owner", "registered_at", "handled_until")


def differences(seen: Registered, task: Registered) -> dict[str, Any]:
    """The fields in which a task differs from what was seen of it, with its own values."""
    names = (field.name for field in dataclasses.fields(Registered))
    return {name: getattr(task, name) for name in names if getattr(task, name) != getattr(seen, name)}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One instance of a registered task (``IRunningTask``), live or in the history."""

    #: ``InstanceGuid``.
    id: str
    task_id: int
    #: What makes it start once alone: the trigger's number and its moment, or the instance's id.
    occurrence: str
    #: The trigger's number, from 1; 0 where a person started it.
    trigger: int
    #: When it was to start, random delay included.
    due: dt.datetime
    state: RunState
    #: The arguments of a start by hand, for ``$(Arg0)`` and on.
    arguments: tuple[str, ...] = ()
    #: What the event that fired it gave (``ValueQueries``), by name.
    given: Mapping[str, str] = dataclasses.field(default_factory=dict)
    #: The account it was started as by hand (``RunEx``); the principal's where empty.
    run_as: str = ""
    #: When the pattern ends that started it, where it is stopped then (``StopAtDurationEnd``).
    ends_by: dt.datetime | None = None
    #: The running operation that carries it, where there is one.
    operation: int | None = None
    started_at: dt.datetime | None = None
    ended_at: dt.datetime | None = None
    #: The exit code or result code; 0 before the end.
    result: int = 0
    #: Why it is in this state, for a person.
    reason: str = ""
    #: The number of the action being done, from 1 (``CurrentAction``).
    action: int = 0
    #: Which try it is, from 1.
    attempt: int = 1

    @property
    def has_succeeded(self) -> bool:
        """Whether the task has done what it is for."""
        return self.state is RunState.FINISHED and not self.result


#: A run and its number: later ones have greater numbers.
NumberedRun = tuple[int, Run]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class RunFilter:
    """Which runs are wanted: those for which all that is said holds."""

    #: Of this task.
    task_id: int | None = None
    #: Those that have not ended, or those that have.
    live: bool | None = None
    #: In the task's path, or in the run's own reason, in any case.
    text: str = ""
    #: In one of these states, where any are given.
    states: Sequence[RunState] = ()
