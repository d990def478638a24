"""Tables of the events that servers tell one another."""

from __future__ import annotations

import sqlalchemy as sa

from innkeeper.store.tables import Instant, Words, metadata

outbox = sa.Table(
    "outbox",
    metadata,
    # The event's number in the inn: given under the lock of the counter's row, so that numbers become
    # visible in their order.
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    # The process that told it, and its number there: none is written twice.
    sa.Column("source", Words, nullable=False),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("at", Instant, nullable=False),
    sa.Column("kind", Words, nullable=False),
    sa.Column("subject", Words, nullable=False),
    # What else is known, as JSON.
    sa.Column("body", Words, nullable=False),
    sa.UniqueConstraint("source", "number", name="an_event_once"),
)

outbox_counter = sa.Table(
    "outbox_counter",
    metadata,
    # There is one row, with the id 1.
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    # Which sequence of numbers this is: that of another database is another one.
    sa.Column("life", Words, nullable=False),
    sa.Column("last", sa.BigInteger, nullable=False),
)
