"""The other servers of the inn, and which of them looks after what."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Final

from innkeeper.errors import ErrorCode, MachineAmbiguous, ServiceError
from innkeeper.machines.directory import Directory, HostEntry, MachineEntry
from innkeeper.server.relay.reference import Reference, ReferenceKind
from innkeeper.server.relay.transport import Transport
from innkeeper.servers.ports import LeaseStore, ServerStore
from innkeeper.servers.server import Server, ServerState

#: How long what the tables say of servers and leases is believed: reading them takes time.
_BELIEVED_SECONDS: Final = 1.0
_MOST_LABELS: Final = 10_000


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Elsewhere:
    """What another server looks after."""

    #: ``None`` where no server does.
    server: Server | None
    #: The host's name; empty for what is of the server itself.
    host: str
    #: The machine that was asked for, as its owner saw it last.
    machine: MachineEntry | None = None

    @property
    def answers(self) -> bool:
        """Whether the server can be asked."""
        return self.server is not None and can_be_asked(self.server)

    def away(self) -> ServiceError:
        """Return the error for a request to a server that is away."""
        what = self.host or "This"
        if self.server is None:
            return ServiceError(
                f"No server looks after {what} now; its work waits until one does.",
                code=ErrorCode.ERROR_ONLY_IF_CONNECTED,
                advice="innkeeper server list shows the servers and their hosts.",
            )
        since = _last_seen(self.server)
        return ServiceError(
            f"{what} is looked after by the server {self.server.name}, which is away since {since}; "
            "its work waits for it.",
            code=ErrorCode.ERROR_ONLY_IF_CONNECTED,
            advice=f"Start {self.server.name} again (innkeeper server list shows all); where it does not "
            f"come back, innkeeper server retire {self.server.name} frees its hosts.",
        )


@dataclasses.dataclass(frozen=True, slots=True)
class _Seen:
    at: float
    servers: Mapping[str, Server]
    #: The id of each host's owner, or of its last one, by the host's id.
    owners: Mapping[str, str]


class Neighbours:
    """The other servers of the inn. Lives on the event loop."""

    def __init__(
        self,
        *,
        own: Server,
        servers: ServerStore,
        leases: LeaseStore,
        directory: Directory,
        transport: Transport,
        own_hosts: Callable[[], Collection[str]],
        seen_as: Callable[[], Awaitable[str]],
        channel_servers: Callable[[str], Awaitable[Collection[str]]],
    ) -> None:
        """``own_hosts`` gives the ids of the hosts that this server looks after now.

        ``seen_as`` asks the database under which address it sees this computer, ``channel_servers`` at which
        servers a channel was opened, by their names.
        """
        self.own = own
        self.directory = directory
        self.transport = transport
        self._servers = servers
        self._leases = leases
        self.own_hosts = own_hosts
        self.seen_as = seen_as
        self._channel_servers = channel_servers
        self._seen: _Seen | None = None
        #: Of the machines that were found last, by their names in one case.
        self._labels: dict[str, frozenset[str]] = {}

    async def announce(self, address: str) -> None:
        """Record where the others reach this server."""
        await self._servers.announce(self.own, address)

    async def find(self, reference: Reference) -> Elsewhere | None:
        """Return where a thing is; ``None`` where it is here, or nobody knows it.

        Raises ``MachineAmbiguous`` for a machine's name that several hosts have.
        """
        if reference.kind is ReferenceKind.MACHINE:
            return await self._find_machine(reference.name)
        if reference.kind is ReferenceKind.HOST:
            return await self._find_host(reference.name)
        if reference.kind is ReferenceKind.CHANNEL:
            return await self._find_channel(reference.name)
        return await self._find_server(reference.name)

    async def machine_elsewhere(self, reference: str) -> Elsewhere | None:
        """Return the machine that a reference means, where it is on another server's host."""
        return await self._find_machine(reference)

    async def entry_of_machine(self, reference: str) -> MachineEntry | None:
        """Return a machine on another server's host, as it was seen last; ``None`` where none is known."""
        place = await self._find_machine(reference)
        return None if place is None else place.machine

    def labels(self, name: str) -> frozenset[str]:
        """Return the labels that a machine elsewhere was last found with; none for one not asked for here."""
        return self._labels.get(name.casefold(), frozenset())

    async def living(self) -> Sequence[Server]:
        """The other servers that can be asked now, by name."""
        return [server for server in await self.others() if can_be_asked(server)]

    async def others(self) -> Sequence[Server]:
        """The other servers, by name; those that are away too."""
        seen = await self._look()
        return [server for server in seen.servers.values() if server.id != self.own.id]

    async def hosts_elsewhere(self) -> Sequence[HostEntry]:
        """The hosts that this server does not look after, as their owners saw them last."""
        own = self.own_hosts()
        return [host for host in await self.directory.hosts() if host.host_id not in own]

    async def owner_of(self, host: HostEntry) -> Server | None:
        """The server that looks after a host, or did last."""
        return _owner(await self._look(), host.host_id, host.server)

    async def owner_of_id(self, host_id: str) -> Server | None:
        """The server that looks after the host of this id, or did last; ``None`` for an unknown one."""
        return _owner(await self._look(), host_id, "")

    def look_again(self) -> None:
        """Believe nothing that was read before: a server has said that it owns no such thing any more."""
        self._seen = None

    async def _find_machine(self, reference: str) -> Elsewhere | None:
        found = await self._machines(reference)
        own = self.own_hosts()
        elsewhere = [entry for entry in found if entry.host_id not in own]
        if not elsewhere:
            return None  # this server has it, or nobody
        if len(found) > 1:
            raise MachineAmbiguous(reference, sorted(f"{entry.host}/{entry.name}" for entry in found))
        (entry,) = elsewhere
        if len(self._labels) >= _MOST_LABELS:
            self._labels.clear()
        self._labels[reference.casefold()] = frozenset(entry.labels)
        hosts = {host.host_id: host for host in await self.directory.hosts()}
        written_by = hosts[entry.host_id].server if entry.host_id in hosts else ""
        server = self._another(_owner(await self._look(), entry.host_id, written_by))
        return Elsewhere(server=server, host=entry.host, machine=entry)

    async def _machines(self, reference: str) -> Sequence[MachineEntry]:
        """The machines that a reference may mean: ``machine``, ``host/machine``, a UUID or a key."""
        host, slash, word = reference.partition("/")
        if not slash:
            return await self.directory.find(reference) or await self.directory.with_uuid(reference)
        named = [*await self.directory.find(word), *await self.directory.with_uuid(word)]
        found = {entry.key: entry for entry in named if entry.host_id == host} or {
            entry.key: entry for entry in named if entry.host.casefold() == host.casefold()
        }
        return [*found.values()] or await self._where_it_went(host, word)

    async def _where_it_went(self, host: str, uuid: str) -> Sequence[MachineEntry]:
        """A key means a machine, wherever it was taken to; a host's name with a name means what is there."""
        is_name = any(each.name.casefold() == host.casefold() for each in await self.directory.hosts())
        return () if is_name else await self.directory.with_uuid(uuid)

    async def _find_host(self, name: str) -> Elsewhere | None:
        own = self.own_hosts()
        for host in await self.directory.hosts():
            if host.name == name and host.host_id not in own:
                return Elsewhere(server=self._another(await self.owner_of(host)), host=name)
        return None

    def _another(self, server: Server | None) -> Server | None:
        """The server, but not this one: a host that it looked after last is nobody's now."""
        return None if server is not None and server.id == self.own.id else server

    async def absence_of(self, server_id: str) -> str:
        """Return since when a server is away, in a sentence; empty where it lives, or nobody knows it."""
        server = (await self._look()).servers.get(server_id)
        if server is None or server.alive or server.id == self.own.id:
            return ""
        return absence(server)

    async def _find_server(self, server_id: str) -> Elsewhere | None:
        server = (await self._look()).servers.get(server_id)
        return None if server is None or server.id == self.own.id else Elsewhere(server=server, host="")

    async def _find_channel(self, name: str) -> Elsewhere | None:
        opened_at = await self._channel_servers(name)
        if not opened_at or self.own.name in opened_at:
            return None
        known = (await self._look()).servers.values()
        server = next((each for each in known if each.name in opened_at), None)
        return Elsewhere(server=server, host=f"The channel {name}")

    async def _look(self) -> _Seen:
        now = asyncio.get_running_loop().time()
        if self._seen is None or now - self._seen.at > _BELIEVED_SECONDS:
            servers, leases = await asyncio.gather(self._servers.list(), self._leases.list())
            owners = {lease.host_id: lease.server_id for lease in leases if lease.server_id is not None}
            self._seen = _Seen(now, {server.id: server for server in servers}, owners)
        return self._seen


def _last_seen(server: Server) -> str:
    return f"{server.last_seen:%H:%M} UTC on {server.last_seen:%Y-%m-%d}"


def absence(server: Server) -> str:
    """Return since when a server is away, in a sentence."""
    return f"Its server {server.name} is away since {_last_seen(server)}."


def can_be_asked(server: Server) -> bool:
    """Whether a server lives, and has a door for its peers."""
    return server.alive and bool(server.address) and server.state is not ServerState.RETIRED


def _owner(seen: _Seen, host_id: str, written_by: str) -> Server | None:
    """The owner by its lease; a host without one is that of the server that wrote of it last."""
    if host_id in seen.owners:
        return seen.servers.get(seen.owners[host_id])
    return next((server for server in seen.servers.values() if server.name == written_by), None)
