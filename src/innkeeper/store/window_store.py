"""Windows in the database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa
from pydantic import TypeAdapter

from innkeeper.store.database import Database, add_if_free, upsert
from innkeeper.store.tables import windows
from innkeeper.updates.window import Window

_WINDOW: Final = TypeAdapter(Window)


class SqlWindowStore:
    """A ``WindowStore`` on SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, window: Window) -> None:
        """Add a window, or replace the one with the same name."""
        await self._database.write(lambda c: upsert(c, windows, _row(window)))

    async def add(self, window: Window) -> bool:
        """Add a window where there is none with its name; whether it was added."""
        return await self._database.write(lambda c: add_if_free(c, windows, _row(window)))

    async def replace(self, seen: Window, window: Window | None) -> bool:
        """Replace the window, or delete it, where it is still as it was seen; whether it was."""

        def replace(connection: sa.Connection) -> bool:
            body = connection.scalar(sa.select(windows.c.body).where(windows.c.name == seen.name))
            if body is None or _WINDOW.validate_json(body) != seen:
                return False
            # Whoever comes between finds, or makes, another body.
            is_seen = (windows.c.name == seen.name) & (windows.c.body == body)
            if window is None:
                return bool(connection.execute(sa.delete(windows).where(is_seen)).rowcount)
            new = {"body": _WINDOW.dump_json(window).decode()}
            return bool(connection.execute(sa.update(windows).where(is_seen).values(new)).rowcount)

        return await self._database.write(replace)

    async def list(self) -> Sequence[Window]:
        """Return all windows, by name."""
        bodies = await self._database.read(lambda c: c.scalars(sa.select(windows.c.body)).all())
        return sorted((_WINDOW.validate_json(body) for body in bodies), key=lambda window: window.name)

    async def delete(self, name: str) -> bool:
        """Delete a window; returns whether there was one."""
        delete = sa.delete(windows).where(windows.c.name == name)
        return bool(await self._database.write(lambda c: c.execute(delete).rowcount))


def _row(window: Window) -> dict[str, str]:
    return {"name": window.name, "body": _WINDOW.dump_json(window).decode()}
