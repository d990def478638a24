"""Routes of the service itself: version, health, metrics."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from collections.abc import Iterable

from fastapi import APIRouter, Request, Response

from innkeeper.disks.confined.child import shortcomings
from innkeeper.errors import InnkeeperError
from innkeeper.identity.roles import THE_INN, Role
from innkeeper.machines.ports.host import Host
from innkeeper.server.house import House
from innkeeper.server.identity.needs import needs, open_to_all
from innkeeper.server.identity.subjects import Kind, what_they_see
from innkeeper.server.metrics import MEDIA_TYPE
from innkeeper.server.routes.asking import TheAllowed, TheCaller, TheHouse
from innkeeper.server.routes.host import unmet_hosts
from innkeeper.server.shared_look import SharedLook
from innkeeper.tasks import patience
from innkeeper.tasks.task import TaskFilter
from innkeeper.wire import messages as wire
from innkeeper.wire.version import VERSION

router = APIRouter(tags=["service"])
#: For those who watch over the service: outside the versions, and in no client.
probes = APIRouter(include_in_schema=False)

#: A host that takes longer to answer is not well.
TIMEOUT_SECONDS = 10.0
#: Neither is a database; what waits for it has more patience.
DATABASE_SECONDS = 3.0
#: How long a look whether the service can work is believed: anybody may ask for one.
READY_SECONDS = 2.0
#: A disk that hangs is no reason not to be ready, and who asks has little patience.
ROOM_SECONDS = 0.5


@router.get("/inn", operation_id="get_inn", dependencies=needs(Role.VIEWER, what_they_see))
async def get_inn(house: TheHouse, caller: TheCaller, allowed: TheAllowed) -> wire.InnMessage:
    """The service's name and version, and the caller's roles."""
    role = caller.role_on(THE_INN)
    return wire.InnMessage(
        version=VERSION,
        server=socket.gethostname(),
        user=caller.user,
        domain=caller.realm,
        proof=caller.proof.value,
        role=role.word if role else None,
        allowed=allowed(Kind.INN, THE_INN),
        now=house.clock.now(),
        fake=house.settings.fake is not None,
    )


@router.get("/health", operation_id="get_health", dependencies=needs(Role.VIEWER))
async def get_health(house: TheHouse) -> wire.HealthMessage:
    """Whether the service, its database, hosts, background loops and disks are well."""
    trouble = await _database_trouble(house)
    away = () if trouble else await unmet_hosts(house)
    hosts = await asyncio.gather(*(_health(host) for host in (*house.machines.hosts.values(), *away)))
    live = [] if trouble else await house.tasks.list(TaskFilter(live=True, limit=100_000))
    loops = [
        wire.LoopHealth(name=each.name, ok=each.ok, failures=each.failures, detail=each.error)
        for each in house.loops.health
    ]
    rooms = [
        wire.RoomHealth(
            path=each.path,
            ok=not each.trouble,
            free_bytes=each.free_bytes,
            total_bytes=each.total_bytes,
            detail=each.trouble,
        )
        for each in await house.rooms.look()
    ]
    ok = not trouble and all(host.ok for host in hosts)
    ok = ok and all(loop.ok for loop in loops) and all(room.ok for room in rooms)
    return wire.HealthMessage(
        ok=ok,
        live_tasks=len(live),
        hosts=tuple(hosts),
        loops=tuple(loops),
        database=wire.DatabaseHealth(ok=not trouble, detail=trouble),
        rooms=tuple(rooms),
        unconfined=tuple(await asyncio.to_thread(shortcomings)),
    )


async def _database_trouble(house: House) -> str:
    """Return what is wrong with the database now, in one sentence; empty where it answers."""
    try:
        with patience.bounded(DATABASE_SECONDS):
            await house.database.probe()
    except InnkeeperError as error:
        return error.sentence
    return ""


async def _health(host: Host) -> wire.HostHealth:
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            machines = len(await host.inventory.list())
    except (InnkeeperError, TimeoutError) as error:
        detail = str(error) or "It does not answer."
        return wire.HostHealth(name=host.name, uri=host.uri, ok=False, machines=0, detail=detail)
    return wire.HostHealth(name=host.name, uri=host.uri, ok=True, machines=machines)


@probes.get("/livez", dependencies=open_to_all())
async def is_alive() -> Response:
    """Whether the process answers: 200."""
    return Response("alive\n", media_type="text/plain")


@probes.get("/readyz", dependencies=open_to_all())
async def is_ready(house: TheHouse, request: Request) -> Response:
    """Whether the service can work, by a look of the last two seconds: 200, or 503 with what is missing.

    It stays ready, and says that it is degraded, while a loop that has failed is being restarted, or a disk
    is short of room.
    """
    seen = await request.app.state.readiness()
    told = seen.lacks or _readiness(house, seen)
    return Response(told, 503 if seen.lacks else 200, media_type="text/plain")


@probes.get("/metrics", dependencies=needs(Role.VIEWER))
async def metrics(house: TheHouse) -> Response:
    """The service's metrics, for Prometheus."""
    away = await unmet_hosts(house)
    return Response(await house.metrics.page(house.machines, house.tasks, away), media_type=MEDIA_TYPE)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Readiness:
    """Whether the service can work."""

    #: What it lacks for that, in one line; empty where that is nothing.
    lacks: str
    is_short_of_room: bool


def readiness(house: House) -> SharedLook[Readiness]:
    """Return the look whether the service can work, which all share who ask."""

    async def look() -> Readiness:
        lacks, rooms = await asyncio.gather(_lacks(house), house.rooms.look(ROOM_SECONDS))
        return Readiness(lacks=lacks, is_short_of_room=any(room.trouble for room in rooms))

    return SharedLook(look, READY_SECONDS)


def _readiness(house: House, seen: Readiness) -> str:
    degraded = [f"degraded: {name} has failed and is restarted\n" for name in house.loops.failing]
    if seen.is_short_of_room:
        degraded.append("degraded: a disk is short of room; GET /v1/health says which\n")
    return "".join(["ready\n", *degraded])


async def _lacks(house: House) -> str:
    # Anybody may ask: what the hosts are, and what is wrong with them, /v1/health tells those it knows.
    if await _database_trouble(house):
        since = house.database.away_since
        told = "does not answer" if since is None else f"is away since {since:%Y-%m-%d %H:%M:%S} UTC"
        return f"The database {told}. It is waited for.\n"
    if await _any_is_well(house.machines.hosts.values()):
        return ""
    return "No host answers; GET /v1/health says why.\n"


async def _any_is_well(hosts: Iterable[Host]) -> bool:
    """Whether a host answers; one that hangs holds nobody up where another does."""
    looks = [asyncio.create_task(_health(host)) for host in hosts]
    try:
        for look in asyncio.as_completed(looks):
            if (await look).ok:
                return True
        return False
    finally:
        for each in looks:
            each.cancel()
