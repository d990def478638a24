"""Ports of servers: the rows in which they find one another, and the leases of hosts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from innkeeper.servers.lease import Held, HostLease, Reach
from innkeeper.servers.server import Server, ServerState


class ServerStore(Protocol):
    """The servers that share a database. Times are the database's own."""

    async def list(self) -> Sequence[Server]:
        """All servers, by name; those that were retired are not among them."""

    async def see(self, server: Server) -> bool:
        """Record that this start of a server lives; ``False`` where its name went to another process."""

    async def announce(self, server: Server, address: str) -> None:
        """Record where the server's peers reach it."""

    async def set_state(self, server_id: str, state: ServerState) -> bool:
        """Change the part that a server takes; returns whether there is such a server."""

    async def leave(self, server: Server, trouble: str = "") -> None:
        """Give the name up at once, at the end of this start; ``trouble`` says why it failed."""


class LeaseStore(Protocol):
    """The leases of hosts. Times are the database's own."""

    async def list(self) -> Sequence[HostLease]:
        """All hosts that were ever leased, by name."""

    async def reaches(self) -> Sequence[Reach]:
        """Who can work on which host."""

    async def enter(self, reach: Reach) -> Reach | None:
        """Note that a host has answered a server now; its lease stays.

        Returns how another server reaches another host of this name, where there is one: nothing is noted.
        """

    async def keep(self, server_id: str, uris: Collection[str]) -> None:
        """Forget what a server reached by URIs that are not among these: its settings name it no longer."""

    async def offer(self, server_id: str, held: Held, *, offered: bool) -> None:
        """Offer a host to whoever can open it, or take the offer back."""

    async def take(self, server_id: str, host_id: str, *, stand_in: bool = False) -> Held | None:
        """Take a host that nobody owns, with a new epoch; ``None`` where it is another's.

        A stand-in does not take one that a living server can take which is none, and has had the time to.
        """

    async def retake(self, server_id: str, host_id: str) -> Held | None:
        """Take up a host that a former start of the same server left, with a new epoch."""

    async def renew(self, server_id: str, held: Collection[Held]) -> Sequence[Held]:
        """Prolong leases; returns those that are still this server's."""

    async def drop(self, server_id: str, held: Collection[Held]) -> None:
        """Give leases up: anybody may take them at once."""

    def holds(self, server_id: str, held: Held) -> bool:
        """Whether the lease is this server's now. Asks the database, and blocks: for threads that act."""
