"""Keep the authority of an inn in the database, made once whichever server comes first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import sqlalchemy as sa

from innkeeper.store.database import Database
from innkeeper.store.directory_tables import authority

#: Held while the authority is made.
_MAKING_LOCK: Final = 0x1_AA_CE_CE_47


class SqlAuthorityStore:
    """An ``AuthorityStore`` on SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get_or_keep(self, make: Callable[[], tuple[str, str]]) -> tuple[str, str]:
        """Return the certificate and the key as PEM; the first call keeps what ``make`` makes."""

        def find(connection: sa.Connection) -> tuple[str, str] | None:
            row = connection.execute(sa.select(authority)).one_or_none()
            return None if row is None else (row.certificate, row.key)

        def find_or_keep(connection: sa.Connection) -> tuple[str, str]:
            if connection.dialect.name == "postgresql":  # SQLite has one writer anyway
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MAKING_LOCK)))
            found = find(connection)
            if found is None:
                certificate, key = found = make()
                connection.execute(sa.insert(authority).values(id=1, certificate=certificate, key=key))
            return found

        found = await self._database.read(find)
        return await self._database.write(find_or_keep) if found is None else found
