"""Composition root: the one place that names adapters."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt
import functools
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping, Sequence
from pathlib import Path

import structlog

from innkeeper.channels.agents import Agents
from innkeeper.channels.kits.agents import KitAgents
from innkeeper.channels.kits.ports import Running
from innkeeper.channels.ports import GuestAgents, ScheduleDeleted, ScheduleRequested
from innkeeper.channels.service import Channels
from innkeeper.channels.service import Needs as ChannelNeeds
from innkeeper.disks.exports import Exports
from innkeeper.disks.roots import Roots
from innkeeper.disks.service import Disks
from innkeeper.errors import InnkeeperError
from innkeeper.hypervisor.libvirt import (
    choose_uri,
    embedded_root,
    embedded_uri,
    libvirt_host,
    met_id,
    prepare_root,
)
from innkeeper.hypervisor.simulated.agents import FakeAgents
from innkeeper.hypervisor.simulated.fleet import Fleet as SimulatedFleet
from innkeeper.hypervisor.simulated.fleet import open_fleet
from innkeeper.hypervisor.simulated.host import SimulatedHost
from innkeeper.hypervisor.simulated.turns import Actor
from innkeeper.identity.audit import Audit
from innkeeper.machines.accountant import Accountant
from innkeeper.machines.adoption import Adoption
from innkeeper.machines.creation import Creation
from innkeeper.machines.disk_space import DiskSpaceWatch
from innkeeper.machines.equipment import Equipment
from innkeeper.machines.machine import MachineState
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
from innkeeper.server.channel_composition import looks_at
from innkeeper.server.compose_people import compose_people
from innkeeper.server.compose_relay import compose_neighbours, directory_keeper
from innkeeper.server.demo_activity import demo_activity
from innkeeper.server.events.bus import EventBus
from innkeeper.server.events.log import MemoryLog
from innkeeper.server.events.shared import SharedLog
from innkeeper.server.fake_time import simulated_clock
from innkeeper.server.guest_commands import commands_of
from innkeeper.server.guests import guests
from innkeeper.server.home import claim_home
from innkeeper.server.host_names import named_hosts, refuse_unknown_stand_ins
from innkeeper.server.house import House
from innkeeper.server.machine_disks import MachineDisks
from innkeeper.server.metrics import Metrics
from innkeeper.server.notify import extending_start
from innkeeper.server.operations import operations
from innkeeper.server.owned_hosts import OwnedHosts
from innkeeper.server.relay.schedules import is_ours
from innkeeper.server.scheduled_machines import ScheduledNames
from innkeeper.server.scheduling import scheduling
from innkeeper.server.settings import FakeSettings, Settings
from innkeeper.servers.fence import OPEN, Fence, HostElsewhere
from innkeeper.servers.fleet import Fleet
from innkeeper.servers.ownership import Callbacks, HostFence, LeaseTimes, Ownership
from innkeeper.store.directory import SqlDirectory
from innkeeper.store.lease_guard import LeaseGuard
from innkeeper.store.opening import Store, open_store
from innkeeper.tasks.clock import SystemClock
from innkeeper.tasks.ports import Clock, Engine, any_host
from innkeeper.tasks.service import Retention, Tasks
from innkeeper.tasks.supervision import Loops, Work
from innkeeper.tasks.task import TaskFilter
from innkeeper.updates.bookings import Bookings
from innkeeper.updates.boots import BootSlots
from innkeeper.updates.checks import Checks
from innkeeper.updates.preparations import Preparations
from innkeeper.updates.reboots import RebootWatch
from innkeeper.updates.reconciler import Reconciler
from innkeeper.updates.reports import Reports, run_has_merged
from innkeeper.updates.run import UpdateRuns
from innkeeper.updates.stuck_bookings import settle_stuck_bookings
from innkeeper.updates.trigger import TriggerAgent, anywhere
from innkeeper.updates.windows import Windows
from innkeeper.wire.byte_pipe import BytePipe

_log = structlog.get_logger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Overrides:
    """Parts that a test or an embedding program puts in place of the usual ones."""

    clock: Clock | None = None
    engine: Engine | None = None
    hypervisors: Sequence[Host] | None = None
    agents: GuestAgents | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Foundations:
    """Store, clock, events and settings: what all parts of one service stand on."""

    settings: Settings
    overrides: Overrides
    clock: Clock
    events: EventBus
    metrics: Metrics
    store: Store
    exports: Exports
    loops: Loops
    #: Whose hosts are whose; ``None`` where no other server shares the database.
    ownership: Ownership | None
    #: Closes what was opened, last first.
    opened: contextlib.AsyncExitStack


@contextlib.asynccontextmanager
async def open_house(settings: Settings, overrides: Overrides = Overrides()) -> AsyncIterator[House]:
    """Open a service's parts in the order of their dependencies, and close them in reverse order.

    What a crash left unfinished goes on from here.
    """
    async with contextlib.AsyncExitStack() as opened:
        await asyncio.to_thread(zone_database.load)
        foundations = await _foundations(settings, overrides, opened)
        ownership = foundations.ownership
        if ownership is not None:
            _keep_running(foundations, "leases of hosts", ownership.run)
        hypervisors = await _hypervisors(foundations)
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
        keep = functools.partial(_keep_running, foundations)
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


async def _foundations(
    settings: Settings, overrides: Overrides, opened: contextlib.AsyncExitStack
) -> Foundations:
    clock = overrides.clock or _clock(settings)
    home = await asyncio.to_thread(claim_home, settings.state_dir)
    opened.callback(home.close)
    loops = Loops(clock)
    store = await open_store(
        settings.database_url,
        server=settings.own_name,
        home=home.name,
        lease=dt.timedelta(seconds=settings.lease_seconds),
        events=settings.database_events,
        during=extending_start,
    )
    opened.push_async_exit(_closing(store))
    events = _events(store, loops, opened)
    metrics = Metrics()
    events.subscribe(metrics.on_event)
    roots = Roots(settings.disk_folders)
    exports = await asyncio.to_thread(Exports.in_reach, settings.state_dir / "exports", roots=roots)
    return Foundations(
        exports=exports,
        loops=loops,
        ownership=_ownership(store, settings) if store.is_shared else None,
        settings=settings,
        overrides=overrides,
        clock=clock,
        events=events,
        metrics=metrics,
        store=store,
        opened=opened,
    )


def _closing(store: Store) -> Callable[..., Coroutine[None, None, None]]:
    """What closes the store at the end of the service, and writes down for others why that came."""

    async def close(_kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, InnkeeperError):
            await store.close(error.sentence)
        elif isinstance(error, Exception):
            name = type(error).__name__  # its words may hold anything, and others read this
            await store.close(f"It ended by an unexpected {name}, which its own log tells in full.")
        else:
            await store.close()

    return close


def _events(store: Store, loops: Loops, opened: contextlib.AsyncExitStack) -> EventBus:
    """Compose the stream of events: in memory, or through the database that servers share."""
    if not store.is_shared:
        events = EventBus(MemoryLog(life=secrets.token_hex(4)))
    else:
        log = SharedLog(store.outbox)
        events = EventBus(log)
        opened.push_async_callback(log.write_last)
        _keep_looping(loops, opened, "events to all servers", log.write_for_ever)
        _keep_looping(loops, opened, "events of all servers", log.read_for_ever)
        _keep_looping(loops, opened, "bookings at other doors", log.follow_bookings)
        _keep_looping(loops, opened, "event retention", log.forget_for_ever)
    events.attach(asyncio.get_running_loop())
    opened.callback(events.close)
    return events


def _ownership(store: Store, settings: Settings) -> Ownership:
    times = LeaseTimes.of(settings.lease_seconds)
    ownership = Ownership(store.server, servers=store.servers, leases=store.leases, times=times)
    store.database.guard = LeaseGuard(store.leases, store.server.id, ownership)
    return ownership


def _clock(settings: Settings) -> Clock:
    if settings.fake is None:
        return SystemClock()
    now = dt.datetime.now(dt.UTC)
    return simulated_clock(_fleet(settings) / "clock.json", settings.fake.speed, now)


def _fleet(settings: Settings) -> Path:
    chosen = settings.fake.fleet if settings.fake is not None else None
    return chosen or settings.state_dir / "fake"


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
    trigger = TriggerAgent(
        may_begin=ownership.may_begin if ownership is not None else anywhere,
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
    agents = await _agents(foundations, machines, hypervisors, trigger)
    checks = Checks(machines=machines, agents=agents, policy=policy, clock=foundations.clock)
    board = Board(
        machines=machines, agents=agents, tasks=tasks, checks=checks, roll_back_of=policy.roll_back_of
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
        database=store.database,
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
            agents=_task_agents(agents),
            tasks=tasks,
            store=store.parameters,
            clock=foundations.clock,
            publish=foundations.events.publish,
            subscribe=foundations.events.subscribe,
        ),
        agents=agents,
        channels=await _channels(foundations, tasks, machines, _task_agents(agents)),
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


# Who carries the machines


async def _hypervisors(foundations: Foundations) -> Sequence[Host]:
    if foundations.overrides.hypervisors is not None:
        for host in foundations.overrides.hypervisors:
            await _give(foundations, host)
        return foundations.overrides.hypervisors
    if foundations.settings.fake is not None:
        return await _fake(foundations, foundations.settings.fake)
    hosts = named_hosts(await _uris(foundations.settings))
    refuse_unknown_stand_ins(foundations.settings.stand_in_for, hosts)
    opening = (_libvirt(foundations, name, uri) for name, uri in hosts.items())
    opened = await asyncio.gather(*opening, return_exceptions=True)
    # Only when all have ended: what fails after the first would be told as an exception that nobody has seen.
    return [_opened(host) for host in opened]


async def _give(foundations: Foundations, host: Host) -> None:
    """Own a host that is open already, as soon as no other server does."""
    fence = _fence(foundations, host.name, host.uri)

    async def connect() -> None:
        await fence.claim(host.id)
        await fence.opened()

    if isinstance(fence, HostFence):
        fence.bind(connect=connect, disconnect=host.connection.let_go)
    with contextlib.suppress(HostElsewhere):
        await connect()


def _bind(fence: Fence, host: Host) -> None:
    """Give a fence what opens its host, and what lets go of it."""
    if isinstance(fence, HostFence):
        fence.bind(connect=host.connection.open, disconnect=host.connection.let_go)


def _fence(foundations: Foundations, name: str, uri: str) -> Fence:
    """Return what stands before each act on a host."""
    if foundations.ownership is None:
        return OPEN
    stands_in = {name, uri} & set(foundations.settings.stand_in_for)
    return foundations.ownership.fence(name=name, uri=uri, stand_in=bool(stands_in))


def _opened(host: Host | BaseException) -> Host:
    if isinstance(host, BaseException):
        raise host
    return host


async def _fake(foundations: Foundations, fake: FakeSettings) -> Sequence[Host]:
    fleet = SimulatedFleet(
        directory=_fleet(foundations.settings),
        first_host=fake.first_host,
        hosts=fake.hosts,
        machines=fake.machines,
        seed=fake.seed,
        failures_a_day=fake.failures_a_day,
    )
    actor = Actor(server=foundations.settings.own_name, keeps_ledger=fake.ledger)
    hosts = await foundations.opened.enter_async_context(
        open_fleet(
            fleet,
            clock=foundations.clock,
            publish=foundations.events.publish,
            actor=actor,
            fence_of=functools.partial(_fence, foundations),
        )
    )
    refuse_unknown_stand_ins(foundations.settings.stand_in_for, {host.name: host.uri for host in hosts})
    for host in hosts:
        _bind(host.simulation.fence, host)
    return hosts


async def _known_hosts(directory: SqlDirectory) -> Sequence[str]:
    """The names of all hosts that any server has seen."""
    return [host.name for host in await directory.hosts()]


async def _uris(settings: Settings) -> Sequence[str]:
    return settings.hypervisors or (await choose_uri(settings.state_dir),)


async def _libvirt(foundations: Foundations, name: str, uri: str) -> Host:
    """Open one libvirt host; the embedded driver's first probe of QEMU happens here, with progress.

    A host that cannot be reached now is tried again and again; the service starts without it.
    """
    state_dir = foundations.settings.state_dir
    # Off the loop: it looks for a short name of the directory.
    if uri == await asyncio.to_thread(lambda: embedded_uri(embedded_root(state_dir))):
        acceleration = await prepare_root(
            state_dir, lambda phase: _log.info("hypervisor_probing", phase=phase)
        )
        _log.info("hypervisor_probed", accelerator=acceleration.accelerator, reason=acceleration.reason)
    fence = _fence(foundations, name, uri)
    hypervisor = libvirt_host(
        name=name,
        uri=uri,
        publish=foundations.events.publish,
        state_directory=state_dir,
        exports=foundations.exports,
        fence=fence,
        known_id=await asyncio.to_thread(met_id, state_dir, uri),
    )
    _bind(fence, hypervisor)
    foundations.opened.push_async_callback(hypervisor.connection.close)
    await hypervisor.connection.open()
    _log.info("hypervisor_opened", host=hypervisor.name, uri=uri)
    return hypervisor


# Who speaks with the guests


async def _agents(
    foundations: Foundations, machines: Machines, hypervisors: Sequence[Host], trigger: TriggerAgent
) -> GuestAgents:
    if foundations.overrides.agents is not None:
        return foundations.overrides.agents
    simulations = [each.simulation for each in hypervisors if isinstance(each, SimulatedHost)]
    if foundations.settings.fake is not None and simulations:
        simulated = FakeAgents(*simulations, clock=foundations.clock)
        foundations.events.subscribe(simulated.on_event)
        return simulated

    async def open_port(key: str) -> BytePipe:
        machine = await machines.get(key)
        return await machines.hosts[machine.host].agent_ports.open(machine.name)

    async def running() -> Collection[str]:
        found = await machines.list()
        # What is said of machines whose host is away is what was said last: their guests go on.
        return [each.key for each in found if each.state is MachineState.RUNNING] + [*machines.unseen]

    async def on_booking(machine: str, message: ScheduleRequested | ScheduleDeleted) -> str:
        try:
            await trigger.hear(machine, message)
        except InnkeeperError as error:
            return error.sentence
        return ""

    agents = Agents(
        open_port=open_port,
        running=running,
        on_booking=on_booking,
        called=machines.called,
        clock=foundations.clock,
        publish=foundations.events.publish,
        loops=foundations.loops,
    )
    foundations.events.subscribe(agents.on_event)
    foundations.opened.push_async_callback(agents.close)
    await agents.open()
    return await _with_kits(foundations, machines, agents, running)


async def _with_kits(
    foundations: Foundations, machines: Machines, agents: GuestAgents, running: Running
) -> GuestAgents:
    """Reach guests without a task agent through qemu-guest-agent."""
    kits = KitAgents(
        agents,
        find=commands_of(machines),
        running=running,
        called=machines.called,
        clock=foundations.clock,
        publish=foundations.events.publish,
        loops=foundations.loops,
    )
    foundations.events.subscribe(kits.on_event)
    foundations.opened.push_async_callback(kits.close)
    await kits.open()
    return kits


def _task_agents(agents: GuestAgents) -> GuestAgents:
    """The task agents alone: what is asked beside updates no kit answers, nor is one put there for it."""
    return agents.task_agents if isinstance(agents, KitAgents) else agents


async def _channels(
    foundations: Foundations, tasks: Tasks, machines: Machines, agents: GuestAgents
) -> Channels:
    """Compose the channels; they listen while the service is open, and again after a restart."""
    channels = Channels(
        ChannelNeeds(
            agents=agents,
            look_at=looks_at(machines, tasks),
            store=foundations.store.channels,
            clock=foundations.clock,
            publish=foundations.events.publish,
            directory=foundations.settings.pipe_directory,
            server=foundations.store.server.name,
        ),
        foundations.loops,
    )
    foundations.events.subscribe(channels.on_event)
    foundations.opened.push_async_callback(channels.close)
    await channels.open()
    return channels


def _keep_running(foundations: Foundations, name: str, work: Work) -> None:
    """Run a supervised loop while the service is open."""
    _keep_looping(foundations.loops, foundations.opened, name, work)


def _keep_looping(loops: Loops, opened: contextlib.AsyncExitStack, name: str, work: Work) -> None:
    running = loops.start(name, work)

    async def stop() -> None:
        running.cancel()
        await asyncio.wait({running})

    opened.push_async_callback(stop)
