"""Tables of accounts, grants, tokens and sessions."""

from __future__ import annotations

import sqlalchemy as sa

from innkeeper.store.tables import Instant, Words, metadata

accounts = sa.Table(
    "accounts",
    metadata,
    # In lower case.
    sa.Column("name", Words, primary_key=True),
    sa.Column("password_hash", Words, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("changed_at", Instant, nullable=False),
    sa.Column("disabled", sa.Boolean, nullable=False),
)

grants = sa.Table(
    "grants",
    metadata,
    sa.Column("realm", Words, primary_key=True),
    sa.Column("is_group", sa.Boolean, primary_key=True),
    sa.Column("holder", Words, primary_key=True),
    sa.Column("reach", Words, primary_key=True),
    # The machine, label or folder; empty for the inn.
    sa.Column("name", Words, primary_key=True),
    sa.Column("role", sa.Integer, nullable=False),
)

tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("id", Words, primary_key=True),
    sa.Column("name", Words, nullable=False),
    # SHA-256 of the secret, which has 256 bits of its own.
    sa.Column("digest", Words, nullable=False),
    sa.Column("realm", Words, nullable=False),
    sa.Column("holder", Words, nullable=False),
    # What the realm knew of the holder, and what is left of their roles: JSON.
    sa.Column("known", Words, nullable=False),
    sa.Column("scope", Words),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("expires_at", Instant),
    sa.Column("used_at", Instant),
    sa.Column("revoked_at", Instant),
)
sa.Index("tokens_by_holder", tokens.c.realm, tokens.c.holder)

sessions = sa.Table(
    "sessions",
    metadata,
    # SHA-256 of the secret.
    sa.Column("digest", Words, primary_key=True),
    sa.Column("realm", Words, nullable=False),
    sa.Column("holder", Words, nullable=False),
    sa.Column("known", Words, nullable=False),
    sa.Column("address", Words, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("seen_at", Instant, nullable=False),
    sa.Column("expires_at", Instant, nullable=False),
)
sa.Index("sessions_by_holder", sessions.c.realm, sessions.c.holder)

# Triggers of the migration refuse to change or delete a row.
audit = sa.Table(
    "audit",
    metadata,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", Instant, nullable=False),
    sa.Column("who", Words, nullable=False),
    sa.Column("proof", Words, nullable=False),
    sa.Column("address", Words, nullable=False),
    sa.Column("action", Words, nullable=False),
    sa.Column("on", Words, nullable=False),
    sa.Column("outcome", Words, nullable=False),
    sa.Column("detail", Words, nullable=False),
    sa.Column("act", sa.BigInteger),
    sa.Column("previous", Words, nullable=False),
    sa.Column("seal", Words, nullable=False),
)
sa.Index("audit_by_who", audit.c.who, audit.c.number)

# One row: the last entry, to show when entries at the end are gone.
audit_head = sa.Table(
    "audit_head",
    metadata,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("seal", Words, nullable=False),
)
