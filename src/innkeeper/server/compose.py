"""Wire the rooms together: the one place that names adapters."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt
import functools
import secrets
import socket
from collections.abc import AsyncIterator, Collection, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import structlog

from innkeeper.channels.agents import Agents
from innkeeper.channels.ports import GuestAgents, ScheduleDeleted, ScheduleRequested
from innkeeper.channels.service import Channels
from innkeeper.channels.service import Needs as ChannelNeeds
from innkeeper.disks.exports import Exports
from innkeeper.disks.roots import Roots
from innkeeper.disks.service import Disks
from innkeeper.errors import InnkeeperError
from innkeeper.hypervisor.fake import FakeHypervisor
from innkeeper.hypervisor.fake_agents import FakeAgents
from innkeeper.hypervisor.fake_village import settle_village
from innkeeper.hypervisor.libvirt import (
    LibvirtHypervisor,
    choose_uri,
    embedded_root,
    embedded_uri,
    prepare_root,
)
from innkeeper.identity.audit import Audit
from innkeeper.machines.accountant import Accountant
from innkeeper.machines.creation import Creation
from innkeeper.machines.disk_space import DiskSpaceWatch
from innkeeper.machines.display import Display
from innkeeper.machines.equipment import Equipment
from innkeeper.machines.keyboard import Keyboard
from innkeeper.machines.machine import MachineState
from innkeeper.machines.mouse import Mouse
from innkeeper.machines.ports import BytePipe, Hypervisor
from innkeeper.machines.quitting import quit_machines
from innkeeper.machines.service import Machines
from innkeeper.machines.virtual_pc import VirtualPC
from innkeeper.machines.watch import UndoWatch
from innkeeper.schedule.maintenance import MaintenanceWindow
from innkeeper.schedule.ports import Starts
from innkeeper.schedule.starts import MappedStarts
from innkeeper.server.board import Board
from innkeeper.server.channelling import looks_at
from innkeeper.server.compose_people import compose_people
from innkeeper.server.events import EventBus
from innkeeper.server.fake_time import simulated_clock
from innkeeper.server.guests import guests
from innkeeper.server.house import House
from innkeeper.server.lively import live
from innkeeper.server.machine_disks import MachineDisks
from innkeeper.server.metrics import Metrics
from innkeeper.server.operations import operations
from innkeeper.server.scheduling import scheduling
from innkeeper.server.settings import FakeSettings, Settings
from innkeeper.store.opening import Store, open_store
from innkeeper.tasks.clock import SystemClock
from innkeeper.tasks.ports import Clock, Engine
from innkeeper.tasks.service import Retention, Tasks
from innkeeper.tasks.supervision import Loops, Work
from innkeeper.updates.bookings import Bookings
from innkeeper.updates.boots import BootSlots
from innkeeper.updates.preparations import Preparations
from innkeeper.updates.reconciler import Reconciler
from innkeeper.updates.reports import Reports, run_has_merged
from innkeeper.updates.run import UpdateRuns
from innkeeper.updates.trigger import TriggerAgent
from innkeeper.updates.windows import Windows

_log = structlog.get_logger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Overrides:
    """Parts that a test or a program of its own puts in place of ours."""

    clock: Clock | None = None
    engine: Engine | None = None
    hypervisors: Sequence[Hypervisor] | None = None
    agents: GuestAgents | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Ground:
    """What every room of one service stands on."""

    settings: Settings
    overrides: Overrides
    clock: Clock
    events: EventBus
    metrics: Metrics
    store: Store
    exports: Exports
    loops: Loops
    #: Closes what was opened, last first.
    opened: contextlib.AsyncExitStack


@contextlib.asynccontextmanager
async def open_house(settings: Settings, overrides: Overrides = Overrides()) -> AsyncIterator[House]:
    """Open a service's parts, in the order they stand on one another, and close them in the other.

    What a crash left unfinished goes on from here.
    """
    async with contextlib.AsyncExitStack() as opened:
        ground = await _ground(settings, overrides, opened)
        hypervisors = await _hypervisors(ground)
        history = dt.timedelta(days=settings.history_days)
        tasks = Tasks(
            store=ground.store.tasks,
            engine=overrides.engine or ground.store.engine,
            clock=ground.clock,
            publish=ground.events.publish,
            retention=Retention(age=history),
            shared=ground.store.is_shared,
            loops=ground.loops,
        )
        machines = Machines(
            hypervisors=hypervisors,
            tasks=tasks,
            clock=ground.clock,
            run_has_merged=lambda run: run_has_merged(ground.store.reports, run),
            rules=settings.policy.undo,
        )
        house = await _house(ground, tasks, machines, hypervisors)
        opened.push_async_callback(tasks.close)
        await tasks.launch()
        keep = functools.partial(_keep_running, ground)
        keep("reconciler", _reconciler(ground, tasks, machines).run)
        keep("undo watch", _undo_watch(ground, machines).run)
        keep("report retention", lambda: house.reports.forget_old(ground.clock, history))
        keep("session retention", house.people.sessions.purge_for_ever)
        keep("trigger agent", house.trigger.run)
        keep("accountant", house.accountant.run)
        keep("heartbeats", house.guests.heartbeats.run)
        keep("greeter", house.guests.greeter.run)
        room = DiskSpaceWatch(machines, clock=ground.clock, publish=ground.events.publish)
        keep("room for disks", room.run)
        ground.events.tell(house.schedule.heed)
        keep("scheduler", house.schedule.scheduler.run)
        keep("occasions of scheduled tasks", house.schedule.watcher.run)
        keep("automatic maintenance", house.schedule.maintenance.run)
        if settings.fake is None:
            keep("wake alarm", house.schedule.waker.run)
        if settings.fake is not None and settings.fake.lively:
            keep("a lively inn", lambda: live(house))
        yield house
        # Not after a failure: then the machines had better stay as they are.
        if settings.shutdown_actions:
            await quit_machines(machines, tasks, timeout_seconds=settings.shutdown_seconds)


async def _ground(settings: Settings, overrides: Overrides, opened: contextlib.AsyncExitStack) -> Ground:
    clock = overrides.clock or _clock(settings)
    events = EventBus(life=secrets.token_hex(4))
    events.attach(asyncio.get_running_loop())
    opened.callback(events.close)
    metrics = Metrics()
    events.tell(metrics.heed)
    store = await open_store(settings.database_url, server=socket.gethostname())
    opened.push_async_callback(store.close)
    exports = await asyncio.to_thread(Exports.in_reach, settings.state_dir / "exports")
    return Ground(
        exports=exports,
        loops=Loops(clock),
        settings=settings,
        overrides=overrides,
        clock=clock,
        events=events,
        metrics=metrics,
        store=store,
        opened=opened,
    )


def _clock(settings: Settings) -> Clock:
    if settings.fake is None:
        return SystemClock()
    now = dt.datetime.now(dt.UTC)
    return simulated_clock(_village(settings) / "clock.json", settings.fake.speed, now)


def _village(settings: Settings) -> Path:
    return settings.state_dir / "fake"


async def _house(
    ground: Ground, tasks: Tasks, machines: Machines, hypervisors: Sequence[Hypervisor]
) -> House:
    """Put the rooms of the night on top of machines and tasks."""
    policy, store = ground.settings.policy, ground.store
    bookings = Bookings(
        store=store.bookings,
        machines=machines,
        clock=ground.clock,
        publish=ground.events.publish,
        policy=policy,
    )
    windows = Windows(store.windows)
    trigger = TriggerAgent(
        tasks=tasks,
        machines=machines,
        bookings=bookings,
        windows=windows,
        reports=store.reports,
        clock=ground.clock,
        publish=ground.events.publish,
        policy=policy,
    )
    agents = await _agents(ground, machines, hypervisors, trigger)
    board = Board(machines=machines, agents=agents, tasks=tasks)
    ground.events.tell(board.heed)
    UpdateRuns(
        tasks=tasks,
        machines=machines,
        agents=agents,
        bookings=bookings,
        reports=store.reports,
        boots=BootSlots(policy.boots),
        clock=ground.clock,
        policy=policy,
    )
    display = Display(machines, clock=ground.clock)
    keyboard, mouse = Keyboard(machines, clock=ground.clock), Mouse(machines, display)
    for heed in (keyboard.heed, mouse.heed):
        ground.events.tell(heed)
    audit = Audit(store.audit, SystemClock())
    virtual_pc = VirtualPC(
        machines=machines,
        options=store.options,
        clock=ground.clock,
        default_path=ground.settings.state_dir / "machines",
    )
    await virtual_pc.open()
    disks = await _disks(ground, tasks, machines)
    return House(
        settings=ground.settings,
        clock=ground.clock,
        events=ground.events,
        loops=ground.loops,
        metrics=ground.metrics,
        answers=store.answers,
        people=await compose_people(ground.settings, store, audit, ground.opened),
        audit=audit,
        tasks=tasks,
        machines=machines,
        display=display,
        keyboard=keyboard,
        mouse=mouse,
        board=board,
        equipment=Equipment(machines),
        creation=Creation(machines=machines, tasks=tasks, directory=lambda: virtual_pc.configuration_path),
        virtual_pc=virtual_pc,
        accountant=Accountant(machines, clock=ground.clock),
        guests=await guests(
            machines=machines,
            agents=agents,
            tasks=tasks,
            store=store.parameters,
            clock=ground.clock,
            publish=ground.events.publish,
            tell=ground.events.tell,
        ),
        agents=agents,
        channels=await _channels(ground, tasks, machines, agents),
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
                clock=ground.clock,
                disks=disks,
                bookings=bookings,
                agents=agents,
                publish=ground.events.publish,
            ),
            clock=ground.clock,
            state_dir=ground.settings.state_dir,
            window=MaintenanceWindow(
                start=ground.settings.maintenance_start,
                length=dt.timedelta(minutes=ground.settings.maintenance_minutes),
            ),
            simulated=ground.settings.fake is not None,
            starts=await _starts(ground),
        ),
        disks=disks,
    )


async def _disks(ground: Ground, tasks: Tasks, machines: Machines) -> Disks:
    own = ground.settings.state_dir / "disks"
    if own in ground.settings.disk_folders:
        await asyncio.to_thread(own.mkdir, mode=0o750, parents=True, exist_ok=True)
    return Disks(
        tasks=tasks,
        roots=Roots(ground.settings.disk_folders),
        users=MachineDisks(machines),
        exports=ground.exports,
    )


async def _starts(ground: Ground) -> Starts | None:
    """What this server has begun: of use where no other one takes up its work."""
    if ground.store.is_shared:
        return None
    starts = await asyncio.to_thread(MappedStarts.open, ground.settings.state_dir / "starts")
    ground.opened.callback(starts.close)
    if starts.is_crowded:
        starts.keep({run.id: run for run in await ground.store.schedule.runs(live=True, limit=10_000)})
    return starts


def _undo_watch(ground: Ground, machines: Machines) -> UndoWatch:
    watch = UndoWatch(machines=machines, clock=ground.clock)
    ground.events.tell(watch.heed)
    return watch


def _reconciler(ground: Ground, tasks: Tasks, machines: Machines) -> Reconciler:
    return Reconciler(
        tasks=tasks,
        machines=machines,
        reports=ground.store.reports,
        clock=ground.clock,
        publish=ground.events.publish,
    )


# Who carries the machines


async def _hypervisors(ground: Ground) -> Sequence[Hypervisor]:
    if ground.overrides.hypervisors is not None:
        return ground.overrides.hypervisors
    if ground.settings.fake is not None:
        return (await _fake(ground, ground.settings.fake),)
    return [await _libvirt(ground, uri) for uri in await _uris(ground.settings)]


async def _fake(ground: Ground, fake: FakeSettings) -> FakeHypervisor:
    hypervisor = FakeHypervisor(_village(ground.settings), clock=ground.clock, publish=ground.events.publish)
    ground.opened.push_async_callback(hypervisor.close)
    await hypervisor.open()
    await settle_village(hypervisor, fake.machines)
    return hypervisor


async def _uris(settings: Settings) -> Sequence[str]:
    return settings.hypervisors or (await choose_uri(settings.state_dir),)


async def _libvirt(ground: Ground, uri: str) -> LibvirtHypervisor:
    """Open one host; the embedded driver's first look at QEMU is done here, where it is told of."""
    state_dir = ground.settings.state_dir
    if uri == embedded_uri(embedded_root(state_dir)):
        acceleration = await prepare_root(
            state_dir, lambda phase: _log.info("hypervisor_probing", phase=phase)
        )
        _log.info("hypervisor_probed", accelerator=acceleration.accelerator, reason=acceleration.reason)
    hypervisor = LibvirtHypervisor(
        name=urlsplit(uri).hostname or socket.gethostname(),
        uri=uri,
        publish=ground.events.publish,
        state_directory=state_dir,
        exports=ground.exports,
    )
    ground.opened.push_async_callback(hypervisor.close)
    await hypervisor.open()
    _log.info("hypervisor_opened", host=hypervisor.name, uri=uri)
    return hypervisor


