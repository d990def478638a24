"""The service's options in the database."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

import sqlalchemy as sa

from innkeeper.machines.configuration import Value
from innkeeper.store.database import Database, upsert
from innkeeper.store.tables import options


class SqlOptionStore:
    """An ``OptionStore`` on SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> Mapping[str, Value]:
        """Return every option that is set."""
        rows = await self._database.read(lambda c: c.execute(sa.select(options.c.key, options.c.body)).all())
        return {str(key): _value(body) for key, body in rows}

    async def set(self, key: str, value: Value) -> None:
        """Set an option."""
        row = {"key": key, "body": _body(value)}
        await self._database.write(lambda c: upsert(c, options, row))

    async def remove(self, key: str) -> bool:
        """Remove an option; returns whether it was there."""
        delete = sa.delete(options).where(options.c.key == key)
        return bool(await self._database.write(lambda c: c.execute(delete).rowcount))


def _body(value: Value) -> str:
    if isinstance(value, bytes):
        return json.dumps({"bytes": base64.b64encode(value).decode()})
    return json.dumps({"value": value})


def _value(body: str) -> Value:
    message = json.loads(body)
    if "bytes" in message:
        return base64.b64decode(message["bytes"])
    value: Value = message["value"]
    return value
