"""Composition root: the one place that names adapters."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import functools
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from innkeeper.disks.roots import Roots
from innkeeper.disks.service import Disks
from innkeeper.identity.audit import Audit
from innkeeper.machines.accountant import Accountant
from innkeeper.machines.adoption import Adoption
from innkeeper.machines.creation import Creation
from innkeeper.machines.disk_space import DiskSpaceWatch
from innkeeper.machines.equipment import Equipment
from innkeeper.machines.ports.host import Host
from innkeeper.machines.screen.display import Display
from innkeeper.machines.screen.keyboard import Keyboard
from innkeeper.machines.screen.mouse import Mouse
from innkeeper.machines.service import Machines
from innkeeper.machines.shutdown_actions import apply_shutdown_actions
from innkeeper.machines.thawing import Thawing
from innkeeper.machines.undo_action_watch import UndoActionWatch
from innkeeper.machines.virtual_pc import VirtualPC
from innkeeper.schedule.calendar import zone_database
from innkeeper.schedule.calendar.host import host_zone
from innkeeper.schedule.ports import Starts
from innkeeper.schedule.running.maintenance import MaintenanceWindow
from innkeeper.schedule.running.starts import MappedStarts
from innkeeper.server.board import Board
from innkeeper.server.compose_base import USUAL, Foundations, Overrides, lay_foundations
from innkeeper.server.compose_guests import compose_agents, compose_channels, task_agents
from innkeeper.server.compose_hosts import compose_hosts
from innkeeper.server.compose_people import compose_people
from innkeeper.server.compose_relay import compose_neighbours, directory_keeper
from innkeeper.server.demo_activity import demo_activity
from innkeeper.server.guests import guests
from innkeeper.server.house import House
from innkeeper.server.machine_disks import MachineDisks
from innkeeper.server.operations import operations
from innkeeper.server.owned_hosts import OwnedHosts
from innkeeper.server.relay.schedules import is_ours
from innkeeper.server.room import Rooms
from innkeeper.server.scheduled_machines import ScheduledNames
from innkeeper.server.scheduling import scheduling
from innkeeper.server.settings import Settings
from innkeeper.servers.fleet import Fleet
from innkeeper.servers.ownership import Callbacks
from innkeeper.store.directory import SqlDirectory
from innkeeper.store.probing import WholeStore
from innkeeper.tasks.clock import SystemClock
from innkeeper.tasks.ports import any_host
from innkeeper.tasks.service import Retention, Tasks
from innkeeper.tasks.task import TaskFilter
from innkeeper.updates.bookings import Bookings
from innkeeper.updates.boots import BootSlots
from innkeeper.updates.checks import Checks
from innkeeper.updates.ports import unhindered
from innkeeper.updates.preparations import Preparations
from innkeeper.updates.reboots import RebootWatch
from innkeeper.updates.reconciler import Reconciler
from innkeeper.updates.reports import Reports, run_has_merged
from innkeeper.updates.run import UpdateRuns
from innkeeper.updates.stuck_bookings import settle_stuck_bookings
from innkeeper.updates.trigger import TriggerAgent
from innkeeper.updates.windows import Windows


@contextlib.asynccontextmanager
async def open_house(settings: Settings, overrides: Overrides = USUAL) -> AsyncIterator[House]:
    """Open a service's parts in the order of their dependencies, and close them in reverse order.

    What a crash left unfinished goes on from here.
    """
    async with contextlib.AsyncExitStack() as opened:
        await asyncio.to_thread(zone_database.load)
        foundations = await lay_foundations(settings, overrides, opened)
        ownership = foundations.ownership
        if ownership is not None:
            foundations.keep_running("leases of hosts", ownership.run)
        hypervisors = await compose_hosts(foundations)
        history = dt.timedelta(days=settings.history_days)
        tasks = Tasks(
            store=foundations.store.tasks,
            engine=overrides.engine or foundations.store.engine,
            clock=foundations.clock,
            publish=foundations.events.publish,
            retention=Retention(age=history),
            shared=foundations.store.is_shared,
            may_carry=ownership.owns if ownership is not None else any_host,
            loops=foundations.loops,
            up_to_date=foundations.events.up_to_date,
        )
        foundations.events.subscribe_to_others(tasks.on_event_elsewhere)
        machines = Machines(
            hypervisors=OwnedHosts(hypervisors, ownership) if ownership is not None else hypervisors,
            tasks=tasks,
            clock=foundations.clock,
            run_has_merged=lambda run: run_has_merged(foundations.store.reports, run),
            rules=settings.policy.undo,
            directory=foundations.store.directory if foundations.store.is_shared else None,
        )
        foundations.events.place = machines.places.placed
        adoption = Adoption(machines, foundations.store.adoption, ScheduledNames(foundations.store.schedule))
        await adoption.adopt()
        foundations.events.subscribe(adoption.on_event)
        house = await _house(foundations, tasks, machines, hypervisors)
        if ownership is not None:
            opened.push_async_callback(ownership.close)
        opened.push_async_callback(tasks.close)
        await tasks.launch()
        if ownership is not None:
            await ownership.begin(_work_on_hosts(foundations, house))
        keep = foundations.keep_running
        keep("reconciler", _reconciler(foundations, tasks, machines, settings.policy.undo.undo_directory).run)
        keep("adoption", adoption.run)
        keep("undo watch", _undo_action_watch(foundations, machines).run)
        thawing = Thawing(machines=machines, clock=foundations.clock, publish=foundations.events.publish)
        foundations.events.subscribe(thawing.on_event)
        keep("thaws that are owed", thawing.run)
        keep("report retention", lambda: house.reports.forget_old(foundations.clock, history))
        keep("session retention", house.people.sessions.purge_for_ever)
        keep("trigger agent", house.trigger.run)
        keep("machine checks", house.checks.run)
        if house.neighbours is not None:
            directory = directory_keeper(house, house.neighbours)
            foundations.events.subscribe(directory.on_event)
            foundations.events.subscribe_to_others(directory.on_event_elsewhere)
            machines.announce = directory.announce
            keep("directory", directory.run)
            keep("machines that come", directory.write_what_comes)
        keep("accountant", house.accountant.run)
        keep("heartbeats", house.guests.heartbeats.run)
        keep("guest initialiser", house.guests.initialiser.run)
        room = DiskSpaceWatch(machines, clock=foundations.clock, publish=foundations.events.publish)
        keep("room for disks", room.run)
        foundations.events.subscribe(house.schedule.on_event)
        keep("scheduler", house.schedule.scheduler.run)
        keep("occasions of scheduled tasks", house.schedule.watcher.run)
        keep("automatic maintenance", house.schedule.maintenance.run)
        if settings.fake is None:
            keep("wake alarm", house.schedule.waker.run)
        if settings.fake is not None and settings.fake.lively:
            keep("demo activity", lambda: demo_activity(house))
        yield house
        # Not after a failure: then the machines had better stay as they are.
        if settings.shutdown_actions:
            await apply_shutdown_actions(machines, tasks, timeout_seconds=settings.shutdown_seconds)


def _work_on_hosts(foundations: Foundations, house: House) -> Callbacks:
    """What is done when hosts have become this server's, or one is its own no more."""

    async def gained(host_ids: Sequence[str]) -> None:
        await house.tasks.take_over(host_ids)
        await settle_stuck_bookings(house.bookings, house.tasks, foundations.store.reports)
        directory = foundations.settings.policy.undo.undo_directory
        await _reconciler(foundations, house.tasks, house.machines, directory).run()
        house.trigger.wake()

    async def in_flight(host_id: str) -> int:
        return len(await house.tasks.list(TaskFilter(live=True, host=host_id)))

    return Callbacks(gained=gained, lost=lambda host_id: house.tasks.let_go([host_id]), in_flight=in_flight)


