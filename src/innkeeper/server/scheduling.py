"""Composition of the scheduler over tasks and machines."""

from __future__ import annotations

import dataclasses
import datetime as dt
import secrets
import socket
from pathlib import Path
from typing import Final

from innkeeper.schedule.calendar.directory import CalendarDirectory
from innkeeper.schedule.linux.boot import Boots
from innkeeper.schedule.linux.computer import LinuxAccounts, LinuxConditions
from innkeeper.schedule.linux.idle import Idleness
from innkeeper.schedule.linux.journalctl import Journal
from innkeeper.schedule.linux.logind import Logind
from innkeeper.schedule.linux.terminals import Terminals
from innkeeper.schedule.linux.wake import WakeAlarm
from innkeeper.schedule.ports import Accounts, Calendars, ScheduleStore, Starts
from innkeeper.schedule.registered import Watch
from innkeeper.schedule.registry import Registry
from innkeeper.schedule.running.handlers import Handlers
from innkeeper.schedule.running.inn_events import InnEvents
from innkeeper.schedule.running.instance import Instances
from innkeeper.schedule.running.maintenance import Maintenance, MaintenanceWindow
from innkeeper.schedule.running.notices import Notices
from innkeeper.schedule.running.scheduler import IsOurs, Scheduler, every_task
from innkeeper.schedule.running.secrets import SecretFiles, directories
from innkeeper.schedule.running.sources import Source, Sources
from innkeeper.schedule.running.starters import Starters
from innkeeper.schedule.running.waker import Waker
from innkeeper.schedule.running.watcher import Watcher
from innkeeper.tasks.ports import Clock
from innkeeper.tasks.service import Tasks
from innkeeper.wire.events import Publish

#: Why a simulated house hears nothing of the computer that it is simulated on.
_SIMULATED: Final = "the machines are simulated"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Scheduling:
    """The scheduler's parts: registered tasks, and what starts them."""

    registry: Registry
    scheduler: Scheduler
    handlers: Handlers
    watcher: Watcher
    notices: Notices
    #: Takes every event of the inn, for event triggers.
    on_event: Publish
    accounts: Accounts
    calendars: Calendars
    maintenance: Maintenance
    waker: Waker
    #: As whom starts by hand run.
    starters: Starters


def scheduling(
    *,
    store: ScheduleStore,
    tasks: Tasks,
    handlers: Handlers,
    clock: Clock,
    home: dt.tzinfo,
    state_dir: Path,
    window: MaintenanceWindow,
    starts: Starts | None,
    simulated: bool = False,
    server: str = "",
    is_ours: IsOurs = every_task,
) -> Scheduling:
    """Compose the scheduler; its calendars are the files in ``calendars`` of the state directory.

    Local times are in the zone ``home``. ``server`` is this server's id, and ``is_ours`` says which tasks it
    starts, of those that share the store. A ``simulated`` house hears nothing of the real computer's starts,
    people, load and journal.
    """
    logind = Logind(clock=clock)
    accounts = LinuxAccounts(logged_on=logind.users)
    calendars = CalendarDirectory(state_dir / "calendars")
    idleness = Idleness(clock=clock, people=lambda: logind.is_idle)
    conditions, alarm = LinuxConditions(idleness=idleness), WakeAlarm()
    instances = Instances(
        store=store,
        clock=clock,
        accounts=accounts,
        conditions=conditions,
        handlers=handlers,
        starts=starts,
        secrets=SecretFiles(directories(state_dir)),
        messages=Terminals(lambda: logind.sessions),
    )
    scheduler = Scheduler(
        store=store,
        tasks=tasks,
        instances=instances,
        calendars=calendars,
        clock=clock,
        home=home,
        is_ours=is_ours,
    )

    async def channels() -> frozenset[str]:
        return await watcher.channels()

    inn_events = InnEvents(channels, life=secrets.token_hex(6), computer=socket.gethostname())
    journal = Journal(channels, clock=clock)
    computer = () if simulated else _sources(store, clock, logind, idleness, journal)
    sources = Sources((inn_events,), otherwise=_SIMULATED) if simulated else Sources((inn_events, *computer))
    registry = Registry(
        store=store,
        accounts=accounts,
        calendars=calendars,
        clock=clock,
        home=home,
        changed=lambda: watcher.forget(),
        server=server,
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
            journal=lambda: _SIMULATED if simulated else journal.missing,
            idle=lambda: sources.missing(Watch.IDLE),
            wake=alarm.missing,
        ),
        maintenance=Maintenance(
            store=store, scheduler=scheduler, clock=clock, home=lambda: home, window=window
        ),
        waker=Waker(store=store, clock=clock, alarm=alarm),
        on_event=inn_events.on_event,
        accounts=accounts,
        calendars=calendars,
        starters=Starters(accounts, logind.user_of),
    )


def _sources(
    store: ScheduleStore, clock: Clock, logind: Logind, idleness: Idleness, journal: Journal
) -> tuple[Source, ...]:
    """Return the sources of events on this computer."""
    return (
        Boots(store=store, clock=clock, computer=socket.gethostname()),
        logind,
        idleness,
        journal,
    )
