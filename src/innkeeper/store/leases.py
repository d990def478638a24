"""Leases of hosts in the database, by its own clock."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from typing import Final
from urllib.parse import urlsplit

import sqlalchemy as sa

from innkeeper.errors import ErrorCode
from innkeeper.servers.fence import HostElsewhere
from innkeeper.servers.lease import Held, HostLease, Reach
from innkeeper.servers.server import ServerState
from innkeeper.store.database import Database, add_if_free, upsert
from innkeeper.store.directory import forget_left_hosts
from innkeeper.store.moments import moment
from innkeeper.store.retirement import is_retired
from innkeeper.store.tables import Instant, host_leases, host_reaches, servers

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

    async def reaches(self) -> Sequence[Reach]:
        """Who can work on which host."""
        rows = await self._database.read(lambda c: c.execute(sa.select(host_reaches)).all())
        return [_reach(row) for row in rows]

    async def enter(self, reach: Reach) -> Reach | None:
        """Note that a host has answered a server now; its lease stays.

        Returns how another server reaches another host of this name, where there is one: nothing is noted.
        Raises ``HostElsewhere`` for a server that was retired.
        """
        row = {"host": reach.host_id, "name": reach.name, "uri": reach.uri}
        reached = {"server": reach.server_id, "stand_in": reach.stand_in, **row}
        # Another computer answers there now.
        before = (
            (host_reaches.c.server == reach.server_id)
            & (host_reaches.c.uri == reach.uri)
            & (host_reaches.c.host != reach.host_id)
        )

        def enter(connection: sa.Connection) -> Reach | None:
            if is_retired(connection, reach.server_id):
                raise HostElsewhere(
                    "This server was retired: it looks after no host any more.",
                    code=ErrorCode.ERROR_ONLY_IF_CONNECTED,
                    advice="Start it anew where it is to serve again.",
                )
            if (namesake := _namesake(connection, reach)) is not None:
                return namesake
            add_if_free(connection, host_leases, row)
            connection.execute(sa.delete(host_reaches).where(before))
            upsert(connection, host_reaches, reached | {"reached_at": moment(connection)})
            return None

        return await self._database.write(enter)

    async def keep(self, server_id: str, uris: Collection[str]) -> None:
        """Forget what a server reached by URIs that are not among these: its settings name it no longer.

        A host that no other server reaches either is taken out of the directory.
        """
        others = (host_reaches.c.server == server_id) & host_reaches.c.uri.not_in(sorted(uris))

        def keep(connection: sa.Connection) -> None:
            connection.execute(sa.delete(host_reaches).where(others))
            forget_left_hosts(connection, server_id)

        await self._database.write(keep)

    async def offer(self, server_id: str, held: Held, *, offered: bool) -> None:
        """Offer a host to whoever can open it, or take the offer back."""

        def offer(connection: sa.Connection) -> None:
            update = sa.update(host_leases).where(*_mine(server_id, [held]))
            connection.execute(update.values(offered_at=moment(connection) if offered else None))

        await self._database.write(offer)

    async def take(self, server_id: str, host_id: str, *, stand_in: bool = False) -> Held | None:
        """Take a host that nobody owns, with a new epoch; ``None`` where it is another's."""

        def take(connection: sa.Connection) -> Held | None:
            is_free: sa.ColumnElement[bool] = sa.func.coalesce(
                host_leases.c.until <= moment(connection), sa.true()
            )
            if stand_in:
                is_free &= ~_another_comes(connection, server_id) | _is_left(connection, self._ttl)
            return self._take(connection, server_id, host_id, is_free)

        return await self._database.write(take)

    async def retake(self, server_id: str, host_id: str) -> Held | None:
        """Take up a host that a former start of the same server left, with a new epoch."""

        def retake(connection: sa.Connection) -> Held | None:
            # Not one that was given up since: that is anybody's.
            own = (host_leases.c.server == server_id) & (host_leases.c.until > moment(connection))
            return self._take(connection, server_id, host_id, own)

        return await self._database.write(retake)

    async def renew(self, server_id: str, held: Collection[Held]) -> Sequence[Held]:
        """Prolong leases; returns those that are still this server's.

        One that has run out is prolonged too, as long as nobody took it: its epoch would be another.
        """

        def renew(connection: sa.Connection) -> Sequence[Held]:
            update = (
                sa.update(host_leases)
                .where(*_mine(server_id, held))
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

    def holds(self, server_id: str, held: Held) -> bool:
        """Whether the lease is this server's now. Asks the database, and blocks: for threads that act."""

        return self._database.read_here(lambda c: self.is_held(c, server_id, held))

    def is_held(self, connection: sa.Connection, server_id: str, held: Held) -> bool:
        """Whether the lease is this server's now; until the transaction's end nobody else takes it.

        For a write that belongs to a host: in its transaction, before it.
        """
        row = {"of_host": held.host_id, "of_server": server_id, "of_epoch": held.epoch}
        if connection.dialect.name == "postgresql":
            return connection.scalar(_HELD, row) is not None
        return connection.scalar(_held_at(moment(connection)), row) is not None

    def _take(
        self, connection: sa.Connection, server_id: str, host_id: str, condition: sa.ColumnElement[bool]
    ) -> Held | None:
        if is_retired(connection, server_id):
            return None
        update = (
            sa.update(host_leases)
            .where(host_leases.c.host == host_id, condition)
            .values(
                server=server_id,
                epoch=host_leases.c.epoch + 1,
                until=moment(connection, later=self._ttl),
                offered_at=None,
                # The owner's words for it are everybody's.
                name=_as_reached(host_reaches.c.name, server_id, host_leases.c.name),
                uri=_as_reached(host_reaches.c.uri, server_id, host_leases.c.uri),
            )
        )
        return next(iter(_returned(connection, update)), None)


def _held_at(now: sa.ColumnElement[dt.datetime]) -> sa.Select[tuple[str]]:
    mine = sa.select(host_leases.c.host).where(
        host_leases.c.host == sa.bindparam("of_host"),
        host_leases.c.server == sa.bindparam("of_server"),
        host_leases.c.epoch == sa.bindparam("of_epoch"),
        host_leases.c.until > now,
    )
    return mine.with_for_update(read=True)


#: Made once: it stands before each write of a host.
_HELD: Final = _held_at(sa.func.clock_timestamp(type_=Instant))


def _namesake(connection: sa.Connection, reach: Reach) -> Reach | None:
    """How another server reaches another host of the same name; until the transaction's end none comes."""
    if not reach.name:
        return None
    name = reach.name.casefold()
    if connection.dialect.name == "postgresql":
        key = sa.func.hashtextextended(f"innkeeper host {name}", 0)
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))
    others = sa.select(host_reaches).where(
        host_reaches.c.server != reach.server_id,
        host_reaches.c.host != reach.host_id,
        sa.func.lower(host_reaches.c.name) == name,
    )
    found = (_reach(row) for row in connection.execute(others))
    return next((other for other in found if not _is_one_address(other.uri, reach.uri)), None)


