"""Add to scheduled tasks the server at which each was registered."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the tables forward."""
    op.add_column("scheduled_tasks", sa.Column("server", sa.Text(), nullable=False, server_default=""))
