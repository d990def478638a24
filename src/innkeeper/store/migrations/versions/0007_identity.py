"""Lay out the tables of who may what: accounts, grants, tokens, sessions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def _instant(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def upgrade() -> None:
    """Bring the tables forward."""
    op.create_table(
        "accounts",
        _text("name"),
        _text("password_hash"),
        _instant("created_at"),
        _instant("changed_at"),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "grants",
        _text("realm"),
        sa.Column("is_group", sa.Boolean(), nullable=False),
        _text("holder"),
        _text("reach"),
        _text("name"),
        sa.Column("role", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("realm", "is_group", "holder", "reach", "name"),
    )
    op.create_table(
        "tokens",
        *map(_text, ("id", "name", "digest", "realm", "holder", "known")),
        _text("scope", nullable=True),
        _instant("created_at"),
        *(_instant(name, nullable=True) for name in ("expires_at", "used_at", "revoked_at")),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("tokens_by_holder", "tokens", ["realm", "holder"], unique=False)
    op.create_table(
        "sessions",
        *map(_text, ("digest", "realm", "holder", "known", "address")),
        *map(_instant, ("created_at", "seen_at", "expires_at")),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_index("sessions_by_holder", "sessions", ["realm", "holder"], unique=False)
