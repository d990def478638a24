"""Named values of guests in the database."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from innkeeper.machines.guest.parameters import KeptParameter
from innkeeper.store.database import Database, upsert_where
from innkeeper.store.tables import parameters


class SqlParameterStore:
    """A ``ParameterStore`` on SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, machine: str, kept: KeptParameter) -> bool:
        """Add a named value, or replace one of an earlier revision; whether it stands.

        A guest's own may replace one of its own revision.
        """
        row = {
            "machine": machine,
            "name": kept.name,
            "value": kept.value,
            "revision": kept.revision,
            "by_guest": kept.by_guest,
            "at": kept.at,
        }
        revision = parameters.c.revision
        is_older = revision <= kept.revision if kept.by_guest else revision < kept.revision
        return await self._database.write(lambda c: upsert_where(c, parameters, row, is_older))

    async def list(self, machine: str) -> Sequence[KeptParameter]:
        """Return one machine's named values, by name."""
        query = sa.select(parameters).where(parameters.c.machine == machine).order_by(parameters.c.name)
        rows = await self._database.read(lambda c: c.execute(query).mappings().all())
        return [
            KeptParameter(
                name=row["name"],
                value=row["value"],
                revision=row["revision"],
                by_guest=row["by_guest"],
                at=row["at"],
            )
            for row in rows
        ]
