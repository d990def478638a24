"""Own hosts: take their leases, keep them, hand them over, and let nobody act without one."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import structlog

from innkeeper.errors import ErrorCode, InnkeeperError, ServiceError
from innkeeper.servers.fence import FenceClosed, HostElsewhere
from innkeeper.servers.lease import Held, HostLease, Reach
from innkeeper.servers.ports import LeaseStore, ServerStore
from innkeeper.servers.server import Server, ServerState
from innkeeper.tasks.outcome import traceback_of

_log = structlog.get_logger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LeaseTimes:
    """How long leases hold, in seconds."""

    #: Of a lease, in the database.
    ttl: float = 30.0
    #: Between two renewals.
    renewal: float = 8.0
    #: So much earlier than in the database, a lease ends for its owner.
    margin: float = 8.0
    #: Between two looks while a host is handed over.
    hand_over: float = 1.0

    @classmethod
    def of(cls, seconds: float) -> LeaseTimes:
        """Return the times of leases that hold so long: renewed in time to miss one or two renewals."""
        renewal = seconds * 8 / 30
        return cls(ttl=seconds, renewal=renewal, margin=renewal, hand_over=min(cls().hand_over, renewal))


TIMES: Final = LeaseTimes()


def boot_seconds() -> float:
    """Seconds since the computer's start, also those in which it slept: a lease does not sleep."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Callbacks:
    """What is done when hosts come and go."""

    #: Hosts have become this server's, and are open: as many at once as have come meanwhile.
    gained: Callable[[Sequence[str]], Awaitable[None]]
    #: A host is this server's no more: returns when nothing here acts on it.
    lost: Callable[[str], Awaitable[None]]
    #: How many tasks are in flight on a host.
    in_flight: Callable[[str], Awaitable[int]]


