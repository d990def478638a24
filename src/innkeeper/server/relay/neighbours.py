"""The other servers of the inn, and which of them looks after what."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Final

from innkeeper.errors import MachineAmbiguous, ServiceError
from innkeeper.machines.directory import Directory, HostEntry, MachineEntry
from innkeeper.machines.sight import Placed, among_seen
from innkeeper.server.relay.care import Care, can_be_asked, care_by
from innkeeper.server.relay.reference import Reference, ReferenceKind
from innkeeper.server.relay.transport import Transport
from innkeeper.servers.lease import HostLease
from innkeeper.servers.ports import LeaseStore, ServerStore
from innkeeper.servers.server import Server

#: How long what the tables say of servers and leases is believed: reading them takes time.
_BELIEVED_SECONDS: Final = 1.0
#: For so long a server that did not answer is taken for one that does not.
_SILENT_SECONDS: Final = 5.0
#: So often it is read which names several machines have, for callers who do not see them all.
_SHARED_SECONDS: Final = 5.0
_MOST_LABELS: Final = 10_000


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Elsewhere:
    """What another server looks after."""

    #: The server that can answer for it; ``None`` where none does.
    server: Server | None
    #: The host's name; empty for what is of the server itself.
    host: str
    #: The machine that was asked for, as its owner saw it last.
    machine: MachineEntry | None = None
    #: Who looks after it.
    care: Care

    @property
    def answers(self) -> bool:
        """Whether the server can be asked."""
        return self.server is not None and can_be_asked(self.server)

    def away(self) -> ServiceError:
        """Return the error for a request to a server that is away."""
        return self.care.refusal(self.host)


@dataclasses.dataclass(frozen=True, slots=True)
class _Seen:
    at: float
    servers: Mapping[str, Server]
    #: The lease of each host that ever had an owner, by the host's id.
    leases: Mapping[str, HostLease]


@dataclasses.dataclass(frozen=True, slots=True)
class _Silence:
    """When a server did not answer."""

    #: By the event loop's clock.
    noted: float
    since: dt.datetime
    #: The start of the server that was asked.
    incarnation: int


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
        own_hosts: Callable[[], Mapping[str, str]],
        seen_as: Callable[[], Awaitable[str]],
        channel_servers: Callable[[str], Awaitable[Collection[str]]],
        called_here: Callable[[str], Awaitable[Sequence[Placed]]],
    ) -> None:
        """``own_hosts`` gives the hosts that this server looks after now: their names by their ids.

        ``called_here`` gives their machines of a name, also those that the directory does not have yet.

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
        self._called_here = called_here
        self._seen: _Seen | None = None
        #: When servers did not answer that live by their own word: by their ids, and since which start.
        self._silent: dict[str, _Silence] = {}
        #: Of the machines that were found last, by their keys and what they were asked for by, in one case.
        self._labels: dict[str, frozenset[str]] = {}
        self._shared: Sequence[MachineEntry] = ()
        self._shared_at = float("-inf")

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

    async def of_shared_names(self) -> Sequence[MachineEntry]:
        """The machines of all servers whose names others have too, as they were read a moment ago."""
        now = asyncio.get_running_loop().time()
        if now - self._shared_at > _SHARED_SECONDS:
            self._shared = await self.directory.of_shared_names()
            self._shared_at = now
            self._note_labels({entry.key: frozenset(entry.labels) for entry in self._shared})
        return self._shared

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

    async def care_of(self, host_id: str) -> Care:
        """Who looks after the host of this id."""
        return self._care(await self._look(), host_id)

    async def host_called(self, host_id: str) -> str:
        """The name of a host that ever had an owner, of one that was forgotten too; empty for any other."""
        lease = (await self._look()).leases.get(host_id)
        return "" if lease is None else lease.name

    async def care_elsewhere(self, host_id: str) -> Care | None:
        """Who looks after a host that this server does not look after; ``None`` for one that it does."""
        return None if host_id in self.own_hosts() else await self.care_of(host_id)

    def did_not_answer(self, server: Server) -> None:
        """Note that a server which lives by its own word did not answer: it may just have died."""
        if not self.is_silent(server):
            at = dt.datetime.now(dt.UTC)
            self._silent[server.id] = _Silence(asyncio.get_running_loop().time(), at, server.incarnation)

    def is_silent(self, server: Server) -> bool:
        """Whether the server did not answer a moment ago: until it is tried again, nobody waits for it."""
        return self._silence(server) is not None

    def why_missing(self, server: Server) -> str:
        """Why a server has told nothing, in a sentence."""
        absence = Care(owner=server, silent_since=self._silence(server)).absence
        return f"The server {server.name} {absence or 'did not answer in time'}."

    def _silence(self, server: Server | None) -> dt.datetime | None:
        known = self._silent.get(server.id) if server is not None else None
        if known is None or server is None:
            return None
        is_over = asyncio.get_running_loop().time() - known.noted > _SILENT_SECONDS
        if is_over or server.incarnation != known.incarnation:
            del self._silent[server.id]
            return None
        return known.since

    def _care(self, seen: _Seen, host_id: str) -> Care:
        lease = seen.leases.get(host_id)
        if lease is None:
            return Care(owner=None)
        server = seen.servers.get(lease.server_id or "")
        return care_by(lease, server, self._silence(server))

    def look_again(self) -> None:
        """Believe nothing that was read before: a server has said that it owns no such thing any more."""
        self._seen = None

    async def _find_machine(self, reference: str) -> Elsewhere | None:
        several = await self._machines(reference)
        self._note_labels({entry.key: frozenset(entry.labels) for entry in several})
        own = self.own_hosts()
        elsewhere = [entry for entry in several if entry.host_id not in own]
        if not elsewhere:
            return None  # this server has it, or nobody
        found = among_seen([*several, *await self._new_here(reference, several)])
        elsewhere = [entry for entry in elsewhere if entry in found]
        if not elsewhere:
            return None
        if len(found) > 1:
            raise MachineAmbiguous(reference, sorted(f"{entry.host}/{entry.name}" for entry in found))
        (entry,) = elsewhere
        self._note_labels({reference: frozenset(entry.labels)})
        return self._elsewhere(await self.care_of(entry.host_id), entry.host, entry)

    async def _new_here(self, name: str, known: Sequence[MachineEntry]) -> Sequence[Placed]:
        """The machines of a name on this server's hosts that the directory does not have yet."""
        keys = {entry.key for entry in known}
        return [] if "/" in name else [each for each in await self._called_here(name) if each.key not in keys]

    def _note_labels(self, found: Mapping[str, frozenset[str]]) -> None:
        if len(self._labels) >= _MOST_LABELS:
            self._labels.clear()
        self._labels |= {name.casefold(): labels for name, labels in found.items()}

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
        if name in own.values():  # also where a host of this name that has gone is still written down
            return None
        found = [
            host for host in await self.directory.hosts() if host.name == name and host.host_id not in own
        ]
        places = [self._elsewhere(await self.care_of(host.host_id), name) for host in found]
        return max(places, key=lambda place: (place.answers, place.server is not None), default=None)

    def _elsewhere(self, care: Care, host: str, machine: MachineEntry | None = None) -> Elsewhere:
        """What is on a host of another server, or of nobody; this server would know that it has it."""
        is_own = care.owner is not None and care.owner.id == self.own.id
        if is_own:  # it has the lease, and has not opened the host yet
            care = Care(owner=None, last=care.owner)
        return Elsewhere(server=care.owner, host=host, machine=machine, care=care)

    async def absence_of(self, server_id: str) -> str:
        """Return since when a server is away, in a sentence; empty where it lives, or nobody knows it."""
        server = (await self._look()).servers.get(server_id)
        if server is None or server.alive or server.id == self.own.id:
            return ""
        return Care(owner=server).reason()

    async def _find_server(self, server_id: str) -> Elsewhere | None:
        server = (await self._look()).servers.get(server_id)
        if server is None or server.id == self.own.id:
            return None
        return Elsewhere(server=server, host="", care=Care(owner=server))

    async def _find_channel(self, name: str) -> Elsewhere | None:
        opened_at = await self._channel_servers(name)
        if not opened_at or self.own.name in opened_at:
            return None
        known = (await self._look()).servers.values()
        server = next((each for each in known if each.name in opened_at), None)
        return Elsewhere(server=server, host=f"The channel {name}", care=Care(owner=server))

    async def _look(self) -> _Seen:
        now = asyncio.get_running_loop().time()
        if self._seen is None or now - self._seen.at > _BELIEVED_SECONDS:
            servers, leases = await asyncio.gather(self._servers.list(), self._leases.list())
            found = {lease.host_id: lease for lease in leases if lease.until is not None}
            self._seen = _Seen(now, {server.id: server for server in servers}, found)
        return self._seen