def _is_one_address(one: str, other: str) -> bool:
    """Whether both URIs lead to one computer, which was made anew since it was reached by one of them."""
    return one == other and urlsplit(one).hostname is not None


def _another_comes(connection: sa.Connection, server_id: str) -> sa.ColumnElement[bool]:
    """Whether a living server that is no stand-in can take the host."""
    return sa.exists().where(
        host_reaches.c.host == host_leases.c.host,
        host_reaches.c.server != server_id,
        ~host_reaches.c.stand_in,
        servers.c.id == host_reaches.c.server,
        servers.c.until > moment(connection),
        servers.c.state == ServerState.SERVING.value,
    )


def _is_left(connection: sa.Connection, ttl: dt.timedelta) -> sa.ColumnElement[bool]:
    """Whether nobody has looked after the host for so long that whoever could would have taken it."""
    return host_leases.c.until <= moment(connection, later=-2 * ttl)


def _as_reached(
    column: sa.ColumnElement[str], server_id: str, otherwise: sa.ColumnElement[str]
) -> sa.ColumnElement[str]:
    """What the server's settings say of the host."""
    said = sa.select(column).where(
        host_reaches.c.host == host_leases.c.host, host_reaches.c.server == server_id
    )
    return sa.func.coalesce(sa.func.nullif(said.scalar_subquery(), ""), otherwise)


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
        offered_at=row.offered_at,
    )


def _reach(row: sa.Row[tuple[object, ...]]) -> Reach:
    return Reach(
        host_id=row.host,
        server_id=row.server,
        stand_in=row.stand_in,
        name=row.name,
        uri=row.uri,
        reached_at=row.reached_at,
    )
