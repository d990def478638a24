"""Add to scheduled tasks the keys of the machines that they name."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the tables forward."""
    op.add_column("scheduled_tasks", sa.Column("machines", sa.Text(), nullable=False, server_default="[]"))
    op.add_column("scheduled_tasks", sa.Column("machines_of", sa.DateTime(timezone=True)))
