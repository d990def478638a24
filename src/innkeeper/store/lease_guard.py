"""Write what belongs to a host only while this server has its lease, in the same transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import sqlalchemy as sa

from innkeeper.servers.fence import FenceClosed, HostElsewhere
from innkeeper.servers.lease import Held
from innkeeper.store.leases import Leases
from innkeeper.tasks.outcome import LeftUnfinished

T = TypeVar("T")

Change = Callable[[sa.Connection], T]


class Owner(Protocol):
    """What the guard asks of whoever keeps the leases."""

    def held(self, host_id: str) -> Held | None:
        """The lease by which this server owns a host."""

    async def confirm(self, host_id: str) -> None:
        """Look at the lease of a host anew. Raises ``HostElsewhere`` where it is lost."""


class LeaseGuard:
    """The guard of one server's writes."""

    def __init__(self, leases: Leases, server_id: str, owner: Owner) -> None:
        self._leases = leases
        self._server_id = server_id
        self._owner = owner

    async def write(self, host_id: str, change: Change[T], write: Callable[[Change[T]], Awaitable[T]]) -> T:
        """Write a change of a host that this server owns; waits while that is not certain.

        Raises ``LeftUnfinished`` where another server owns the host: the work is that one's now.
        """
        while True:
            try:
                return await write(self._guarded(host_id, change))
            except FenceClosed:
                await self._confirm(host_id)

    def _guarded(self, host_id: str, change: Change[T]) -> Change[T]:
        held = self._owner.held(host_id)

        def guarded(connection: sa.Connection) -> T:
            if held is None or not self._leases.is_held(connection, self._server_id, held):
                raise FenceClosed(f"This server may not write for the host {host_id} now.")
            return change(connection)

        return guarded

    async def _confirm(self, host_id: str) -> None:
        try:
            await self._owner.confirm(host_id)
        except HostElsewhere as error:
            raise LeftUnfinished(error.sentence) from error
