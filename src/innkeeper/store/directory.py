"""Keep the directory of machines and hosts in the database."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from innkeeper.machines.directory import EVERY_MACHINE, HostEntry, MachineEntry, Wanted
from innkeeper.machines.places import Place
from innkeeper.store.database import Database
from innkeeper.store.directory_tables import host_directory, machine_directory
from innkeeper.store.moments import moment
from innkeeper.store.retirement import is_retired
from innkeeper.store.tables import host_leases, host_reaches
from innkeeper.wire.states import MachineState

_machine = machine_directory.c
_host = host_directory.c
#: So many machines are asked for by one statement.
_AT_ONCE: Final = 1000


class SqlDirectory:
    """A ``Directory`` on SQLite or PostgreSQL."""

    def __init__(self, database: Database, server_id: str) -> None:
        """``server_id`` is the server that writes: once it is retired, it does no more."""
        self._database = database
        self._server_id = server_id

    async def page(
        self, wanted: Wanted = EVERY_MACHINE, *, after: tuple[str, str] | None = None, limit: int
    ) -> Sequence[MachineEntry]:
        """Machines by name and host, letters by their code points, from behind the place ``after``."""
        query = sa.select(machine_directory).where(*_wanted(wanted)).order_by(_machine.name, _machine.host)
        if after is not None:
            query = query.where(sa.tuple_(_machine.name, _machine.host) > sa.tuple_(*after))
        return await self._machines(query.limit(limit))

    async def find(self, name: str) -> Sequence[MachineEntry]:
        """The machines of this name, whatever the case of its letters."""
        query = sa.select(machine_directory).where(_machine.folded == name.casefold())
        return await self._machines(query.order_by(_machine.name, _machine.host))

    async def with_uuid(self, uuid: str) -> Sequence[MachineEntry]:
        """The machines with this UUID: several where one was migrated a moment ago, or is defined twice."""
        query = sa.select(machine_directory).where(_machine.uuid == uuid)
        return await self._machines(query.order_by(_machine.name, _machine.host))

    async def namesakes(self, hosts: Collection[str], new: Collection[Place] = ()) -> Sequence[Place]:
        """Machines of other hosts with the name, or the UUID, of one on these; hosts by their ids.

        ``new`` are machines on these that may not be written down yet.
        """
        own, others = machine_directory.alias("own"), machine_directory.alias("others")
        here = own.c.host_id.in_(sorted(hosts)) & others.c.host_id.not_in(sorted(hosts))
        columns = others.c.host, others.c.host_id, others.c.name, others.c.uuid
        # Each by its own index.
        query = sa.union(
            sa.select(*columns).join_from(own, others, own.c.folded == others.c.folded).where(here),
            sa.select(*columns).join_from(own, others, own.c.uuid == others.c.uuid).where(here),
        )
        of_new = sa.select(*columns).where(
            others.c.host_id.not_in(sorted(hosts)),
            others.c.folded.in_(sa.bindparam("names", expanding=True))
            | others.c.uuid.in_(sa.bindparam("uuids", expanding=True)),
        )
        named = [
            {"names": [place.name.casefold() for place in some], "uuids": [place.uuid for place in some]}
            for some in _in_parts([*new])
        ]

        def read(connection: sa.Connection) -> set[Place]:
            rows = [*connection.execute(query)]
            for each in named:
                rows += connection.execute(of_new, each)
            return {Place(**row._mapping) for row in rows}

        return sorted(await self._database.read(read), key=lambda place: place.key)

    async def of_shared_names(self) -> Sequence[MachineEntry]:
        """The machines whose names others have too, whatever the case of the letters."""
        shared = sa.select(_machine.folded).group_by(_machine.folded).having(sa.func.count() > 1)
        query = sa.select(machine_directory).where(_machine.folded.in_(shared))
        return await self._machines(query.order_by(_machine.name, _machine.host))

    async def of_host(self, host_id: str) -> Sequence[MachineEntry]:
        """The machines of one host."""
        return await self._machines(sa.select(machine_directory).where(_machine.host_id == host_id))

    async def hosts(self) -> Sequence[HostEntry]:
        """All hosts, by name."""
        rows = await self._database.read(lambda c: c.execute(sa.select(host_directory)).all())
        return sorted((HostEntry(**row._mapping) for row in rows), key=lambda host: host.name)

    async def update(self, changed: Collection[MachineEntry], gone: Collection[str]) -> None:
        """Write down what has changed, and forget machines by their keys, in one transaction."""
        rows = [_row(entry) for entry in changed]
        forget = sa.delete(machine_directory).where(_machine.key == sa.bindparam("gone"))

        def update(connection: sa.Connection) -> None:
            if is_retired(connection, self._server_id):
                return
            if gone:
                connection.execute(forget, [{"gone": key} for key in sorted(gone)])
            _put(connection, machine_directory, rows)

        await self._database.write(update, lazily=True)

    async def put_hosts(self, hosts: Collection[HostEntry]) -> None:
        """Write down hosts."""
        rows = [{name: getattr(host, name) for name in _host.keys()} for host in hosts]  # noqa: SIM118  no mapping

        def put(connection: sa.Connection) -> None:
            if not is_retired(connection, self._server_id):
                _put(connection, host_directory, rows)

        await self._database.write(put, lazily=True)

    async def _machines(self, query: sa.Select[tuple[object, ...]]) -> Sequence[MachineEntry]:
        return [_entry(row) for row in await self._database.read(lambda c: c.execute(query).all())]


def forget_left_hosts(connection: sa.Connection, server_id: str) -> None:
    """Forget hosts, with their machines, that no server reaches, and that none but this one looks after.

    This one was retired, or its settings have changed. Whoever reaches such a host again writes it down anew.
    """
    reached = sa.select(host_reaches.c.host)
    kept = sa.select(host_leases.c.host).where(
        host_leases.c.server != server_id, host_leases.c.until > moment(connection)
    )
    for table in (machine_directory, host_directory):
        connection.execute(sa.delete(table).where(table.c.host_id.not_in(reached.union(kept))))


def _in_parts(new: Sequence[Place]) -> Iterator[Sequence[Place]]:
    return (new[start : start + _AT_ONCE] for start in range(0, len(new), _AT_ONCE))


def _wanted(wanted: Wanted) -> Sequence[sa.ColumnElement[bool]]:
    conditions = []
    if wanted.host is not None:
        conditions.append(sa.func.lower(_machine.host) == wanted.host.lower())
    if wanted.state is not None:
        conditions.append(_machine.state == wanted.state.name)
    if wanted.text is not None:
        conditions.append(_machine.folded.contains(wanted.text.casefold(), autoescape=True))
    if wanted.but_hosts:
        conditions.append(_machine.host_id.not_in(sorted(wanted.but_hosts)))
    return conditions


def _put(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, object]]) -> None:
    """Add rows, or replace those with the same keys; in one order, so that two servers cannot lock up."""
    if not rows:
        return
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    (key,) = table.primary_key.columns
    insert = dialect.insert(table)
    others = {name: insert.excluded[name] for name in rows[0] if name != key.name}
    statement = insert.on_conflict_do_update(index_elements=[key], set_=others)
    connection.execute(statement, sorted(rows, key=lambda row: str(row[key.name])))


def _row(entry: MachineEntry) -> dict[str, object]:
    return {
        "key": entry.key,
        "host_id": entry.host_id,
        "host": entry.host,
        "name": entry.name,
        "folded": entry.name.casefold(),
        "uuid": entry.uuid,
        "state": entry.state.name,
        "labels": json.dumps(entry.labels),
        "summary": entry.summary,
    }


def _entry(row: sa.Row[tuple[object, ...]]) -> MachineEntry:
    return MachineEntry(
        key=row.key,
        host_id=row.host_id,
        host=row.host,
        name=row.name,
        uuid=row.uuid,
        state=MachineState[row.state],
        labels=tuple(json.loads(row.labels)),
        summary=row.summary,
    )
