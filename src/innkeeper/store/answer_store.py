"""Keep the answers to requests that carry an idempotency key."""

from __future__ import annotations

import dataclasses
import datetime as dt

import sqlalchemy as sa

from innkeeper.store.database import Database, add_if_free
from innkeeper.store.tables import answers


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class StoredAnswer:
    """What is known of the first request with a key."""

    #: What was asked, in short.
    fingerprint: str
    #: The answer; no status while there is none, no body where it may not be kept.
    status: int | None
    media_type: str
    body: bytes | None


class SqlAnswerStore:
    """An ``AnswerStore`` on SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(
        self, key: str, *, fingerprint: str, now: dt.datetime, forget_before: dt.datetime
    ) -> StoredAnswer | None:
        """Take a key, or say what has it already; of two at once, one gets it."""
        row = {"key": key, "fingerprint": fingerprint, "asked_at": now}

        def take(connection: sa.Connection) -> bool:
            connection.execute(sa.delete(answers).where(answers.c.asked_at < forget_before))
            return add_if_free(connection, answers, row)

        while not await self._database.write(take):
            if (first := await self._find(key)) is not None:
                return first
        return None

    async def keep(self, key: str, *, status: int, media_type: str, body: bytes | None) -> None:
        """Keep the answer."""
        values = {"status": status, "media_type": media_type, "body": body}
        is_first = (answers.c.key == key) & answers.c.status.is_(None)
        change = sa.update(answers).where(is_first).values(values)
        await self._database.write(lambda c: c.execute(change))

    async def release(self, key: str) -> None:
        """Give the key back, where it has no answer."""
        unanswered = (answers.c.key == key) & answers.c.status.is_(None)
        await self._database.write(lambda c: c.execute(sa.delete(answers).where(unanswered)))

    async def _find(self, key: str) -> StoredAnswer | None:
        row = await self._database.read(
            lambda c: c.execute(sa.select(answers).where(answers.c.key == key)).one_or_none()
        )
        if row is None:  # given back in between
            return None
        return StoredAnswer(
            fingerprint=row.fingerprint,
            status=row.status,
            media_type=row.media_type,
            body=row.body,
        )
