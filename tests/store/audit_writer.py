"""A process that writes to the audit log until it is killed, and says each number that was kept."""

from __future__ import annotations

import asyncio
import datetime as dt
import sys

import sqlalchemy as sa

from innkeeper.identity.audit import Fact, Outcome
from innkeeper.store.audit_store import SqlAuditStore
from innkeeper.store.database import Database


async def _write(url: str, who: str, count: int) -> None:
    database = await Database.connect(sa.make_url(url))
    await database.migrate()
    store = SqlAuditStore(database)
    for _ in range(count):
        fact = Fact(
            at=dt.datetime.now(dt.UTC),
            who=who,
            proof="peer",
            address="local",
            action="command_machine",
            on="machine web-1",
            outcome=Outcome.DONE,
        )
        entry = await store.append(fact)
        print(entry.number, flush=True)
    await database.close()


if __name__ == "__main__":
    asyncio.run(_write(sys.argv[1], sys.argv[2], int(sys.argv[3])))
