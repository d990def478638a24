"""Keep the audit log in the database, in one line however many servers write to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa

from innkeeper.identity.audit import Entry, Fact, Head, Outcome, Search, next_entry
from innkeeper.store.database import Database
from innkeeper.store.identity_tables import audit, audit_head

#: Held from the look at the last entry to the commit of the next.
_LINE_LOCK: Final = 0x1_AA_CE_A0_D1

_FACTS: Final = ("at", "who", "proof", "address", "action", "on", "detail", "act")


class SqlAuditStore:
    """An ``AuditStore`` on SQLite or PostgreSQL; the tables refuse every change but a new entry."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, fact: Fact) -> Entry:
        """Add an entry behind the last one, whichever server wrote that. It is on the disk then."""

        def append(connection: sa.Connection) -> Entry:
            if connection.dialect.name == "postgresql":  # SQLite has one writer anyway
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LINE_LOCK)))
            entry = next_entry(_head(connection), fact)
            connection.execute(sa.insert(audit).values(_row(entry)))
            connection.execute(sa.update(audit_head).values(number=entry.number, seal=entry.seal))
            return entry

        return await self._database.write(append)

    async def entries(self, *, after: int, limit: int) -> Sequence[Entry]:
        """Entries by their numbers, from the one after ``after`` on."""
        query = sa.select(audit).where(audit.c.number > after).order_by(audit.c.number).limit(limit)
        return await self._read(query)

    async def newest(self, search: Search, *, before: int | None, limit: int) -> Sequence[Entry]:
        """Entries, newest first."""
        query = sa.select(audit).order_by(audit.c.number.desc()).limit(limit)
        for column, wanted in ((audit.c.who, search.who), (audit.c.action, search.action)):
            if wanted is not None:
                query = query.where(column == wanted)
        if search.on is not None:
            query = query.where(audit.c.on == search.on)
        if search.since is not None:
            query = query.where(audit.c.at >= search.since)
        if before is not None:
            query = query.where(audit.c.number < before)
        return await self._read(query)

    async def head(self) -> Head:
        """What was written down of the last entry beside the log."""
        return await self._database.read(_written_head)

    async def _read(self, query: sa.Select[tuple[object, ...]]) -> Sequence[Entry]:
        return [_entry(row) for row in await self._database.read(lambda c: c.execute(query).all())]


def _head(connection: sa.Connection) -> Head:
    """The last entry itself: what stands beside the log may have been changed."""
    query = sa.select(audit.c.number, audit.c.seal).order_by(audit.c.number.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    written = _written_head(connection)
    if row is None or row.number < written.number:
        return written  # entries were taken off the end: the gap stays to be seen
    return Head(number=row.number, seal=row.seal)


def _written_head(connection: sa.Connection) -> Head:
    row = connection.execute(sa.select(audit_head)).one_or_none()
    return Head() if row is None else Head(number=row.number, seal=row.seal)


def _row(entry: Entry) -> dict[str, object]:
    facts = {name: getattr(entry.fact, name) for name in _FACTS}
    sealed = {"number": entry.number, "previous": entry.previous, "seal": entry.seal}
    return {**facts, **sealed, "outcome": entry.fact.outcome.value}


def _entry(row: sa.Row[tuple[object, ...]]) -> Entry:
    kept = row._mapping
    facts = {name: kept[name] for name in _FACTS}
    fact = Fact(**facts, outcome=Outcome(kept["outcome"]))
    return Entry(number=kept["number"], fact=fact, previous=kept["previous"], seal=kept["seal"])
