"""Give rows from before machines had keys the keys of their machines."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa

from innkeeper.store.database import Database
from innkeeper.store.tables import bookings, reports, tasks

_LOCK = "machine:"


class SqlAdoption:
    """An ``AdoptionStore`` on SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def names(self) -> Collection[str]:
        """The names that machines without a key have in bookings, reports and locks of tasks."""
        found = sa.union(
            sa.select(bookings.c.machine).where(bookings.c.machine_key == ""),
            sa.select(reports.c.machine).where(reports.c.machine_key == ""),
            sa.select(sa.func.substr(tasks.c.lock, len(_LOCK) + 1)).where(
                tasks.c.lock.startswith(_LOCK), tasks.c.lock.not_like("%/%")
            ),
        )
        return await self._database.read(lambda c: [str(name) for name in c.scalars(found)])

    async def adopt(self, name: str, key: str) -> None:
        """Give a machine's rows its key."""

        def adopt(connection: sa.Connection) -> None:
            there = sa.select(bookings.c.identifier).where(bookings.c.machine_key == key)
            connection.execute(
                sa.update(bookings)
                .where(
                    bookings.c.machine_key == "",
                    bookings.c.machine == name,
                    bookings.c.identifier.not_in(there),
                )
                .values(machine_key=key)
            )
            connection.execute(
                sa.update(reports)
                .where(reports.c.machine_key == "", reports.c.machine == name)
                .values(machine_key=key)
            )
            held = sa.select(tasks.c.id).where(tasks.c.lock == f"{_LOCK}{key}", tasks.c.result.is_(None))
            connection.execute(
                sa.update(tasks)
                .where(
                    tasks.c.lock == f"{_LOCK}{name}", sa.or_(tasks.c.result.is_not(None), ~sa.exists(held))
                )
                .values(lock=f"{_LOCK}{key}", about=name)
            )

        await self._database.write(adopt)