async def _house(
    foundations: Foundations, tasks: Tasks, machines: Machines, hypervisors: Sequence[Host]
) -> House:
    """Compose the update runs, bookings and doors over machines and tasks."""
    policy, store = foundations.settings.policy, foundations.store
    neighbours = await compose_neighbours(foundations.settings, store, machines, foundations.opened)
    bookings = Bookings(
        store=store.bookings,
        machines=machines,
        clock=foundations.clock,
        publish=foundations.events.publish,
        policy=policy,
        elsewhere=None if neighbours is None else neighbours.entry_of_machine,
    )
    windows = Windows(
        store.windows, machines.places, None if neighbours is None else neighbours.entry_of_machine
    )
    ownership = foundations.ownership
    hindrance = ownership.hindrance if ownership is not None else unhindered
    trigger = TriggerAgent(
        hindrance=hindrance,
        tasks=tasks,
        machines=machines,
        bookings=bookings,
        windows=windows,
        reports=store.reports,
        clock=foundations.clock,
        publish=foundations.events.publish,
        policy=policy,
    )
    foundations.events.subscribe_to_others(trigger.on_event_elsewhere)
    agents = await compose_agents(foundations, machines, hypervisors, trigger)
    checks = Checks(
        machines=machines, agents=agents, policy=policy, clock=foundations.clock, hindrance=hindrance
    )
    board = Board(
        machines=machines,
        agents=agents,
        tasks=tasks,
        checks=checks,
        roll_back_of=policy.roll_back_of,
        wall_clock=foundations.clock,
    )
    watch = RebootWatch()
    for on_event in (board.on_event, checks.on_event, trigger.on_event, watch.on_event):
        foundations.events.subscribe(on_event)
    UpdateRuns(
        tasks=tasks,
        machines=machines,
        agents=agents,
        bookings=bookings,
        reports=store.reports,
        boots=BootSlots(policy.boots),
        clock=foundations.clock,
        policy=policy,
        watch=watch,
    )
    display = Display(machines, clock=foundations.clock)
    keyboard, mouse = Keyboard(machines, clock=foundations.clock), Mouse(machines, display)
    for on_event in (keyboard.on_event, mouse.on_event):
        foundations.events.subscribe(on_event)
    audit = Audit(store.audit, SystemClock())
    virtual_pc = VirtualPC(
        machines=machines,
        options=store.options,
        clock=foundations.clock,
        default_path=foundations.settings.state_dir / "machines",
    )
    await virtual_pc.open()
    disks = await _disks(foundations, tasks, machines)
    folders = [*map(str, disks.roots.folders)]
    return House(
        settings=foundations.settings,
        clock=foundations.clock,
        events=foundations.events,
        loops=foundations.loops,
        metrics=foundations.metrics,
        answers=store.answers,
        database=WholeStore(store.database, store.engine),
        rooms=Rooms(_written_to(foundations.settings, store.database.directory)),
        people=await compose_people(foundations.settings, store, audit, foundations.opened),
        audit=audit,
        tasks=tasks,
        machines=machines,
        display=display,
        keyboard=keyboard,
        mouse=mouse,
        board=board,
        checks=checks,
        equipment=Equipment(machines, folders),
        creation=Creation(
            machines=machines,
            tasks=tasks,
            directory=lambda: virtual_pc.configuration_path,
            folders=folders,
            sockets=[str(foundations.settings.state_dir / "exports")],
            hosts_elsewhere=functools.partial(_known_hosts, store.directory),
        ),
        virtual_pc=virtual_pc,
        accountant=Accountant(machines, clock=foundations.clock),
        guests=await guests(
            machines=machines,
            agents=task_agents(agents),
            tasks=tasks,
            store=store.parameters,
            clock=foundations.clock,
            publish=foundations.events.publish,
            subscribe=foundations.events.subscribe,
        ),
        agents=agents,
        channels=await compose_channels(foundations, tasks, machines, task_agents(agents)),
        bookings=bookings,
        windows=windows,
        preparations=Preparations(tasks=tasks, machines=machines, agents=agents),
        reports=Reports(store=store.reports, bookings=bookings),
        trigger=trigger,
        schedule=scheduling(
            store=store.schedule,
            tasks=tasks,
            handlers=operations(
                machines=machines,
                tasks=tasks,
                clock=foundations.clock,
                disks=disks,
                bookings=bookings,
                agents=agents,
                publish=foundations.events.publish,
            ),
            clock=foundations.clock,
            home=await asyncio.to_thread(host_zone),
            state_dir=foundations.settings.state_dir,
            window=MaintenanceWindow(
                start=foundations.settings.maintenance_start,
                length=dt.timedelta(minutes=foundations.settings.maintenance_minutes),
            ),
            simulated=foundations.settings.fake is not None,
            starts=await _starts(foundations),
            server=store.server.id,
            is_ours=functools.partial(is_ours, neighbours),
        ),
        disks=disks,
        neighbours=neighbours,
        fleet=_servers(foundations, tasks),
        ownership=ownership,
        unmet=lambda: [
            host
            for host in hypervisors
            if ownership is not None and host.id and not ownership.has_met(host.name)
        ],
    )


