"""Look at the servers that share the database, and drain, join and retire them."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

from innkeeper.errors import ErrorCode, InvalidArgument, NotSupported, ServiceError
from innkeeper.servers.lease import HostLease, Reach
from innkeeper.servers.ports import LeaseStore, ServerStore
from innkeeper.servers.server import Server, ServerState


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class KeptHost:
    """A host that a drained server has still."""

    name: str
    reason: str
    #: Whether nobody else can take it, so that it is not waited for.
    stays: bool


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ServerView:
    """One server, with what it has to do."""

    server: Server
    #: The names of the hosts that it looks after, or looked after last where it is away.
    hosts: tuple[str, ...] = ()
    #: How many tasks are in flight on it, or wait for it.
    in_flight: int = 0
    #: The names of the hosts that it takes only while no other server can.
    stands_in_for: tuple[str, ...] = ()
    #: The hosts that it has still, though it is drained.
    keeps: tuple[KeptHost, ...] = ()


class Fleet:
    """The servers that share the database."""

    def __init__(
        self,
        own: Server,
        *,
        servers: ServerStore,
        leases: LeaseStore,
        in_flight: Callable[[], Awaitable[Mapping[str, int]]],
        hurry: Callable[[], None] | None,
    ) -> None:
        """``in_flight`` counts live tasks by server; ``hurry`` lets this server look at what it is to do.

        It is left out where no other server shares the database.
        """
        self.own = own
        self._servers = servers
        self._leases = leases
        self._in_flight = in_flight
        self._hurry = hurry

    @property
    def is_shared(self) -> bool:
        """Whether other servers may share the database."""
        return self._hurry is not None

    async def list(self) -> Sequence[ServerView]:
        """All servers, by name."""
        in_flight = await self._in_flight()
        leases = await self._leases.list()
        reaches, servers = await self._leases.reaches(), await self._servers.list()
        living = {server.id for server in servers if server.alive}
        hosts: dict[str, list[str]] = {}
        for lease in leases:
            # What a server that lives has given up, it looks after no longer.
            if lease.server_id is not None and (lease.alive or lease.server_id not in living):
                hosts.setdefault(lease.server_id, []).append(lease.name)
        stand_ins = _stand_ins(reaches, {lease.host_id: lease.name for lease in leases})
        return [
            ServerView(
                server=self._named(server),
                hosts=tuple(sorted(hosts.get(server.id, ()))),
                in_flight=in_flight.get(server.id, 0),
                stands_in_for=tuple(sorted(stand_ins.get(server.id, ()))),
                keeps=tuple(_kept(server, leases, reaches, servers)),
            )
            for server in servers
        ]

    async def get(self, name: str) -> ServerView:
        """One server, by its exact name, else in any case. Raises ``ServiceError`` (ERROR_NOT_FOUND)."""
        found = [view for view in await self.list() if view.server.name.casefold() == name.casefold()]
        exact = [view for view in found if view.server.name == name]
        if len(exact or found) == 1:
            return (exact or found)[0]
        if found:
            raise ServiceError(
                f"“{name}” could be each of the servers {' and '.join(view.server.name for view in found)}.",
                code=ErrorCode.ERROR_NOT_FOUND,
                advice="Write the name as innkeeper server list shows it.",
            )
        raise ServiceError(
            f"There is no server “{name}”.",
            code=ErrorCode.ERROR_NOT_FOUND,
            advice="innkeeper server list shows all of them.",
        )

    async def drain(self, name: str) -> ServerView:
        """Drain a server: it begins nothing more, and hands its hosts over as they fall idle."""
        return await self._change(name, ServerState.DRAINING)

    async def join(self, name: str) -> ServerView:
        """Bring a drained server back to work: it takes hosts again."""
        return await self._change(name, ServerState.SERVING)

    async def retire(self, name: str, *, living: bool = False) -> ServerView:
        """Give up a server's name, and free its hosts. Raises ``InvalidArgument`` for one that lives.

        ``living``: that one too; it stops at its next look at the database.
        """
        view = await self.get(name)
        self._refuse_alone()
        if view.server.alive and not living:
            raise InvalidArgument(
                f"The server {view.server.name} lives: retired, it stops, and its work waits for others.",
                code=ErrorCode.ERROR_BUSY,
                advice=f"Drain it first (innkeeper server drain {view.server.name} --wait), or say --yes.",
            )
        await self._servers.set_state(view.server.id, ServerState.RETIRED)
        return dataclasses.replace(
            view, hosts=(), server=dataclasses.replace(view.server, state=ServerState.RETIRED)
        )

    async def _change(self, name: str, state: ServerState) -> ServerView:
        view = await self.get(name)
        self._refuse_alone()
        await self._servers.set_state(view.server.id, state)
        if self._hurry is not None:
            self._hurry()
        return await self.get(name)

    def _refuse_alone(self) -> None:
        if self._hurry is None:
            raise NotSupported(
                "This service has its database for itself: there is no other server to hand work to.",
                advice="Stop it with systemctl stop innkeeper; what is unfinished goes on at its next start.",
            )

    def _named(self, server: Server) -> Server:
        """A server with a file for a database has a row without its name."""
        is_own = server.id == self.own.id and self._hurry is None
        return dataclasses.replace(server, name=self.own.name, alive=True) if is_own else server


def _stand_ins(reaches: Sequence[Reach], names: Mapping[str, str]) -> Mapping[str, Sequence[str]]:
    """The hosts for which each server stands in; ``names`` are those of the hosts, by their ids."""
    found: dict[str, list[str]] = {}
    for reach in reaches:
        if reach.stand_in and reach.host_id in names:
            found.setdefault(reach.server_id, []).append(names[reach.host_id])
    return found


def _kept(
    server: Server, leases: Sequence[HostLease], reaches: Sequence[Reach], servers: Sequence[Server]
) -> Iterator[KeptHost]:
    """The hosts that a drained server has still, by name, and why."""
    if server.state is not ServerState.DRAINING or not server.alive:
        return
    serving = {each.id: each.name for each in servers if each.alive and each.state is ServerState.SERVING}
    for lease in leases:
        if lease.alive and lease.server_id == server.id:
            others = [each for each in reaches if each.host_id == lease.host_id and each.server_id in serving]
            opened = [serving[each.server_id] for each in others if each.has_opened(lease)]
            named = [serving[each.server_id] for each in others]
            yield KeptHost(name=lease.name, reason=_why_kept(opened, named), stays=not named)


def _why_kept(opened: Sequence[str], named: Sequence[str]) -> str:
    if opened:
        return f"It goes to {' or '.join(opened)} as soon as nothing is in flight on it."
    if named:
        return f"It is offered to {' and '.join(named)}, and stays until it is opened there."
    return "It stays: no other server that lives and serves has it in its settings and reaches it."
