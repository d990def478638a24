"""Leases of hosts in the database, by its own clock."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from typing import Final

import sqlalchemy as sa

from innkeeper.servers.lease import Held, HostLease
from innkeeper.servers.server import ServerState
from innkeeper.store.database import Database, upsert
from innkeeper.store.moments import moment
from innkeeper.store.tables import host_leases, servers

#: For so long a host stays with a server that no longer renews its lease.
LEASE_TTL: Final = dt.timedelta(seconds=30)


class Leases:
    """A ``LeaseStore`` on PostgreSQL; on SQLite, whose one server owns every host, it serves tests."""

    def __init__(self, database: Database, *, ttl: dt.timedelta = LEASE_TTL) -> None:
        self._database = database
        self._ttl = ttl

    async def list(self) -> Sequence[HostLease]:
        """All hosts that were ever leased, by name."""

        def find(connection: sa.Connection) -> Sequence[HostLease]:
            query = sa.select(host_leases, _is_alive(connection)).order_by(host_leases.c.name)
            return [_lease(row) for row in connection.execute(query)]

        return await self._database.read(find)

    async def enter(self, host_id: str, *, name: str, uri: str) -> None:
        """Make a host known, or give it another name or URI; its lease stays as it is."""
        row = {"host": host_id, "name": name, "uri": uri}
        await self._database.write(lambda c: upsert(c, host_leases, row))

    async def take(self, server_id: str, host_ids: Collection[str]) -> Sequence[Held]:
        """Take those of the hosts that nobody owns; each taken one gets a new epoch.

        One that another has wished for is left to it, while that one can still come for it.
        """

        def take(connection: sa.Connection) -> Sequence[Held]:
            is_free = sa.func.coalesce(host_leases.c.until <= moment(connection), sa.true())
            comes = sa.select(servers.c.id).where(
                servers.c.until > moment(connection), servers.c.state == ServerState.SERVING.value
            )
            is_mine = sa.func.coalesce(host_leases.c.wish, server_id) == server_id
            return self._take(
                connection, server_id, host_ids, is_free & (is_mine | host_leases.c.wish.not_in(comes))
            )

        return await self._database.write(take)

    async def retake(self, server_id: str, host_ids: Collection[str]) -> Sequence[Held]:
        """Take up those that a former start of the same server left; each gets a new epoch."""
        own = host_leases.c.server == server_id
        return await self._database.write(lambda c: self._take(c, server_id, host_ids, own))

    async def renew(self, server_id: str, held: Collection[Held]) -> Sequence[Held]:
        """Prolong leases; returns those that are still this server's."""

        def renew(connection: sa.Connection) -> Sequence[Held]:
            update = (
                sa.update(host_leases)
                .where(*_mine(server_id, held), host_leases.c.until > moment(connection))
                .values(until=moment(connection, later=self._ttl))
            )
            return _returned(connection, update)

        return await self._database.write(renew)

    async def drop(self, server_id: str, held: Collection[Held]) -> None:
        """Give leases up: anybody may take them at once."""

        def drop(connection: sa.Connection) -> None:
            update = sa.update(host_leases).where(*_mine(server_id, held))
            connection.execute(update.values(until=moment(connection)))

        await self._database.write(drop)

    async def wish(self, server_id: str, host_ids: Collection[str]) -> None:
        """Record that this server has the better right to hosts: their owners hand them over."""
        update = (
            sa.update(host_leases)
            .where(host_leases.c.host.in_(host_ids), host_leases.c.server != server_id)
            .values(wish=server_id)
        )
        await self._database.write(lambda c: c.execute(update))

    def holds(self, server_id: str, held: Held) -> bool:
        """Whether the lease is this server's now. Asks the database, and blocks: for threads that act."""

        return self._database.read_here(lambda c: self.is_held(c, server_id, held))

    def is_held(self, connection: sa.Connection, server_id: str, held: Held) -> bool:
        """Whether the lease is this server's now; until the transaction's end nobody else takes it.

        For a write that belongs to a host: in its transaction, before it.
        """
        mine = sa.select(host_leases.c.host).where(
            host_leases.c.host == held.host_id,
            host_leases.c.server == server_id,
            host_leases.c.epoch == held.epoch,
            host_leases.c.until > moment(connection),
        )
        return connection.scalar(mine.with_for_update(read=True)) is not None

    def _take(
        self,
        connection: sa.Connection,
        server_id: str,
        host_ids: Collection[str],
        condition: sa.ColumnElement[bool],
    ) -> Sequence[Held]:
        update = (
            sa.update(host_leases)
            .where(host_leases.c.host.in_(host_ids), condition)
            .values(
                server=server_id,
                epoch=host_leases.c.epoch + 1,
                until=moment(connection, later=self._ttl),
                wish=sa.case((host_leases.c.wish == server_id, sa.null()), else_=host_leases.c.wish),
            )
        )
        return _returned(connection, update)


def _mine(server_id: str, held: Collection[Held]) -> Sequence[sa.ColumnElement[bool]]:
    pairs = [(each.host_id, each.epoch) for each in held]
    return (
        host_leases.c.server == server_id,
        sa.tuple_(host_leases.c.host, host_leases.c.epoch).in_(pairs),
    )


def _returned(connection: sa.Connection, update: sa.Update) -> Sequence[Held]:
    found = connection.execute(update.returning(host_leases.c.host, host_leases.c.epoch))
    return [Held(host_id=row.host, epoch=row.epoch) for row in found]


def _is_alive(connection: sa.Connection) -> sa.ColumnElement[bool]:
    is_held = host_leases.c.server.is_not(None) & (host_leases.c.until > moment(connection))
    return sa.func.coalesce(is_held, sa.false()).label("alive")


def _lease(row: sa.Row[tuple[object, ...]]) -> HostLease:
    return HostLease(
        host_id=row.host,
        name=row.name,
        uri=row.uri,
        server_id=row.server,
        epoch=row.epoch,
        until=row.until,
        alive=bool(row.alive),
        wish=row.wish,
    )
