"""Servers that share the database: who they are, where they are reached, and whether they live."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import uuid
from collections.abc import Iterator, Sequence
from typing import Final

import sqlalchemy as sa

from innkeeper.errors import ErrorCode, ServiceError
from innkeeper.servers.server import Server, ServerState
from innkeeper.store.database import Database
from innkeeper.store.directory import forget_left_hosts
from innkeeper.store.directory_tables import machine_directory
from innkeeper.store.former_servers import is_held
from innkeeper.store.moments import moment
from innkeeper.store.tables import host_leases, host_reaches, servers

#: For so long a name stays with a server that no longer shows that it lives.
NAME_TTL: Final = dt.timedelta(seconds=30)


class Servers:
    """A ``ServerStore`` on SQLite or PostgreSQL."""

    def __init__(self, database: Database, *, ttl: dt.timedelta = NAME_TTL) -> None:
        self._database = database
        self._ttl = ttl

    async def enrol(self, name: str, *, home: str = "", version: str = "") -> Server:
        """Return the server called ``name`` at a new start; its id is made once, and the same for ever.

        ``home`` names a state directory that this process alone has open: a server that had it before is
        gone, so its name is free at once; where it was called otherwise, it is called ``name`` from now on.
        Raises ``ServiceError`` where another process lives under this name.
        """
        return await self._database.write(lambda c: self._enrol(c, name, home, version))

    async def list(self) -> Sequence[Server]:
        """All servers, by name, but those that were retired."""
        return await self._database.read(
            lambda c: _found(c, servers.c.state != ServerState.RETIRED.value),
        )

    async def see(self, server: Server) -> bool:
        """Record that this start of a server lives; ``False`` where its name went to another process."""

        def see(connection: sa.Connection) -> bool:
            seen = {
                "last_seen": moment(connection),
                "until": moment(connection, later=self._ttl),
            }
            here = _own_row(server).where(servers.c.until.is_not(None))
            return bool(connection.execute(here.values(seen)).rowcount)

        return await self._database.write(see)

    async def announce(self, server: Server, address: str) -> None:
        """Record where the server's peers reach it."""
        update = _own_row(server).values(address=address, trouble="")
        await self._database.write(lambda c: c.execute(update))

    async def seen_as(self) -> str:
        """Return this computer's address as PostgreSQL sees it; empty where both are one computer."""

        def seen_as(connection: sa.Connection) -> str:
            address = str(connection.scalar(sa.text("SELECT host(inet_client_addr())")) or "")
            return address if address and not ipaddress.ip_address(address).is_loopback else ""

        return "" if self._database.is_sqlite else await self._database.read(seen_as)

    async def set_state(self, server_id: str, state: ServerState) -> bool:
        """Change the part that a server takes; returns whether there is such a server.

        A retired one loses its name and its hosts in the same transaction, and their machines
        are forgotten: they may run elsewhere by now. Whoever takes a host writes down what it sees;
        hosts that no other server reaches are forgotten too.
        """

        def change(connection: sa.Connection) -> bool:
            values: dict[str, object] = {"state": state.value}
            if state is ServerState.RETIRED:
                values["until"] = moment(connection)
            # First: what a server that lives is writing is waited for, and it begins nothing more.
            update = sa.update(servers).where(servers.c.id == server_id).values(values)
            found = bool(connection.execute(update).rowcount)
            if state is ServerState.RETIRED:
                _forget_machines_of(connection, server_id)
                free = sa.update(host_leases).where(host_leases.c.server == server_id)
                connection.execute(free.values(server=None, until=moment(connection), offered_at=None))
                connection.execute(sa.delete(host_reaches).where(host_reaches.c.server == server_id))
                forget_left_hosts(connection, server_id)
            return found

        return await self._database.write(change)

    async def leave(self, server: Server, trouble: str = "") -> None:
        """Give the name up at once, at the end of this start; ``trouble`` says why it failed.

        A sign of life that was on its way brings it back no more.
        """
        update = _own_row(server).values(until=None, trouble=trouble)
        await self._database.write(lambda c: c.execute(update))

    def _enrol(self, connection: sa.Connection, name: str, home: str, version: str) -> Server:
        if connection.dialect.name == "postgresql":
            _one_at_a_time(connection)
            if is_held(connection, name):
                raise _name_is_taken(name)
        row = _row_of(connection, name, home)
        _refuse_namesake(connection, name, row)
        if row is not None and row.alive and (not home or row.home != home):
            raise _name_is_taken(name)
        started = {
            "name": name,
            "home": home,
            "version": version,
            "state": ServerState.SERVING.value,
            "address": "",
            "started_at": moment(connection),
            "last_seen": moment(connection),
            "until": moment(connection, later=self._ttl),
        }
        if row is None:
            server_id, incarnation = str(uuid.uuid4()), 1
            with _taking(name):
                connection.execute(
                    sa.insert(servers).values(id=server_id, incarnation=incarnation, **started)
                )
        else:
            server_id, incarnation = row.id, row.incarnation + 1
            if row.state == ServerState.DRAINING.value:
                started["state"] = row.state
            update = sa.update(servers).where(servers.c.id == server_id)
            with _taking(name):
                connection.execute(update.values(incarnation=incarnation, **started))
        (server,) = _found(connection, servers.c.id == server_id)
        return server