class Ownership:
    """The hosts that this server owns."""

    def __init__(
        self,
        server: Server,
        *,
        servers: ServerStore,
        leases: LeaseStore,
        times: LeaseTimes = TIMES,
        seconds: Callable[[], float] = boot_seconds,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.server = server
        self._servers = servers
        self._leases = leases
        self._times = times
        self._seconds = seconds
        self._sleep = sleep
        self._fences: list[HostFence] = []
        self._by_name: dict[str, HostFence] = {}
        self._callbacks: Callbacks | None = None
        #: Hosts whose work is to be begun, and what begins it.
        self._new: list[str] = []
        self._beginning: asyncio.Task[None] | None = None
        self._state = server.state
        self._is_closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._hurry = asyncio.Event()
        #: The offers of hosts that this server has heard of, and until when it looks often for them.
        self._offers: frozenset[dt.datetime] = frozenset()
        self._often_until = float("-inf")
        self._changed = asyncio.Condition()
        #: Set when another process has this server's name, or it was retired: there is no way back.
        self.replaced = asyncio.Event()
        #: Which of the two it was.
        self.is_retired = False

    # Questions

    @property
    def fences(self) -> Sequence[HostFence]:
        """The fences of all hosts in the settings."""
        return self._fences

    @property
    def state(self) -> ServerState:
        """The part that this server takes, as it last heard."""
        return self._state

    def owns(self, host_id: str) -> bool:
        """Whether the host is this server's for certain, and open."""
        return any(fence.host_id == host_id and fence.is_open and fence.is_certain for fence in self._fences)

    def held(self, host_id: str) -> Held | None:
        """The lease by which this server owns a host."""
        fence = self._fence_of(host_id)
        return fence.held if fence is not None else None

    async def confirm(self, host_id: str) -> None:
        """Look at the lease of a host anew. Raises ``HostElsewhere`` where it is lost."""
        fence = self._fence_of(host_id)
        if fence is None:
            raise _lost(host_id)
        fence.close()
        await fence.settled()

    def is_open(self, name: str) -> bool:
        """Whether the host of this name in the settings is this server's, and open."""
        fence = self._by_name.get(name)
        return fence is not None and fence.is_open

    def has_met(self, name: str) -> bool:
        """Whether the host of this name in the settings has said who it is, in this life of the server."""
        fence = self._by_name.get(name)
        return fence is not None and bool(fence.host_id)

    def hindrance(self, name: str) -> str:
        """Why nothing new may begin on the host of this name, in a sentence; empty where it may."""
        fence = self._by_name.get(name)
        if fence is None or not fence.is_open:
            return f"This server does not look after the host {name} now."
        if fence.is_leaving:
            return f"The host {name} goes to another server, which begins what waits."
        if self._state is ServerState.SERVING:
            return ""
        server = self.server.name
        return (
            f"The server {server} is drained: nothing new begins on the host {name} until another server "
            f"takes it, or {server} joins again (innkeeper server join {server})."
        )

    # Commands

    def fence(self, *, name: str, uri: str, stand_in: bool = False) -> HostFence:
        """Return the fence of a host that this server has in its settings."""
        fence = HostFence(self, name=name, uri=uri, stand_in=stand_in)
        self._fences.append(fence)
        self._by_name[name] = fence
        return fence

    async def begin(self, callbacks: Callbacks) -> None:
        """Begin the work on hosts that are open already, and on others as they come."""
        self._callbacks = callbacks
        await self._leases.keep(self.server.id, {fence.uri for fence in self._fences})
        self._new += [fence.host_id for fence in self._fences if fence.is_open]
        await self._begin_new()

    async def run(self) -> None:
        """Keep the leases for as long as it is not cancelled."""
        self._loop = asyncio.get_running_loop()
        while not self.replaced.is_set():
            await self.look()
            await self._rest()

    async def look(self) -> None:
        """Renew what this server has, and see what it is to take or to hand over."""
        if self._is_closed:
            return
        sent = self._seconds()
        if not await self._servers.see(self.server):
            self.is_retired = all(each.id != self.server.id for each in await self._servers.list())
            _log.error("server.retired" if self.is_retired else "server.replaced", server=self.server.name)
            self.replaced.set()
            await self._lose([fence for fence in self._fences if fence.held is not None])
            return
        await self._renew(sent)
        peers = await self._peers()
        await self._hand_over(peers)
        await self._try_free(peers)
        self._look_often(peers)

    async def close(self) -> None:
        """Give every host up, at the orderly end of the service: nothing here acts on them any more."""
        self._is_closed = True
        held = [fence.held for fence in self._fences if fence.held is not None]
        for fence in self._fences:
            fence.end()
        if held and not self.replaced.is_set():
            await self._leases.drop(self.server.id, held)

    def hurry(self) -> None:
        """Look at the leases now; from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._hurry.set)

    # Of fences

    async def take(self, fence: HostFence) -> None:
        """Take the fence's host. Raises ``HostElsewhere`` where another server owns it."""
        for other in self._fences:
            if other.held is not None and other.host_id == fence.host_id:
                fence.doubled = _twice(fence, other)
                raise fence.doubled
        sent = self._seconds()
        if (namesake := await self._leases.enter(fence.reach)) is not None:
            fence.doubled = await self._named_twice(fence, namesake)
            raise fence.doubled
        fence.doubled = None
        if self._is_closed:
            raise await self._refusal(fence)
        held = await self._leases.retake(self.server.id, fence.host_id)
        if held is None and self._state is ServerState.SERVING:
            held = await self._leases.take(self.server.id, fence.host_id, stand_in=fence.stand_in)
        if held is None:
            raise await self._refusal(fence)
        fence.hold(held, self._deadline(sent))
        await self._tell()
        _log.info("host.taken", host=fence.name, host_id=fence.host_id, epoch=held.epoch)

    async def started(self, fence: HostFence) -> None:
        """Begin the work on a host that is open now, where the service has begun."""
        if self._callbacks is None:
            return
        self._new.append(fence.host_id)
        if self._beginning is None or self._beginning.done():
            self._beginning = asyncio.create_task(self._begin_new(), name="begin work on hosts")

    async def _begin_new(self) -> None:
        """Begin the work on new hosts, all that have come at once: a peer may have left a hundred."""
        while self._new and self._callbacks is not None:
            new, self._new = self._new, []
            try:
                await self._callbacks.gained(new)
            except Exception as exc:  # the other hosts go on; these are looked at again by who owns them next
                _log.error("hosts.not_begun", hosts=len(new), traceback=traceback_of(exc))

    def is_held(self, held: Held) -> bool:
        """Whether the database says so too. Blocks."""
        return self._leases.holds(self.server.id, held)

    @property
    def now(self) -> float:
        """Seconds of the clock that leases end by."""
        return self._seconds()

    async def change(self) -> None:
        """Wait until a lease was confirmed or lost."""
        async with self._changed:
            await self._changed.wait()

    # Machinery

    def _fence_of(self, host_id: str) -> HostFence | None:
        """The fence of a host: the one with its lease, where the settings name it twice."""
        fences = [fence for fence in self._fences if fence.host_id == host_id]
        return next((fence for fence in fences if fence.held is not None), next(iter(fences), None))

    def _deadline(self, sent: float) -> float:
        return sent + self._times.ttl - self._times.margin

    async def _rest(self) -> None:
        waiting = asyncio.ensure_future(self._hurry.wait())
        is_often = self._seconds() < self._often_until
        sleeping = asyncio.ensure_future(
            self._sleep(self._times.hand_over if is_often else self._times.renewal)
        )
        try:
            await asyncio.wait({waiting, sleeping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            sleeping.cancel()
        self._hurry.clear()

    async def _renew(self, sent: float) -> None:
        """Prolong what is held; what ran out is kept where nobody else has had it meanwhile."""
        fences = {fence.held: fence for fence in self._fences if fence.held is not None}
        renewed = set(await self._leases.renew(self.server.id, fences.keys())) if fences else set()
        lost: list[HostFence] = []
        for held, fence in fences.items():
            if held in renewed:
                fence.hold(held, self._deadline(sent))
            else:
                lost.append(fence)
        await self._tell()
        await self._lose(lost)

    async def _lose(self, fences: Sequence[HostFence]) -> None:
        """Stop all work on hosts that are this server's no more."""
        for fence in fences:
            why = "host.freed_by_retirement" if self.is_retired else "host.lost_to_another_server"
            _log.warning(why, host=fence.name, host_id=fence.host_id)
            await self._stop(fence)

    async def _stop(self, fence: HostFence) -> None:
        fence.close()
        if self._callbacks is not None:
            await self._callbacks.lost(fence.host_id)
        if fence.held is not None:
            # Before it is let go of: else this server would take it up again by itself.
            await self._leases.drop(self.server.id, [fence.held])
        fence.lose()
        await self._tell()
        await fence.disconnect()

    async def _hand_over(self, peers: _Peers) -> None:
        """Offer what another server has the better right to, and give it up once that one has opened it.

        And as soon as nothing is in flight there; what nobody opens stays.
        """
        for fence in [fence for fence in self._fences if fence.held is not None]:
            lease, reaches = peers.leases.get(fence.host_id), peers.reaches.get(fence.host_id, ())
            better = [reach for reach in reaches if self._is_better(fence, reach)]
            await self._offer(fence, lease, is_wanted=bool(better))
            fence.is_leaving = lease is not None and any(reach.has_opened(lease) for reach in better)
            if fence.is_leaving and not await self._in_flight(fence.host_id):
                await self._stop(fence)
                _log.info("host.handed_over", host=fence.name, host_id=fence.host_id)

    async def _offer(self, fence: HostFence, lease: HostLease | None, *, is_wanted: bool) -> None:
        if fence.held is None or lease is None or is_wanted == (lease.offered_at is not None):
            return
        await self._leases.offer(self.server.id, fence.held, offered=is_wanted)
        if is_wanted:
            self._look_often_now()
            _log.info("host.offered", host=fence.name, host_id=fence.host_id)

    def _is_better(self, fence: HostFence, reach: Reach) -> bool:
        """Whether another server that lives and serves should have the host, if it can open it."""
        return self._state is ServerState.DRAINING or (fence.stand_in and not reach.stand_in)

    async def _peers(self) -> _Peers:
        """Read what there is to know of the others, and what this server is to do."""
        servers = await self._servers.list()
        self._state = next((each.state for each in servers if each.id == self.server.id), self._state)
        serving = {each.id for each in servers if each.alive and each.state is ServerState.SERVING}
        reaches: dict[str, list[Reach]] = {}
        own: dict[str, Reach] = {}
        for reach in await self._leases.reaches():
            if reach.server_id == self.server.id:
                own[reach.host_id] = reach
            elif reach.server_id in serving:
                reaches.setdefault(reach.host_id, []).append(reach)
        return _Peers({lease.host_id: lease for lease in await self._leases.list()}, reaches, own)

    async def _in_flight(self, host_id: str) -> int:
        return await self._callbacks.in_flight(host_id) if self._callbacks is not None else 0

    async def _try_free(self, peers: _Peers) -> None:
        """Open hosts that nobody owns, which are taken if they answer, and those that are offered."""
        for fence in self._fences:
            lease = peers.leases.get(fence.host_id)
            if fence.held is not None or not fence.host_id:
                continue
            fence.hear_of(lease)
            if lease is None or not lease.alive or self._may_come(peers, lease):
                await fence.connect()

    def _may_come(self, peers: _Peers, lease: HostLease) -> bool:
        """Whether a host is offered, and this server has not shown yet that it can open it."""
        reach = peers.own.get(lease.host_id)
        return (
            lease.offered_at is not None
            and self._state is ServerState.SERVING
            and (reach is None or not reach.has_opened(lease))
        )

    def _look_often(self, peers: _Peers) -> None:
        """Look often for a while after a host was offered that this server has, or would take."""
        concerned = {fence.host_id for fence in self._fences}
        offers = frozenset(
            lease.offered_at
            for lease in peers.leases.values()
            if lease.offered_at is not None and lease.host_id in concerned
        )
        if offers - self._offers:
            self._look_often_now()
        self._offers = offers

    def _look_often_now(self) -> None:
        self._often_until = self._seconds() + self._times.ttl

    async def _refusal(self, fence: HostFence) -> HostElsewhere:
        leases = {lease.host_id: lease for lease in await self._leases.list()}
        servers = {each.id: each for each in await self._servers.list()}
        lease = leases.get(fence.host_id)
        owner = servers.get(lease.server_id or "") if lease is not None else None
        fence.hear_of(lease)
        return HostElsewhere(
            whose(fence.name, lease, owner),
            code=ErrorCode.ERROR_ONLY_IF_CONNECTED,
            advice="innkeeper server list shows which server looks after which host.",
        )

    async def _named_twice(self, fence: HostFence, other: Reach) -> HostElsewhere:
        """Return the refusal of a host whose name another has; whoever reaches that one keeps it taken."""
        names = {each.id: each.name for each in await self._servers.list()}
        leases = {lease.host_id: lease.server_id for lease in await self._leases.list()}
        reaches = [each for each in await self._leases.reaches() if each.host_id == other.host_id]
        owner = names.get(leases.get(other.host_id) or "")
        servers = sorted({names[each.server_id] for each in reaches if each.server_id in names})
        whose = f"looked after by the server {owner}" if owner else f"known to {' and '.join(servers)}"
        uri = next((each.uri for each in reaches if names.get(each.server_id) == owner), other.uri)
        retire = "; ".join(f"innkeeper server retire {each}" for each in servers)
        return HostElsewhere(
            f"Another host has the name {fence.name}: the one at {uri}, {whose}.",
            code=ErrorCode.ERROR_ALREADY_EXISTS,
            advice=f"Give this one a name of its own in the setting hypervisors, such as "
            f"{fence.name}-2={fence.uri}. Where the other is gone with all servers that reach it: {retire}",
        )

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


@dataclasses.dataclass(frozen=True, slots=True)
class _Peers:
    """What the tables say of the other servers."""

    #: By the hosts' ids.
    leases: Mapping[str, HostLease]
    #: What the others reach that live and serve.
    reaches: Mapping[str, Sequence[Reach]]
    #: What this server reaches.
    own: Mapping[str, Reach]


class HostFence:
    """The fence of one host (``servers.fence.Fence``), open while this server has the lease."""

    def __init__(self, ownership: Ownership, *, name: str, uri: str, stand_in: bool) -> None:
        self._ownership = ownership
        self.name = name
        self.uri = uri
        self.stand_in = stand_in
        #: Empty until the host has said who it is.
        self.host_id = ""
        self.held: Held | None = None
        #: Whether the host is to be handed over: nothing new begins on it.
        self.is_leaving = False
        #: Why it is not used at all: it is the same as another of the settings, or another has its name.
        self.doubled: HostElsewhere | None = None
        #: What the server calls it that looks after it, where that is another name.
        self.known_as = ""
        self._deadline = 0.0
        #: Whether the lease is lost for certain, or was never had.
        self._is_lost = True
        self._is_open = False
        self._connect: Callable[[], Awaitable[None]] | None = None
        self._disconnect: Callable[[], Awaitable[None]] | None = None

    def bind(
        self, *, connect: Callable[[], Awaitable[None]], disconnect: Callable[[], Awaitable[None]]
    ) -> None:
        """Give it what opens the host, trying at once, and what lets go of it."""
        self._connect, self._disconnect = connect, disconnect

    @property
    def is_open(self) -> bool:
        """Whether the host is this server's, and ready for work."""
        return self._is_open and not self._is_lost

    @property
    def is_certain(self) -> bool:
        """Whether the lease holds by this server's clock."""
        return self.held is not None and self._ownership.now <= self._deadline

    @property
    def reach(self) -> Reach:
        """What this server says of the host to the others."""
        return Reach(
            host_id=self.host_id,
            server_id=self._ownership.server.id,
            stand_in=self.stand_in,
            name=self.name,
            uri=self.uri,
        )

    @property
    def epoch(self) -> int:
        """The epoch of the lease by which this server acts."""
        return self.held.epoch if self.held is not None else 0

    async def claim(self, host_id: str) -> None:
        """Take the host. Raises ``HostElsewhere`` where another server owns it."""
        self.host_id = host_id
        if self.held is None:
            await self._ownership.take(self)

    async def opened(self) -> None:
        """Begin this server's work on the host."""
        if not self._is_open:
            self._is_open = True
            await self._ownership.started(self)

    async def settled(self) -> None:
        """Wait until this server may act on the host. Raises ``HostElsewhere`` where it lost it."""
        while self._ownership.now > self._deadline:
            if self._is_lost:
                raise _lost(self.name)
            self._ownership.hurry()
            await self._ownership.change()

    def check(self, *, final: bool = False) -> None:
        """Raise ``FenceClosed`` where this server may not act now."""
        held = self.held
        if held is None or not self.is_certain:
            raise _closed(self.name)
        if final and not self._is_confirmed(held):
            self._deadline = 0.0
            self._ownership.hurry()
            raise _closed(self.name)

    def _is_confirmed(self, held: Held) -> bool:
        """Whether the database says so too; one that is away says nothing, and is waited for."""
        try:
            return self._ownership.is_held(held)
        except ServiceError:
            return False

    @property
    def second_address(self) -> str:
        """Why a name of the settings is none of a host of its own, in a sentence; empty where it is."""
        if self.doubled is not None:
            return f"{self.doubled.sentence} {self.doubled.advice}"
        if self.known_as and self.held is None:
            return (
                f"It is the host {self.known_as} by another address: the server that looks after it now "
                "calls it that."
            )
        return ""

    # Of the ownership

    def hear_of(self, lease: HostLease | None) -> None:
        """Note what the host is called by the server that looks after it."""
        is_other = lease is not None and lease.alive and lease.name.casefold() != self.name.casefold()
        self.known_as = lease.name if lease is not None and is_other else ""

    def hold(self, held: Held, deadline: float) -> None:
        """Admit acts until then."""
        self.held, self._deadline, self._is_lost = held, deadline, False

    def close(self) -> None:
        """Admit nothing; who waits goes on waiting."""
        self._deadline = 0.0

    def lose(self) -> None:
        """Refuse who waits: the host is another's."""
        self.held, self._is_lost, self._is_open, self.is_leaving = None, True, False, False

    def end(self) -> None:
        """Admit nothing any more, at the end of the service."""
        self.close()
        self.lose()

    async def connect(self) -> None:
        """Try to open the host at once."""
        if self._connect is not None:
            try:
                await self._connect()
            except InnkeeperError as error:
                _log.debug("host.not_taken", host=self.name, error=error.sentence)

    async def disconnect(self) -> None:
        """Disconnect from the host."""
        if self._disconnect is not None:
            await self._disconnect()


def whose(host: str, lease: HostLease | None, owner: Server | None) -> str:
    """Describe whose a host is, in one sentence."""
    if lease is None or owner is None or not lease.alive:
        last = f"; {owner.name} did last" if owner is not None else ""
        return f"The host {host} is looked after by no server now{last}."
    if owner.alive:
        return f"The host {host} is looked after by the server {owner.name}."
    return f"The host {host} is looked after by the server {owner.name}, which is away since {_time(owner)}."


def _time(server: Server) -> str:
    return f"{server.last_seen.astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC"


def _closed(host: str) -> FenceClosed:
    return FenceClosed(
        f"This server may not act on the host {host} now: its lease has run out.",
        code=ErrorCode.ERROR_ONLY_IF_CONNECTED,
        advice="It goes on by itself once the lease is renewed, or another server does.",
    )


def _twice(fence: HostFence, other: HostFence) -> HostElsewhere:
    return HostElsewhere(
        f"{fence.name} ({fence.uri}) is the same host as {other.name} ({other.uri}).",
        code=ErrorCode.ERROR_ALREADY_EXISTS,
        advice="Leave one of them out of the setting hypervisors.",
    )


def _lost(host: str) -> HostElsewhere:
    return HostElsewhere(
        f"The host {host} is looked after by another server now.",
        code=ErrorCode.ERROR_ONLY_IF_CONNECTED,
        advice="innkeeper server list shows by which.",
    )