# Who speaks with the guests


async def _agents(
    ground: Ground, machines: Machines, hypervisors: Sequence[Hypervisor], trigger: TriggerAgent
) -> GuestAgents:
    if ground.overrides.agents is not None:
        return ground.overrides.agents
    if ground.settings.fake is not None and isinstance(hypervisors[0], FakeHypervisor):
        simulated = FakeAgents(hypervisors[0], clock=ground.clock)
        ground.events.tell(simulated.heed)
        return simulated

    async def open_port(name: str) -> BytePipe:
        return await (await machines.hypervisor_of(name)).open_agent_port(name)

    async def running() -> Collection[str]:
        return [each.name for each in await machines.list() if each.state is MachineState.RUNNING]

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
        clock=ground.clock,
        publish=ground.events.publish,
        loops=ground.loops,
    )
    ground.events.tell(agents.heed)
    ground.opened.push_async_callback(agents.close)
    await agents.open()
    return agents


async def _channels(ground: Ground, tasks: Tasks, machines: Machines, agents: GuestAgents) -> Channels:
    """The channels; they begin to listen with the house, and again after a restart."""
    channels = Channels(
        ChannelNeeds(
            agents=agents,
            look_at=looks_at(machines, tasks),
            store=ground.store.channels,
            clock=ground.clock,
            publish=ground.events.publish,
            directory=ground.settings.pipe_directory,
            server=socket.gethostname(),
        ),
        ground.loops,
    )
    ground.events.tell(channels.heed)
    ground.opened.push_async_callback(channels.close)
    await channels.open()
    return channels


def _keep_running(ground: Ground, name: str, work: Work) -> None:
    """Run a loop for as long as the house is open."""
    running = ground.loops.start(name, work)

    async def stop() -> None:
        running.cancel()
        await asyncio.wait({running})

    ground.opened.push_async_callback(stop)
