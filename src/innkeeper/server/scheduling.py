"""Put the scheduler on top of tasks and machines."""

from __future__ import annotations

import dataclasses
import secrets
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from innkeeper.errors import ErrorCode, ScheduleError
from innkeeper.machines.service import Machines
from innkeeper.schedule.calendar.directory import CalendarDirectory
from innkeeper.schedule.calendar.host import host_zone
from innkeeper.schedule.computer import LinuxAccounts, LinuxConditions
from innkeeper.schedule.handlers import Handler, Handlers, TaskHandlerStatus
from innkeeper.schedule.inn_events import InnEvents
from innkeeper.schedule.instance import Instances
from innkeeper.schedule.linux.boot import Boots
from innkeeper.schedule.linux.idle import Idleness
from innkeeper.schedule.linux.journalctl import Journal
from innkeeper.schedule.linux.logind import Logind
from innkeeper.schedule.notices import Notices
from innkeeper.schedule.ports import Accounts, Calendars, ScheduleStore, Starts
from innkeeper.schedule.registered import Watch
from innkeeper.schedule.registry import Registry
from innkeeper.schedule.scheduler import Scheduler
from innkeeper.schedule.sources import Source, Sources
from innkeeper.schedule.starters import Starters
from innkeeper.schedule.watcher import Watcher
from innkeeper.tasks.ports import Clock
from innkeeper.tasks.service import Tasks
from innkeeper.tasks.task import Task, TaskResult
from innkeeper.wire.events import Publish

#: Whose name the operations on machines bear that a schedule starts.
_OWNER: Final = "schedule"

#: The class ids of Innkeeper's own operations on machines; each is given the machine's name as data.
MACHINE_OPERATIONS: Final = {
    "startup": "{6F1D2A10-8C0E-4E7B-9C55-1B1F0E5A0001}",
    "save": "{6F1D2A10-8C0E-4E7B-9C55-1B1F0E5A0002}",
    "shut_down": "{6F1D2A10-8C0E-4E7B-9C55-1B1F0E5A0003}",
    "turn_off": "{6F1D2A10-8C0E-4E7B-9C55-1B1F0E5A0004}",
    "merge_undo_disks": "{6F1D2A10-8C0E-4E7B-9C55-1B1F0E5A0005}",
    "discard_undo_disks": "{6F1D2A10-8C0E-4E7B-9C55-1B1F0E5A0006}",
}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Scheduling:
    """The scheduler's parts: what is registered, and what starts it."""

    registry: Registry
    scheduler: Scheduler
    handlers: Handlers
    watcher: Watcher
    notices: Notices
    #: Takes every event of the inn, for event triggers.
    heed: Publish
    accounts: Accounts
    calendars: Calendars
    #: As whom starts by hand run.
    starters: Starters


def scheduling(
    *,
    store: ScheduleStore,
    tasks: Tasks,
    machines: Machines,
    clock: Clock,
    state_dir: Path,
    starts: Starts | None,
    simulated: bool = False,
) -> Scheduling:
    """The scheduler of this service; its calendars are the files in ``calendars`` of the state directory.

    A ``simulated`` house hears nothing of the real computer's starts, people, load and journal.
    """
    logind = Logind(clock=clock)
    accounts = LinuxAccounts(logged_on=logind.users)
    calendars, home = CalendarDirectory(state_dir / "calendars"), host_zone()
    handlers = machine_handlers(machines, tasks)
    instances = Instances(
        store=store,
        clock=clock,
        accounts=accounts,
        conditions=LinuxConditions(),
        handlers=handlers,
        starts=starts,
    )
    scheduler = Scheduler(
        store=store, tasks=tasks, instances=instances, calendars=calendars, clock=clock, home=home
    )

    async def channels() -> frozenset[str]:
        return await watcher.channels()

    inn_events = InnEvents(channels, life=secrets.token_hex(6), computer=socket.gethostname())
    journal = Journal(channels, clock=clock)
    computer = () if simulated else _sources(store, clock, logind, journal)
    sources = Sources((inn_events, *computer))
    registry = Registry(
        store=store,
        accounts=accounts,
        calendars=calendars,
        clock=clock,
        home=home,
        changed=lambda: watcher.forget(),
    )
    watcher = Watcher(
        store=store,
        accounts=accounts,
        calendars=calendars,
        clock=clock,
        home=home,
        sources=sources,
        disable=lambda task: registry.set_enabled(task, False),
        wake=scheduler.wake,
    )
    return Scheduling(
        registry=registry,
        scheduler=scheduler,
        handlers=handlers,
        watcher=watcher,
        notices=Notices(
            sources=sources,
            journal=lambda: "the house is simulated" if simulated else journal.missing,
            idle=lambda: sources.missing(Watch.IDLE),
        ),
        heed=inn_events.heed,
        accounts=accounts,
        calendars=calendars,
        starters=Starters(accounts, logind.user_of),
    )


def _sources(store: ScheduleStore, clock: Clock, logind: Logind, journal: Journal) -> tuple[Source, ...]:
    """What this computer tells of itself."""
    return (
        Boots(store=store, clock=clock, computer=socket.gethostname()),
        logind,
        Idleness(clock=clock, people=lambda: logind.is_idle),
        journal,
    )


def machine_handlers(machines: Machines, tasks: Tasks) -> Handlers:
    """The operations on machines, as handlers by class id."""
    starts: dict[str, Callable[..., Awaitable[Task]]] = {
        "startup": machines.startup,
        "save": machines.save,
        "shut_down": machines.shut_down,
        "turn_off": machines.turn_off,
        "merge_undo_disks": machines.merge_undo_disks,
        "discard_undo_disks": machines.discard_undo_disks,
    }
    handlers = Handlers()
    for name, start in starts.items():
        handlers.register(MACHINE_OPERATIONS[name], name, _following(start, tasks))
    return handlers


def _following(start: Callable[..., Awaitable[Task]], tasks: Tasks) -> Handler:
    """A handler that starts an operation on the machine named in its data, and follows it to its end."""

    async def handler(status: TaskHandlerStatus, data: str) -> None:
        task = await start(data.strip(), owner=_OWNER)
        status.update_status(0, f"{task.description} (task {task.id})")
        await tasks.wait(task.id)
        ended = await tasks.get(task.id)
        if ended.result is not TaskResult.SUCCESS:
            raise ScheduleError(
                ended.error_description or "The operation was cancelled.", code=ErrorCode.E_FAIL
            )

    return handler
