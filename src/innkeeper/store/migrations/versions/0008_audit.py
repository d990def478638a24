"""Lay out the audit log, whose tables refuse every change but a new entry."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_REFUSED = "the audit log is only added to"

_SQLITE = [
    f"CREATE TRIGGER audit_is_not_{act}d BEFORE {act.upper()} ON audit "
    f"BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END"
    for act in ("update", "delete")
]

_POSTGRESQL = [
    f"""
    CREATE FUNCTION audit_is_only_added_to() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION '{_REFUSED}'; END $$
    """,
    """
    CREATE TRIGGER audit_is_not_changed BEFORE UPDATE OR DELETE ON audit
    FOR EACH ROW EXECUTE FUNCTION audit_is_only_added_to()
    """,
    """
    CREATE TRIGGER audit_is_not_emptied BEFORE TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_only_added_to()
    """,
]


def upgrade() -> None:
    """Bring the tables forward."""
    texts = ("who", "proof", "address", "action", "on", "outcome", "detail", "previous", "seal")
    op.create_table(
        "audit",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in texts),
        sa.Column("act", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index("audit_by_who", "audit", ["who", "number"], unique=False)
    head = op.create_table(
        "audit_head",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seal", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.bulk_insert(head, [{"number": 0, "seal": "0" * 64}])
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    for statement in _SQLITE if is_sqlite else _POSTGRESQL:
        op.execute(statement)
