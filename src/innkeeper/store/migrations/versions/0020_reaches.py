"""Add to who reaches which host how and since when, and to leases when they were offered."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the tables forward."""
    moment = sa.DateTime(timezone=True)
    op.add_column("host_leases", sa.Column("offered_at", moment, nullable=True))
    op.add_column("host_reaches", sa.Column("name", sa.Text(), nullable=False, server_default=""))
    op.add_column("host_reaches", sa.Column("uri", sa.Text(), nullable=False, server_default=""))
    op.add_column("host_reaches", sa.Column("reached_at", moment, nullable=True))