def _servers(foundations: Foundations, tasks: Tasks) -> Fleet:
    """Compose the look at the servers that share the database."""

    async def in_flight() -> Mapping[str, int]:
        live = await tasks.list(TaskFilter(live=True, limit=100_000))
        return Counter(task.server for task in live if task.server is not None)

    store, ownership = foundations.store, foundations.ownership
    return Fleet(
        store.server,
        servers=store.servers,
        leases=store.leases,
        in_flight=in_flight,
        hurry=ownership.hurry if ownership is not None else None,
    )


async def _disks(foundations: Foundations, tasks: Tasks, machines: Machines) -> Disks:
    own = foundations.settings.state_dir / "disks"
    if own in foundations.settings.disk_folders:
        await asyncio.to_thread(own.mkdir, mode=0o750, parents=True, exist_ok=True)
    return Disks(
        tasks=tasks,
        roots=Roots(foundations.settings.disk_folders),
        users=MachineDisks(machines),
        exports=foundations.exports,
    )


async def _starts(foundations: Foundations) -> Starts | None:
    """Open the memory of program starts; only useful where no other server takes over this one's work."""
    if foundations.store.is_shared:
        return None
    starts = await asyncio.to_thread(MappedStarts.open, foundations.settings.state_dir / "starts")
    foundations.opened.callback(starts.close)
    if starts.is_crowded:
        starts.keep({run.id: run for run in await foundations.store.schedule.runs(live=True, limit=10_000)})
    return starts


def _undo_action_watch(foundations: Foundations, machines: Machines) -> UndoActionWatch:
    watch = UndoActionWatch(machines=machines, clock=foundations.clock)
    foundations.events.subscribe(watch.on_event)
    return watch


def _reconciler(
    foundations: Foundations, tasks: Tasks, machines: Machines, undo_directory: str
) -> Reconciler:
    return Reconciler(
        tasks=tasks,
        machines=machines,
        reports=foundations.store.reports,
        clock=foundations.clock,
        publish=foundations.events.publish,
        undo_directory=undo_directory,
    )


async def _known_hosts(directory: SqlDirectory) -> Sequence[str]:
    """The names of all hosts that any server has seen."""
    return [host.name for host in await directory.hosts()]


def _written_to(settings: Settings, database: Path | None) -> list[Path]:
    """The folders that the service writes to."""
    return [settings.state_dir, *([database] if database is not None else []), *settings.disk_folders]