def _row_of(connection: sa.Connection, name: str, home: str) -> sa.Row[tuple[object, ...]] | None:
    """The row of the server whose state directory this is, else of the one that has the name; locked."""
    query = sa.select(servers, _is_alive(connection)).with_for_update()
    if home:
        row = connection.execute(query.where(servers.c.home == home)).one_or_none()
        if row is not None:
            return row
    return connection.execute(query.where(servers.c.name == name)).one_or_none()


def _one_at_a_time(connection: sa.Connection) -> None:
    """Wait until no other server enrols: two at once would not see one another's names."""
    key = sa.func.hashtextextended("innkeeper enrols a server", 0)
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))


def _refuse_namesake(connection: sa.Connection, name: str, own: sa.Row[tuple[object, ...]] | None) -> None:
    """Raise ``ServiceError`` where another server's name differs from this one in case alone."""
    for other in _found(connection, servers.c.state != ServerState.RETIRED.value):
        is_own = own is not None and other.id == own.id
        if not is_own and other.name != name and other.name.casefold() == name.casefold():
            raise ServiceError(
                f"A server of this database is called {other.name!r}: {name!r} differs from it in upper and "
                "lower case alone.",
                code=ErrorCode.ERROR_ALREADY_EXISTS,
                advice="Give this one a name of its own (the setting server_name). Where the other is gone: "
                f"innkeeper server retire {other.name}",
            )


@contextlib.contextmanager
def _taking(name: str) -> Iterator[None]:
    """Refuse a name that another row got first."""
    try:
        yield
    except sa.exc.IntegrityError as error:
        raise _name_is_taken(name) from error


def _name_is_taken(name: str) -> ServiceError:
    return ServiceError(
        f"Another Innkeeper serves as {name!r} on this database.",
        code=ErrorCode.ERROR_ALREADY_EXISTS,
        advice=f"Stop it first, or give this one a name of its own (the setting server_name). Where it has "
        f"crashed on another computer, its name is free after {NAME_TTL.total_seconds():.0f} seconds.",
    )


def _forget_machines_of(connection: sa.Connection, server_id: str) -> None:
    hosts = sa.select(host_leases.c.host).where(host_leases.c.server == server_id)
    connection.execute(sa.delete(machine_directory).where(machine_directory.c.host_id.in_(hosts)))


def _own_row(server: Server) -> sa.Update:
    """Change the row of a server while this start of it has it."""
    return sa.update(servers).where(
        servers.c.id == server.id,
        servers.c.incarnation == server.incarnation,
        servers.c.state != ServerState.RETIRED.value,
    )


def _is_alive(connection: sa.Connection) -> sa.ColumnElement[bool]:
    return sa.func.coalesce(servers.c.until > moment(connection), sa.false()).label("alive")


def _found(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> Sequence[Server]:
    query = sa.select(servers, _is_alive(connection)).where(*conditions).order_by(servers.c.name)
    return [_server(row) for row in connection.execute(query)]


def _server(row: sa.Row[tuple[object, ...]]) -> Server:
    return Server(
        id=row.id,
        name=row.name,
        incarnation=row.incarnation,
        address=row.address,
        version=row.version,
        state=ServerState(row.state),
        started_at=row.started_at,
        last_seen=row.last_seen,
        until=row.until,
        trouble=row.trouble,
        alive=bool(row.alive),
    )
