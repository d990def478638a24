"""What all parts of one service stand on: store, clock, events and settings."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt
import secrets
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path

from innkeeper.channels.ports import GuestAgents
from innkeeper.disks.exports import Exports
from innkeeper.disks.roots import Roots
from innkeeper.errors import InnkeeperError
from innkeeper.machines.ports.host import Host
from innkeeper.server.events.bus import EventBus
from innkeeper.server.events.log import MemoryLog
from innkeeper.server.events.shared import SharedLog
from innkeeper.server.fake_time import simulated_time
from innkeeper.server.home import claim_home
from innkeeper.server.metrics import Metrics
from innkeeper.server.notify import extending_start
from innkeeper.server.settings import Settings
from innkeeper.servers.ownership import LeaseTimes, Ownership
from innkeeper.store.lease_guard import LeaseGuard
from innkeeper.store.opening import Store, open_store
from innkeeper.tasks.clock import SystemClock
from innkeeper.tasks.ports import Clock, Engine
from innkeeper.tasks.supervision import Loops, Work


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Overrides:
    """Parts that a test or an embedding program puts in place of the usual ones."""

    clock: Clock | None = None
    engine: Engine | None = None
    hypervisors: Sequence[Host] | None = None
    agents: GuestAgents | None = None


#: Nothing is put in place of anything.
USUAL = Overrides()


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

    def keep_running(self, name: str, work: Work) -> None:
        """Run a supervised loop while the service is open."""
        _keep(self.loops, self.opened, name, work)


async def lay_foundations(
    settings: Settings, overrides: Overrides, opened: contextlib.AsyncExitStack
) -> Foundations:
    """Claim the state directory, open the store, and compose what stands on nothing else.

    Raises ``InnkeeperError`` where another service has the directory, or the store cannot be opened.
    """
    clock = overrides.clock or _clock(settings, opened)
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
        loops=loops,
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
        _keep(loops, opened, "events to all servers", log.write_for_ever)
        _keep(loops, opened, "events of all servers", log.read_for_ever)
        _keep(loops, opened, "bookings at other doors", log.follow_bookings)
        _keep(loops, opened, "event retention", log.forget_for_ever)
    events.attach(asyncio.get_running_loop())
    opened.callback(events.close)
    return events


def _ownership(store: Store, settings: Settings) -> Ownership:
    times = LeaseTimes.of(settings.lease_seconds)
    ownership = Ownership(store.server, servers=store.servers, leases=store.leases, times=times)
    store.database.guard = LeaseGuard(store.leases, store.server.id, ownership)
    return ownership


def _clock(settings: Settings, opened: contextlib.AsyncExitStack) -> Clock:
    if settings.fake is None:
        return SystemClock()
    now = dt.datetime.now(dt.UTC)
    time = simulated_time(fleet_directory(settings) / "clock.json", settings.fake.speed, now)
    opened.callback(time.close)
    return time.clock


def fleet_directory(settings: Settings) -> Path:
    """Return where simulated hosts are kept; several servers may share it."""
    chosen = settings.fake.fleet if settings.fake is not None else None
    return chosen or settings.state_dir / "fake"


def _keep(loops: Loops, opened: contextlib.AsyncExitStack, name: str, work: Work) -> None:
    running = loops.start(name, work)

    async def stop() -> None:
        running.cancel()
        await asyncio.wait({running})

    opened.push_async_callback(stop)
