"""Servers that share the database: their ids, and when each was last seen."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence

import sqlalchemy as sa

from innkeeper.store.database import Database, upsert
from innkeeper.store.tables import servers


class Servers:
    """The servers that share one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def enrol(self, name: str) -> str:
        """Return the executor id of the server called ``name``: made once, and the same for ever."""

        def enrol(connection: sa.Connection) -> str:
            known = connection.scalar(sa.select(servers.c.executor_id).where(servers.c.name == name))
            executor_id = str(known or uuid.uuid4())
            row = {"name": name, "executor_id": executor_id, "last_seen": sa.func.now()}
            upsert(connection, servers, row)
            return executor_id

        return await self._database.write(enrol)

    async def see(self, executor_id: str) -> None:
        """Record that this server lives, by the database's clock, since those of servers may differ."""
        update = (
            sa.update(servers).where(servers.c.executor_id == executor_id).values(last_seen=sa.func.now())
        )
        await self._database.write(lambda c: c.execute(update), lazily=True)

    async def unseen_for(self, longest_silence: dt.timedelta) -> Sequence[str]:
        """Return the executor ids of servers that were not seen for so long (on PostgreSQL)."""
        query = sa.select(servers.c.executor_id).where(servers.c.last_seen < sa.func.now() - longest_silence)
        return await self._database.read(lambda c: c.scalars(query).all())
