"""Windows in the database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa
from pydantic import TypeAdapter

from innkeeper.store.database import Database, upsert
from innkeeper.store.tables import windows
from innkeeper.updates.window import Window

_WINDOW: Final = TypeAdapter(Window)


class SqlWindowStore:
    """A ``WindowStore`` on SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, window: Window) -> None:
        """Add a window, or replace the one with the same name."""
        row = {"name": window.name, "body": _WINDOW.dump_json(window).decode()}
        await self._database.write(lambda c: upsert(c, windows, row))

    async def list(self) -> Sequence[Window]:
        """Return all windows, by name."""
        bodies = await self._database.read(lambda c: c.scalars(sa.select(windows.c.body)).all())
        return sorted((_WINDOW.validate_json(body) for body in bodies), key=lambda window: window.name)

    async def delete(self, name: str) -> bool:
        """Delete a window; returns whether there was one."""
        delete = sa.delete(windows).where(windows.c.name == name)
        return bool(await self._database.write(lambda c: c.execute(delete).rowcount))
